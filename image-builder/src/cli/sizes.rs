//! `sizes`: how many bytes does everything take?

use std::path::PathBuf;

use clap::Args;
use image_builder::{BuildError, Manifest, inputs, output, sizes};
use serde_json::json;

use super::report::{self, Form};
use super::{Answer, Charter, Fault};

/// Shows how many bytes everything takes, in memory and in the image, and its budget
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder sizes system.toml\n  \
    image-builder sizes system.toml --save before.json       then change something, and\n  \
    image-builder sizes system.toml --compare before.json\n\n\
    Budgets are in the charter, under [budgets]. Answers 1 if the charter has mistakes, one beyond its budget among them.")]
pub struct Sizes {
    #[command(flatten)]
    charter: Charter,
    /// The kernel's ELF file [default: target/bare/x86_64-unknown-none/release/kernel]
    #[arg(long)]
    kernel: Option<PathBuf>,
    /// The UEFI application [default: target/bare/x86_64-unknown-uefi/release/boot.efi]
    #[arg(long)]
    boot: Option<PathBuf>,
    /// Writes the sizes to a file, for --compare
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Shows what changed since a file was saved
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

/// A file that holds no sizes.
#[derive(Debug, thiserror::Error)]
#[error("{} holds no sizes", .path.display())]
struct NoSizes {
    path: PathBuf,
    source: serde_json::Error,
}

impl Sizes {
    pub fn run(self) -> Result<Answer, Fault> {
        let mut inputs = self.charter.inputs();
        inputs.kernel = self.kernel.unwrap_or(inputs.kernel);
        inputs.boot = self.boot.unwrap_or(inputs.boot);
        let path = &self.charter.manifest;
        let text = image_builder::read_manifest(path)?;
        let manifest = Manifest { name: &path.display().to_string(), text: &text };
        let before: Option<sizes::Sizes> = match &self.compare {
            None => None,
            Some(path) => Some(
                serde_json::from_slice(&inputs::read(path)?)
                    .map_err(|source| NoSizes { path: path.clone(), source })?,
            ),
        };
        let build = match image_builder::build(manifest, &inputs) {
            Ok(build) => build,
            Err(BuildError::Charter(report)) => {
                report::problems(&report);
                return Ok(Answer::No);
            }
            Err(other) => return Err(other.into()),
        };
        let (checked, _) = image_builder::check(manifest, &inputs.programs)?;
        let Some(checked) = checked else { return Ok(Answer::No) };
        let (sizes, budgets) = (sizes::sizes(&checked, &build)?, sizes::budgets(&checked));
        match self.format {
            Form::Json => report::json(&json!({ "sizes": sizes, "budgets": budgets, "before": before }))?,
            Form::Text => {
                let shown = sizes::Shown { sizes: &sizes, budgets: &budgets, before: before.as_ref() };
                report::print(&shown.to_string())?;
            }
        }
        if let Some(path) = &self.save {
            output::write(path, (serde_json::to_string_pretty(&sizes)? + "\n").as_bytes())?;
        }
        Ok(Answer::Yes)
    }
}
