//! The same charter gives the same files wherever, whenever and by whomever it is built.

mod common;

use std::path::Path;
use std::process::Command;

const FILES: [&str; 3] = ["charter.efi", "charter.img", "charter.vhd"];

/// Builds below `folder`, from inside `working_directory`, and returns the files.
fn build(folder: &Path, working_directory: &Path, environment: &[(&str, &str)]) -> Vec<Vec<u8>> {
    std::fs::create_dir_all(folder).unwrap();
    common::write_inputs(folder);
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    std::fs::write(path("system.toml"), common::example()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_image-builder"))
        .args(["build", &path("system.toml"), "--out", &path("out"), "--kernel", &path("kernel")])
        .args(["--boot", &path("boot.efi"), "--programs", folder.to_str().unwrap()])
        .args(["--format", "efi", "--format", "img", "--format", "vhd"])
        .current_dir(working_directory)
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    FILES.map(|file| std::fs::read(folder.join("out").join(file)).unwrap()).into()
}

fn contains(bytes: &[u8], word: &str) -> bool {
    bytes.windows(word.len()).any(|bytes| bytes == word.as_bytes())
}

#[test]
fn neither_place_nor_time_nor_surroundings_matter() {
    let root = tempfile::Builder::new().prefix("charter-somewhere-").tempdir().unwrap();
    let one = build(&root.path().join("one"), Path::new("/"), &[("TZ", "Asia/Tokyo"), ("SOURCE_DATE_EPOCH", "1")]);
    // FAT knows times of two seconds.
    std::thread::sleep(std::time::Duration::from_millis(2100));
    let environment =
        [("TZ", "UTC"), ("USER", "somebody"), ("HOME", "/nowhere"), ("LC_ALL", "C"), ("HOSTNAME", "a-host")];
    let other = build(&root.path().join("other/and/deeper"), root.path(), &environment);
    for ((one, other), file) in one.iter().zip(&other).zip(FILES) {
        assert!(one == other, "{file} differs");
        assert!(!contains(one, "charter-somewhere-"), "{file} has the folder's name in it");
        for word in [env!("CARGO_MANIFEST_DIR"), "somebody", "a-host"] {
            assert!(!contains(other, word), "{file} has {word} in it");
        }
    }
}
