//! The folder that deploys to Azure: its scripts are sound, and say what they would do.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use image_builder::{Manifest, azure, build};

fn folder(charter: &str, certificate: Option<&Path>) -> tempfile::TempDir {
    let inputs = tempfile::tempdir().unwrap();
    let build = build(Manifest { name: "system.toml", text: charter }, &common::write_inputs(inputs.path())).unwrap();
    let out = tempfile::tempdir().unwrap();
    let written = azure::write(out.path(), &build, certificate).unwrap();
    assert!(written.iter().all(|(path, _)| path.is_file()));
    out
}

fn versioned(version: u32) -> String {
    common::example().replace("name = \"charter\"\n", &format!("name = \"charter\"\nversion = {version}\n"))
}

fn run(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new(folder.join(program)).args(arguments).env_remove("SECURITY").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn nothing_is_left_to_be_filled_in_and_shellcheck_is_content() {
    let folder = folder(&versioned(7), None);
    for script in ["deploy.sh", "upload.sh", "capture.sh"] {
        let path = folder.path().join(script);
        let contents = std::fs::read_to_string(&path).unwrap();
        for word in ["@VHD", "@VERSION", "@SYSTEM", "@SIGNED", "@SECURITY"] {
            assert!(!contents.contains(word), "{word} in {script}");
        }
        let output = Command::new("shellcheck").arg(&path).output().expect("shellcheck: ./toolchain.sh setup");
        assert!(output.status.success(), "{}", text(&output.stdout));
    }
}

#[test]
fn a_dry_run_prints_every_step_with_the_exact_bytes() {
    let folder = folder(&versioned(7), None);
    let output = run(folder.path(), "deploy.sh", &["--dry-run"]);
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let bytes = std::fs::metadata(folder.path().join("charter.vhd")).unwrap().len();
    let upload = format!("--upload-type Upload --upload-size-bytes {bytes}");
    for part in [
        "+ az group create",
        "+ az disk create",
        "--hyper-v-generation V2",
        &upload,
        "+ az disk grant-access",
        "+ ./upload.sh charter.vhd",
        "+ az disk revoke-access",
        "+ az sig create",
        "--os-state Specialized",
        "'DiskControllerTypes=SCSI,NVMe SecurityType=Standard'",
        "--gallery-image-version 1.0.7",
        "+ az vm create",
        "--specialized",
        "--disk-controller-type NVMe",
        "--security-type Standard",
        "+ az vm boot-diagnostics enable",
        "+ az vm boot-diagnostics get-boot-log",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let output = run(folder.path(), "deploy.sh", &["--clean-up", "--dry-run"]);
    assert!(text(&output.stdout).contains("+ az group delete --name charter --yes"));
    assert!(text(&run(folder.path(), "capture.sh", &["--dry-run"]).stdout).contains("get-boot-log"));
    assert_eq!(run(folder.path(), "deploy.sh", &["--help"]).status.code(), Some(2));
}

/// What `az` would answer.
const AZ: &str = "#!/bin/sh
case \"$*\" in
*get-boot-log*) cat \"$SERIAL_LOG\" ;;
*'vm show'*) echo '{\"size\":\"Standard_D2as_v6\",\"controller\":\"NVMe\"}' ;;
*) exit 1 ;;
esac
";

#[test]
fn a_capture_is_evidence_that_classify_accepts_and_a_changed_one_is_not() {
    let folder = folder(&versioned(7), None);
    let programs = tempfile::tempdir().unwrap();
    std::fs::write(programs.path().join("az"), AZ).unwrap();
    assert!(Command::new("chmod").arg("+x").arg(programs.path().join("az")).status().unwrap().success());
    let log = Path::new(env!("CARGO_MANIFEST_DIR")).join("../servers/classify/tests/recordings/azure-remote.log");
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let captured =
        Command::new(folder.path().join("capture.sh")).env("PATH", path).env("SERIAL_LOG", &log).output().unwrap();
    assert!(captured.status.success(), "{}", text(&captured.stderr));
    // The recording is of the evidence alone.
    assert!(text(&captured.stderr).contains("no line 'charter: boot complete'; kept all the same"));
    let said = text(&captured.stdout);
    let archive = said.trim().split("image-builder classify ").nth(1).unwrap();

    let classify = |file: &Path, arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_image-builder")).arg("classify").arg(file).args(arguments).output().unwrap()
    };
    let archive = folder.path().join(archive);
    let bundle = archive.to_str().unwrap().strip_suffix(".tar.gz").unwrap();
    let (bundle, vhd) = (Path::new(bundle), std::fs::read(folder.path().join("charter.vhd")).unwrap());
    let hash: String = sha2::Digest::finalize(<sha2::Sha256 as sha2::Digest>::new_with_prefix(vhd))
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    for file in [&*archive, bundle] {
        let output = classify(file, &[]);
        let said = text(&output.stdout);
        assert!(output.status.success(), "{}", text(&output.stderr));
        for part in [
            "capture: image_version=1.0.7",
            &format!("capture: vhd_sha256={hash}"),
            "capture: machine={\"controller\":\"NVMe\",\"size\":\"Standard_D2as_v6\"}",
            "cloud: verdict provider=azure ",
        ] {
            assert!(said.contains(part), "no {part} in {said}");
        }
    }
    let json: serde_json::Value = serde_json::from_slice(&classify(bundle, &["--format", "json"]).stdout).unwrap();
    assert_eq!(json["capture"]["machine"]["size"], "Standard_D2as_v6");
    assert!(json["lines"].as_array().unwrap().len() > 5);

    let changed = text(&std::fs::read(bundle.join("serial.log")).unwrap()).replace("7783-7084", "7783-7085");
    std::fs::write(bundle.join("serial.log"), changed).unwrap();
    let refused = classify(bundle, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("serial.log is not what was captured: its SHA-256 is "));
    std::fs::remove_file(bundle.join("machine.json")).unwrap();
    assert_eq!(classify(bundle, &[]).status.code(), Some(2));
    std::fs::write(&archive, "no archive").unwrap();
    assert!(text(&classify(&archive, &[]).stderr).contains("is no archive of a capture"));
}

#[test]
fn a_file_that_was_not_built_so_is_not_deployed() {
    let folder = folder(&common::example(), None);
    let path = folder.path().join("charter.vhd");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[1 << 20] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let output = run(folder.path(), "deploy.sh", &["--dry-run"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("charter.vhd is not what was built"));
}

#[test]
fn own_keys_go_into_the_request() {
    let keys = tempfile::tempdir().unwrap();
    let certificate = keys.path().join("db.pem");
    let (key, path) = (keys.path().join("key.pem"), certificate.to_str().unwrap());
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test", "-out", path])
        .args(["-keyout", key.to_str().unwrap()])
        .output()
        .unwrap();
    assert!(made.status.success());
    let folder = folder(&common::example(), Some(&certificate));
    let output =
        Command::new(folder.path().join("deploy.sh")).arg("--dry-run").env("DB", "db.pem db.pem").output().unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    assert!(output.status.success(), "{said}");
    for part in ["SecurityType=TrustedLaunchSupported", "--enable-secure-boot true", "+ az rest --method put"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let request = std::fs::read_to_string(folder.path().join("image-version.filled.json")).unwrap();
    let request: serde_json::Value = serde_json::from_str(&request).unwrap();
    let keys = &request["properties"]["securityProfile"]["uefiSettings"]["additionalSignatures"];
    let pem = std::fs::read_to_string(&certificate).unwrap();
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    assert_eq!(keys["pk"]["value"][0], *base64);
    assert_eq!(keys["db"][0]["value"], serde_json::json!([base64, base64]));
    assert_eq!(request["properties"]["storageProfile"]["osDiskImage"]["source"]["id"], "DISK-ID");
}

#[test]
fn secure_boot_without_a_signature_is_refused_early() {
    let folder = folder(&common::example(), None);
    let output = Command::new(folder.path().join("deploy.sh"))
        .arg("--dry-run")
        .env("SECURITY", "TrustedLaunch")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("this image is not signed"));
}
