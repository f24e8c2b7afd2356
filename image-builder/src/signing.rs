//! Signs the EFI file for Secure Boot, with the tool that distributions sign their own boot loaders with.
//!
//! The signature holds the time of signing and is not the same twice; what is compared between builds is the file
//! without it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::inputs::FileError;

/// The tool, of the package of the same name but `tool`.
const TOOL: &str = "sbsign";

/// Whose signature: both files are PEM, the key RSA and not encrypted, since nobody may be there to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The private key.
    pub key: PathBuf,
    /// Its X.509 certificate: what firmware's list `db` must hold.
    pub certificate: PathBuf,
}

/// Why there is no signature.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The tool is not installed.
    #[error(
        "cannot sign: {TOOL} is not installed (Debian, Ubuntu: sbsigntool; Fedora: sbsigntools; Arch: sbsigntools)"
    )]
    NoTool,
    /// The tool could not be started.
    #[error("cannot start {TOOL}")]
    Start(#[source] io::Error),
    /// The key is encrypted.
    #[error("cannot sign: {} is encrypted (openssl rsa -in KEY -out DECRYPTED)", .0.display())]
    Encrypted(PathBuf),
    /// The tool refused.
    #[error("cannot sign with {} and {}: {said}", .key.display(), .certificate.display())]
    Refused {
        /// Which key.
        key: PathBuf,
        /// Which certificate.
        certificate: PathBuf,
        /// What the tool said, on one line.
        said: String,
    },
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// The EFI file with a signature.
///
/// # Errors
/// If the tool is missing, or cannot use the key, the certificate or the file.
pub fn sign(efi: &[u8], signer: &Signer) -> Result<Vec<u8>, SigningError> {
    sign_with(TOOL, efi, signer)
}

fn sign_with(tool: &str, efi: &[u8], signer: &Signer) -> Result<Vec<u8>, SigningError> {
    let key = crate::inputs::read(&signer.key)?;
    // The tool would ask for the password on the terminal.
    if key.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(SigningError::Encrypted(signer.key.clone()));
    }
    crate::inputs::read(&signer.certificate)?;
    let folder =
        tempfile::tempdir().map_err(|source| FileError { action: "write", path: std::env::temp_dir(), source })?;
    let (unsigned, signed) = (folder.path().join("unsigned.efi"), folder.path().join("signed.efi"));
    std::fs::write(&unsigned, efi).map_err(|source| FileError { action: "write", path: unsigned.clone(), source })?;
    let argument = |option: &'static str, path: &Path| [option.into(), path.as_os_str().to_owned()];
    let output = Command::new(tool)
        .args(argument("--key", &signer.key))
        .args(argument("--cert", &signer.certificate))
        .args(argument("--output", &signed))
        .arg(&unsigned)
        .env("LC_ALL", "C")
        .output()
        .map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound { SigningError::NoTool } else { SigningError::Start(error) }
        })?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said: Vec<_> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        return Err(SigningError::Refused {
            key: signer.key.clone(),
            certificate: signer.certificate.clone(),
            said: said.join("; "),
        });
    }
    Ok(crate::inputs::read(&signed)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(folder: &Path, key: &str) -> Signer {
        let signer = Signer { key: folder.join("key.pem"), certificate: folder.join("certificate.pem") };
        std::fs::write(&signer.key, key).unwrap();
        std::fs::write(&signer.certificate, "").unwrap();
        signer
    }

    #[test]
    fn what_is_missing_is_said_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let good = signer(folder.path(), "-----BEGIN PRIVATE KEY-----");
        let error = sign_with("no-such-tool-for-signing", b"MZ", &good).unwrap_err();
        assert!(matches!(error, SigningError::NoTool), "{error}");
        assert!(error.to_string().contains("sbsigntool") && !error.to_string().contains('\n'));
        let nowhere = Signer { key: "/nowhere.pem".into(), ..good };
        assert_eq!(sign(b"MZ", &nowhere).unwrap_err().to_string(), "cannot read /nowhere.pem");
        let encrypted = signer(folder.path(), "-----BEGIN ENCRYPTED PRIVATE KEY-----");
        assert!(matches!(sign(b"MZ", &encrypted), Err(SigningError::Encrypted(_))));
    }

    #[test]
    fn the_tools_own_words_come_through() {
        let folder = tempfile::tempdir().unwrap();
        let error = sign(b"MZ", &signer(folder.path(), "no key")).unwrap_err();
        let SigningError::Refused { said, .. } = &error else { panic!("{error}") };
        assert!(!said.is_empty() && !error.to_string().contains('\n'), "{error}");
    }
}
