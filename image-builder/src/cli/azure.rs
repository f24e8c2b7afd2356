//! `azure`: a folder that brings an image to Azure.

use std::path::PathBuf;

use clap::Args;
use image_builder::BuildError;
use image_builder::output::Outcome;

use super::report;
use super::sign::Signing;
use super::{Answer, Charter, Fault};

/// Builds an image and writes a folder with it and with scripts that deploy it to Azure
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder azure build/azure && build/azure/deploy.sh --dry-run\n  \
    image-builder azure build/azure --sign-key db.key --sign-cert db.pem\n\n\
    The folder holds charter.vhd, deploy.sh (every step; --dry-run prints them), upload.sh, capture.sh (keeps the serial\n\
    log as evidence) and image-version.json (own keys for Secure Boot). docs/azure.md says what has not run on Azure.")]
pub struct Azure {
    /// The folder
    out: PathBuf,
    #[command(flatten)]
    charter: Charter,
    #[command(flatten)]
    signing: Signing,
}

impl Azure {
    pub fn run(self) -> Result<Answer, Fault> {
        let build = match image_builder::build_file(&self.charter.manifest, &self.charter.inputs()) {
            Ok(build) => build,
            Err(BuildError::Charter(report)) => {
                report::problems(&report);
                return Ok(Answer::No);
            }
            Err(other) => return Err(other.into()),
        };
        report::problems(&build.warnings);
        let build = self.signing.apply(build)?;
        let certificate = self.signing.certificate().map(PathBuf::as_path);
        for (path, outcome) in image_builder::azure::write(&self.out, &build, certificate)? {
            let outcome = if outcome == Outcome::Written { "written" } else { "unchanged" };
            report::print(&format!("{}: {outcome}", path.display()))?;
        }
        Ok(Answer::Yes)
    }
}
