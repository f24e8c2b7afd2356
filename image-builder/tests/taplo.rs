//! The schema as an editor uses it: taplo accepts good charters, and refuses wrong ones at the line of the mistake.
//!
//! Run by `make test-taplo`, which installs taplo; `TAPLO` names its program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn taplo(arguments: &[&str]) -> (Output, String) {
    let program = std::env::var_os("TAPLO").expect("TAPLO names taplo's program: make test-taplo");
    let output = Command::new(program).arg("check").args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

fn tool(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new(env!("CARGO_BIN_EXE_image-builder")).args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// What `--schema` takes.
fn schema(folder: &Path) -> String {
    let path = folder.join("charter.schema.json");
    std::fs::write(&path, tool(folder, &["schema"])).unwrap();
    format!("file://{}", path.display())
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
#[ignore = "needs taplo: make test-taplo"]
fn good_charters_are_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let schema = schema(folder.path());
    let mut charters = vec![root().join("system.toml")];
    for entry in std::fs::read_dir(root().join("qemu/tests/charters")).unwrap() {
        charters.extend(Some(entry.unwrap().path()).filter(|path| path.extension().is_some_and(|end| end == "toml")));
    }
    assert!(charters.len() > 5);
    for charter in &charters {
        let (output, said) = taplo(&["--schema", &schema, charter.to_str().unwrap()]);
        assert!(output.status.success(), "{}: {said}", charter.display());
    }
    // A project's own charter names its schema itself.
    tool(folder.path(), &["new", "hello"]);
    let charter = folder.path().join("hello/system.toml");
    let (output, said) = taplo(&[charter.to_str().unwrap()]);
    assert!(output.status.success(), "{said}");
    let wrong = std::fs::read_to_string(&charter).unwrap().replace("blocks = 34", "block = 34");
    std::fs::write(&charter, wrong).unwrap();
    assert!(!taplo(&[charter.to_str().unwrap()]).0.status.success());
}

#[test]
#[ignore = "needs taplo: make test-taplo"]
fn wrong_charters_are_refused_at_the_mistake() {
    let folder = tempfile::tempdir().unwrap();
    let schema = schema(folder.path());
    let good = std::fs::read_to_string(root().join("system.toml")).unwrap();
    for (right, wrong, expected) in [
        ("\npriority = 5\n", "\nprority = 5\n", "'prority' was unexpected"),
        ("\npriority = 5\n", "\npriority = 64\n", "64 is greater than the maximum of 63"),
        ("size = \"4 MiB\"", "size = \"4 MB\"", "\"4 MB\" does not match"),
        ("broker = \"nvme\"", "broker = \"nvmee\"", "\"nvmee\" is not"),
        ("vector = 1 }", "vector = \"1\" }", "is not valid under any of the schemas"),
    ] {
        let text = good.replacen(right, wrong, 1);
        assert_ne!(text, good, "{right} is in system.toml");
        let path = folder.path().join("system.toml");
        std::fs::write(&path, &text).unwrap();
        let (output, said) = taplo(&["--schema", &schema, path.to_str().unwrap()]);
        assert!(!output.status.success(), "{wrong} was accepted");
        let line = text[..text.find(wrong.trim()).unwrap()].matches('\n').count() + 1;
        assert!(
            said.contains(expected) && said.contains(&format!("system.toml:{line}:")),
            "{wrong}, line {line}: {said}"
        );
    }
}
