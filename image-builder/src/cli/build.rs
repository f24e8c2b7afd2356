//! `build`: from a charter to an image.

use std::path::PathBuf;
use std::time::Instant;

use clap::{Args, ValueEnum};
use image_builder::output::{self, Outcome};
use image_builder::{BuildError, Inputs};
use serde_json::json;

use super::report;
use super::sign::Signing;
use super::{Answer, Charter, Fault};

/// Checks a charter and writes its image
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder build system.toml --out build\n  \
    image-builder build system.toml --format efi\n  \
    image-builder build system.toml --format vhd --sign-key db.key --sign-cert db.pem\n  \
    image-builder build system.toml --format img --format json\n\n\
    A charter with mistakes writes nothing. Files whose bytes would be the same are left alone.")]
pub struct Build {
    #[command(flatten)]
    charter: Charter,
    /// Folder for charter.efi, charter.img and charter.vhd
    #[arg(long, default_value = "build")]
    out: PathBuf,
    /// What to write [default: efi and img]; `json` reports as JSON; may be given more than once
    #[arg(long, value_enum)]
    format: Vec<Format>,
    /// The kernel's ELF file [default: target/bare/x86_64-unknown-none/release/kernel]
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// The UEFI application [default: target/bare/x86_64-unknown-uefi/release/boot.efi]
    #[arg(long)]
    boot: Option<PathBuf>,
    /// Allow a kernel that makes faults on purpose: the image is for tests
    #[arg(long)]
    test_image: bool,
    #[command(flatten)]
    signing: Signing,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// charter.efi, the unified EFI file
    Efi,
    /// charter.img, a disk image with a GUID partition table
    #[value(alias = "raw")]
    Img,
    /// charter.vhd, a fixed VHD, as Azure takes it
    Vhd,
    /// Say as JSON what was written
    Json,
}

impl Build {
    fn inputs(&self) -> Inputs {
        let mut inputs = self.charter.inputs();
        inputs.kernel = self.kernel.clone().unwrap_or(inputs.kernel);
        inputs.boot = self.boot.clone().unwrap_or(inputs.boot);
        inputs.test_image = self.test_image;
        inputs
    }

    /// Whether to write this; EFI file and image, if no format names a file.
    fn writes(&self, format: Format) -> bool {
        let names_none = || self.format.iter().all(|format| *format == Format::Json);
        self.format.contains(&format) || (format != Format::Vhd && names_none())
    }

    pub fn run(self) -> Result<Answer, Fault> {
        let start = Instant::now();
        let as_json = self.format.contains(&Format::Json);
        let build = match image_builder::build_file(&self.charter.manifest, &self.inputs()) {
            Ok(build) => build,
            Err(BuildError::Charter(report)) if as_json => {
                report::json(&json!({ "good": false, "problems": report.to_json(), "files": [] }))?;
                return Ok(Answer::No);
            }
            Err(BuildError::Charter(report)) => {
                report::problems(&report);
                return Ok(Answer::No);
            }
            Err(other) => return Err(other.into()),
        };
        let build = self.signing.apply(build)?;
        let vhd = if self.writes(Format::Vhd) { build.vhd()? } else { Vec::new() };
        let mut files = Vec::new();
        for (format, file, contents) in [
            (Format::Efi, "charter.efi", &build.efi),
            (Format::Img, "charter.img", &build.image),
            (Format::Vhd, "charter.vhd", &vhd),
        ] {
            if self.writes(format) {
                let path = self.out.join(file);
                files.push((output::write(&path, contents)?, path, contents.len()));
            }
        }
        if as_json {
            let file = |(outcome, path, bytes): &(Outcome, PathBuf, usize)| json!({ "path": path, "bytes": bytes, "written": *outcome == Outcome::Written });
            let files: Vec<_> = files.iter().map(file).collect();
            report::json(&json!({ "good": true, "problems": build.warnings.to_json(), "files": files }))?;
            return Ok(Answer::Yes);
        }
        report::problems(&build.warnings);
        for (outcome, path, bytes) in &files {
            let outcome = if *outcome == Outcome::Written { "written" } else { "unchanged" };
            report::print(&format!("{}: {outcome}, {} KiB", path.display(), bytes.div_ceil(1024)))?;
        }
        let (time, package) = (start.elapsed().as_millis(), build.package.len().div_ceil(1024));
        report::print(&format!("built in {time} ms, package of {package} KiB"))?;
        Ok(Answer::Yes)
    }
}
