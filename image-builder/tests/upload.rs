//! upload.sh, against Azure's storage emulator: what is read back is the VHD, byte for byte, and no put was too large.
//!
//! Run by `make test-azure`, which installs the emulator; `AZURITE` names its program.

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use image_builder::{Manifest, azure, build};

const PUT_BYTES_MAX: u64 = 4 << 20;
/// The emulator's account and key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Ends with the test.
struct Emulator(Child);

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn start(folder: &Path) -> (Emulator, u16) {
    let program = std::env::var_os("AZURITE").expect("AZURITE names the emulator: make test-azure");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new(program)
        .args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port.to_string(),
            "--skipApiVersionCheck",
            "--inMemoryPersistence",
            "--disableTelemetry",
        ])
        .arg("--debug")
        .arg(folder.join("debug.log"))
        .current_dir(folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let emulator = Emulator(child);
    let start = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(start.elapsed() < Duration::from_secs(30), "the emulator does not start");
        std::thread::sleep(Duration::from_millis(100));
    }
    (emulator, port)
}

/// A signature that allows everything in the account (Azure: "Create an account SAS", version 2018-11-09).
fn signature() -> String {
    let fields = [ACCOUNT, "rwdlac", "b", "sco", "", "2099-01-01T00:00:00Z", "", "http", "2018-11-09", ""];
    let script = "printf %s \"$TEXT\" | openssl dgst -sha256 -mac HMAC -macopt hexkey:$(printf %s \"$KEY\" | \
                  openssl base64 -d -A | od -An -v -tx1 | tr -d ' \\n') -binary | openssl base64 -A";
    let signed = run(Command::new("sh").args(["-c", script]).env("TEXT", fields.join("\n")).env("KEY", KEY));
    let signed = signed.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    format!("sv=2018-11-09&ss=b&srt=sco&sp=rwdlac&se=2099-01-01T00:00:00Z&spr=http&sig={signed}")
}

fn curl(arguments: &[&str]) -> String {
    run(Command::new("curl").args(["--silent", "--show-error", "--fail"]).args(arguments))
}

#[test]
#[ignore = "needs the storage emulator: make test-azure"]
fn what_is_uploaded_is_the_vhd() {
    let folder = tempfile::tempdir().unwrap();
    let inputs = common::write_inputs(folder.path());
    let built = build(Manifest { name: "system.toml", text: &common::example() }, &inputs).unwrap();
    let out = folder.path().join("azure");
    azure::write(&out, &built, None).unwrap();
    let vhd = std::fs::read(out.join("charter.vhd")).unwrap();

    let (_emulator, port) = start(folder.path());
    let signature = signature();
    let account = format!("http://127.0.0.1:{port}/{ACCOUNT}");
    let empty = ["--request", "PUT", "--data", "", "--header", "x-ms-version: 2021-12-02"];
    curl(&[&empty[..], &[&format!("{account}/disks?restype=container&{signature}")]].concat());
    let blob = format!("{account}/disks/os.vhd?{signature}");
    // What Azure does when a disk is made for an upload: a page blob of exactly these bytes.
    let length = format!("x-ms-blob-content-length: {}", vhd.len());
    let kind = ["--header", "x-ms-blob-type: PageBlob", "--header", &length];
    curl(&[&empty[..], &kind[..], &[&blob]].concat());

    let said = run(Command::new("./upload.sh").arg("charter.vhd").current_dir(&out).env("UPLOAD_TO", &blob));
    assert!(said.contains(&format!("{} bytes", vhd.len())), "{said}");
    let back = folder.path().join("back.vhd");
    curl(&["--output", back.to_str().unwrap(), &blob]);
    assert!(std::fs::read(&back).unwrap() == vhd, "what was read back is not the VHD");

    // Every put, as the emulator saw it.
    let log = std::fs::read_to_string(folder.path().join("debug.log")).unwrap();
    let ranges: Vec<(u64, u64)> = log
        .lines()
        .filter(|line| line.contains("RequestMethod=PUT") && line.contains("comp=page"))
        .filter_map(|line| line.split_once("\"x-ms-range\":\"bytes="))
        .map(|(_, rest)| rest.split_once('"').unwrap().0.split_once('-').unwrap())
        .map(|(first, last)| (first.parse().unwrap(), last.parse().unwrap()))
        .collect();
    assert!(!ranges.is_empty(), "no put in the emulator's log");
    for (first, last) in &ranges {
        assert!(last + 1 - first <= PUT_BYTES_MAX && first % 512 == 0 && (last + 1) % 512 == 0, "{first}-{last}");
    }
    assert!(ranges.iter().any(|(_, last)| last + 1 == vhd.len() as u64), "the footer was not sent");

    // A blob of another size refuses: nothing is cut off silently.
    let small = format!("{account}/disks/small.vhd?{signature}");
    curl(
        &[
            &empty[..],
            &["--header", "x-ms-blob-type: PageBlob", "--header", "x-ms-blob-content-length: 1048576"],
            &[&small],
        ]
        .concat(),
    );
    let refused = Command::new("./upload.sh").arg("charter.vhd").current_dir(&out).env("UPLOAD_TO", &small).output();
    let refused = refused.unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("were refused"));
}
