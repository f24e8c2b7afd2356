//! Signatures: made by the tool, seen by us, and of the bytes that they are of.

mod common;

use std::path::Path;
use std::process::Command;

use image_builder::efi::unify;
use image_builder::signature::{SignatureError, signatures};
use image_builder::signing::{Signer, sign};

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A key and certificate of its own.
fn signer(folder: &Path, name: &str) -> Signer {
    let path = |kind: &str| folder.join(format!("{name}-{kind}.pem"));
    let signer = Signer { key: path("key"), certificate: path("certificate") };
    let (key, certificate) = (signer.key.to_str().unwrap(), signer.certificate.to_str().unwrap());
    let subject = format!("/CN=Charter test {name}");
    run(
        "openssl",
        &[
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            &subject,
            "-keyout",
            key,
            "-out",
            certificate,
        ],
    );
    signer
}

fn unsigned() -> Vec<u8> {
    unify(&common::boot(), &[(".kernel", &[7; 3000]), (".package", b"what the kernel reads")]).unwrap()
}

#[test]
fn a_signature_is_seen_and_is_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let signer = signer(folder.path(), "one");
    assert_eq!(signatures(&unsigned()), Ok(Vec::new()));
    let signed = sign(&unsigned(), &signer).unwrap();
    let [signature] = &signatures(&signed).unwrap()[..] else { panic!() };
    assert!(signature.is_of_this_file);
    let printed =
        run("openssl", &["x509", "-in", signer.certificate.to_str().unwrap(), "-noout", "-fingerprint", "-sha256"]);
    let printed = printed.trim().rsplit('=').next().unwrap().replace(':', "").to_lowercase();
    assert_eq!(signature.certificates, [printed]);
    let file = folder.path().join("signed.efi");
    std::fs::write(&file, &signed).unwrap();
    run("sbverify", &["--cert", signer.certificate.to_str().unwrap(), file.to_str().unwrap()]);
    // A second one, by another key.
    let both = sign(&signed, &self::signer(folder.path(), "two")).unwrap();
    let found = signatures(&both).unwrap();
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|signature| signature.is_of_this_file));
    assert_ne!(found[0].certificates, found[1].certificates);
}

#[test]
fn every_change_behind_a_signature_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let plain = unsigned();
    let signed = sign(&plain, &signer(folder.path(), "one")).unwrap();
    // DOS header, a section's header, code, kernel, package.
    for at in [4, 0x98 + 240 + 36, 0x500, 0x700, plain.len() - 1] {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        match signatures(&changed) {
            Ok(found) => assert!(!found[0].is_of_this_file, "{at:#x}"),
            Err(SignatureError::Efi(_)) => {}
            Err(error) => panic!("{at:#x}: {error}"),
        }
    }
    let longer = [signed.clone(), vec![0; 8]].concat();
    assert!(signatures(&longer).is_err(), "something behind the signatures");
    let shorter = &signed[..signed.len() - 8];
    assert!(signatures(shorter).is_err(), "a signature cut short");
}

#[test]
fn damaged_signatures_do_not_panic() {
    let folder = tempfile::tempdir().unwrap();
    let plain = unsigned();
    let signed = sign(&plain, &signer(folder.path(), "one")).unwrap();
    for at in plain.len()..signed.len() {
        for value in [0, 0x7f, 0x84, 0xff] {
            let mut changed = signed.clone();
            changed[at] = value;
            let _ = signatures(&changed);
        }
    }
}
