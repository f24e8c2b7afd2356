//! `diff`: what did each task gain or lose?

use std::path::{Path, PathBuf};

use abi::package::Package;
use clap::Args;
use image_builder::authority::Authority;
use image_builder::problem::{Problems, Report};
use image_builder::{difference, inputs, inspect, manifest};

use super::report::{self, Form};
use super::{Answer, Fault};

/// Shows what each task gained and lost between two charters or images
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder diff main.toml system.toml\n  \
    image-builder diff deployed.img build/charter.img || echo 'a task gained authority: ask for a review'\n  \
    git show main:system.toml > old.toml; image-builder diff old.toml system.toml\n\n\
    Either side may be a charter or an image. Answers 1 if any task gained authority, or if the\n\
    system's version became lower.")]
pub struct Diff {
    /// A charter (*.toml), a raw image, a VHD or an EFI file
    old: PathBuf,
    /// The same, of what is to replace it
    new: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Diff {
    pub fn run(self) -> Result<Answer, Fault> {
        let difference = difference::between(&authority(&self.old)?, &authority(&self.new)?);
        match self.format {
            Form::Json => report::json(&difference)?,
            Form::Text => report::print(&difference.to_string())?,
        }
        Ok((!difference.gained && !difference.version.is_downgrade()).into())
    }
}

/// What a charter or an image lets its tasks do.
fn authority(path: &Path) -> Result<Authority, Fault> {
    if path.extension().is_none_or(|extension| extension != "toml") {
        let file = inspect::EfiFile::find(&inputs::read(path)?)?;
        return Ok(Authority::try_from(&Package::open(&file.package()?)?)?);
    }
    let text = image_builder::read_manifest(path)?;
    let problems = Problems::default();
    let charter = manifest::read(&text, &problems);
    let report = Report::new(&path.display().to_string(), &text, problems.into_sorted());
    match charter.filter(|_| report.errors() == 0) {
        Some(charter) => Ok(Authority::from(&charter)),
        None => {
            report::problems(&report);
            Err(Fault::new(format!("{} has mistakes", path.display())))
        }
    }
}
