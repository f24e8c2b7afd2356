//! The forms of an image boot alike, and firmware with Secure Boot starts only what is signed with a key that it knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use image_builder::signing::{Signer, sign};
use qemu::firmware::Firmware;
use qemu::harness::{Bench, Log, build, root};
use qemu::machine::Machine;
use qemu::nvme::{Contents, Namespace};
use tempfile::TempDir;

#[test]
fn the_vhd_boots() {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    let path = bench.path("charter.vhd");
    fs::write(&path, build(&root().join("system.toml")).unwrap().vhd().unwrap()).unwrap();
    let system = &mut machine.controllers[0].namespaces[0];
    system.contents = Contents::Drive(format!("format=vpc,snapshot=on,file={}", path.display()));
    let log = bench.boot(&machine).complete();
    log.check_reads(&[(2, &disk)]);
}

/// A machine whose firmware checks signatures, and whose variables hold the key that Debian makes public for tests.
fn with_secure_boot(machine: &mut Machine) {
    let file = |name: &str| PathBuf::from("/usr/share/OVMF").join(name);
    machine.firmware =
        Firmware::Split { code: file("OVMF_CODE_4M.secboot.fd"), variables: file("OVMF_VARS_4M.snakeoil.fd") };
    // The variables' flash can be written in system management mode alone.
    let further = ["-machine", "smm=on", "-global", "driver=cfi.pflash01,property=secure,value=on"];
    machine.further.extend(further.map(Into::into));
}

fn openssl(arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).output().expect("openssl is started");
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
}

/// The key that the firmware knows, decrypted.
fn known(folder: &Path) -> Signer {
    let key = folder.join("known.pem");
    let encrypted = "/usr/share/ovmf/PkKek-1-snakeoil.key";
    openssl(&["rsa", "-in", encrypted, "-passin", "pass:snakeoil", "-out", key.to_str().unwrap()]);
    Signer { key, certificate: "/usr/share/ovmf/PkKek-1-snakeoil.pem".into() }
}

/// A key that it does not know.
fn stranger(folder: &Path) -> Signer {
    let signer = Signer { key: folder.join("key.pem"), certificate: folder.join("certificate.pem") };
    let [key, certificate] = [&signer.key, &signer.certificate].map(|path| path.to_str().unwrap());
    let kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=stranger"];
    openssl(&[&kind[..], &["-keyout", key, "-out", certificate]].concat());
    signer
}

fn default_efi() -> Vec<u8> {
    build(&root().join("system.toml")).unwrap().efi
}

/// Boots an EFI file with Secure Boot until it is up, or refused by firmware, in which case that line is returned.
fn boot(efi: &[u8]) -> Result<Log, String> {
    let bench = Bench::build(&root().join("system.toml"));
    fs::write(bench.image(), image_builder::image::image(efi, &[]).unwrap()).unwrap();
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    with_secure_boot(&mut machine);
    let mut system = bench.boot(&machine);
    let mut refusal = None;
    while refusal.is_none() {
        let line = system.running().next_line("firmware's word or a boot").unwrap_or_else(|error| panic!("{error}"));
        if line.starts_with("boot: ") || line.starts_with("charter: ") {
            let log = system.complete();
            log.check_reads(&[(2, &disk)]);
            return Ok(log);
        }
        refusal = Some(line).filter(|line| line.contains("Access Denied"));
    }
    let log = system.end();
    assert!(!log.lines().iter().any(|line| line.starts_with("boot: ") || line.starts_with("charter: ")));
    Err(refusal.unwrap_or_default())
}

#[test]
fn secure_boot_starts_what_is_signed() {
    let folder = TempDir::new().unwrap();
    let signed = sign(&default_efi(), &known(folder.path())).unwrap();
    assert!(boot(&signed).is_ok());
}

#[test]
fn secure_boot_refuses_what_is_not_signed() {
    assert!(boot(&default_efi()).unwrap_err().contains("Access Denied"));
}

#[test]
fn secure_boot_refuses_one_byte_changed() {
    let folder = TempDir::new().unwrap();
    let mut signed = sign(&default_efi(), &known(folder.path())).unwrap();
    let package = abi::handoff::PACKAGE_SECTION.as_bytes();
    let header = signed.windows(8).position(|bytes| bytes == package).unwrap();
    let place = u32::from_le_bytes(signed[header + 20..header + 24].try_into().unwrap()) as usize;
    signed[place + 1000] ^= 1;
    assert!(boot(&signed).unwrap_err().contains("Access Denied"));
}

#[test]
fn secure_boot_refuses_a_strangers_signature() {
    let folder = TempDir::new().unwrap();
    let signed = sign(&default_efi(), &stranger(folder.path())).unwrap();
    assert!(boot(&signed).unwrap_err().contains("Access Denied"));
}
