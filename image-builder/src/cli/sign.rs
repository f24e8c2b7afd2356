//! Options of commands that sign what they build.

use std::path::PathBuf;

use clap::Args;
use image_builder::Build;
use image_builder::BuildError;
use image_builder::signing::Signer;

/// Whose signature the EFI file gets; none, if it is not said.
#[derive(Args)]
pub struct Signing {
    /// Sign the EFI file for Secure Boot with this private key (PEM, RSA)
    #[arg(long, value_name = "FILE", requires = "sign_cert")]
    sign_key: Option<PathBuf>,
    /// The key's certificate (PEM, X.509), which firmware's list `db` must hold
    #[arg(long, value_name = "FILE", requires = "sign_key")]
    sign_cert: Option<PathBuf>,
}

impl Signing {
    /// The certificate, if one signs.
    pub fn certificate(&self) -> Option<&PathBuf> {
        self.sign_cert.as_ref()
    }

    /// Signs, if that is asked for.
    pub fn apply(&self, build: Build) -> Result<Build, BuildError> {
        match (&self.sign_key, &self.sign_cert) {
            (Some(key), Some(certificate)) => {
                build.signed(&Signer { key: key.clone(), certificate: certificate.clone() })
            }
            _ => Ok(build),
        }
    }
}
