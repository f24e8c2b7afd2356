//! A folder with everything that brings an image to Azure: the VHD, and scripts that say what they do.
//!
//! The scripts are ordinary files of this crate, `azure/*`, with some words in them (`@VHD_BYTES@` …) that stand for
//! what is known of this image. None of this has run on Azure; `docs/azure.md` says what has been tested of it.

use std::path::{Path, PathBuf};

use abi::package::Package;
use sha2::{Digest, Sha256};

use crate::compile::CompileError;
use crate::inputs::FileError;
use crate::output::{self, Outcome};
use crate::{Build, BuildError, inputs};

/// What is written besides the VHD: name, contents, whether it is a program.
const FILES: [(&str, &str, bool); 4] = [
    ("deploy.sh", include_str!("azure/deploy.sh"), true),
    ("upload.sh", include_str!("azure/upload.sh"), true),
    ("capture.sh", include_str!("azure/capture.sh"), true),
    ("image-version.json", include_str!("azure/image-version.json"), false),
];

/// Writes the folder, and returns its files.
///
/// `certificate` is that of the key that signed the EFI file; without one, the image is deployed without Secure Boot.
///
/// # Errors
/// If there can be no VHD, or a file cannot be read or written.
pub fn write(folder: &Path, build: &Build, certificate: Option<&Path>) -> Result<Vec<(PathBuf, Outcome)>, BuildError> {
    let package = Package::open(&build.package).map_err(CompileError::from)?;
    let contents = package.contents();
    let vhd = build.vhd()?;
    let digest: String = Sha256::digest(&vhd).iter().map(|byte| format!("{byte:02x}")).collect();
    let (signed, security) = if certificate.is_some() { ("yes", "TrustedLaunch") } else { ("no", "Standard") };
    let words = [
        ("@VHD_BYTES@", vhd.len().to_string()),
        ("@VHD_SHA256@", digest),
        ("@VERSION@", contents.system_version.to_string()),
        ("@SYSTEM@", contents.name.to_owned()),
        ("@SIGNED@", signed.to_owned()),
        ("@SECURITY@", security.to_owned()),
    ];
    let mut written = Vec::new();
    let mut put = |name: &str, contents: &[u8]| -> Result<PathBuf, FileError> {
        let path = folder.join(name);
        written.push((path.clone(), output::write(&path, contents)?));
        Ok(path)
    };
    put("charter.vhd", &vhd)?;
    if let Some(certificate) = certificate {
        put("db.pem", &inputs::read(certificate)?)?;
    }
    for (name, contents, is_program) in FILES {
        let contents = words.iter().fold(contents.to_owned(), |text, (word, value)| text.replace(word, value));
        let path = put(name, contents.as_bytes())?;
        if is_program {
            make_executable(&path)?;
        }
    }
    Ok(written)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Result<(), FileError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).map_err(|source| FileError {
        action: "make executable",
        path: path.to_owned(),
        source,
    })
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Result<(), FileError> {
    Ok(())
}
