//! `match`: which device would each selector pick?

use std::path::{Path, PathBuf};

use clap::Args;
use image_builder::problem::{Problems, Report};
use image_builder::{manifest, matching};

use super::report::{self, Form};
use super::{Answer, Fault};

/// Shows which device each selector of a charter would pick on a recorded machine
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder match system.toml --devices machine.toml\n  \
    image-builder match system.toml --devices serial.log\n\n\
    A recording is a TOML list,\n  \
    [[functions]]\n  \
    address = \"0000:00:04.0\"\n  \
    vendor = 0x1b36\n  \
    device = 0x0010\n  \
    class = \"01/08/02\"\n\
    or a serial log: what a boot logs of granted functions, and all functions if somebody asked the console for its\n\
    `devices`. Answers 1 if a device would be absent.")]
pub struct Match {
    /// The charter
    manifest: PathBuf,
    /// The recording
    #[arg(long, value_name = "FILE")]
    devices: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Match {
    pub fn run(self) -> Result<Answer, Fault> {
        let Some(charter) = read(&self.manifest, manifest::read)? else { return Ok(Answer::No) };
        let recording = read(&self.devices, |text, problems| Some(matching::recording(text, problems)))?;
        let Some(functions) = recording else {
            return Err(Fault::new(format!("{} is no recording", self.devices.display())));
        };
        let picks = matching::picks(&charter, &functions);
        match self.format {
            Form::Json => report::json(&picks)?,
            Form::Text => picks.iter().try_for_each(|pick| report::print(&pick.to_string()))?,
        }
        Ok(picks.iter().all(|pick| pick.function.is_some()).into())
    }
}

/// What is read of a file; `None` if it has mistakes, which are told.
fn read<T>(path: &Path, read: impl FnOnce(&str, &Problems) -> Option<T>) -> Result<Option<T>, Fault> {
    let text = image_builder::read_manifest(path)?;
    let problems = Problems::default();
    let value = read(&text, &problems);
    let report = Report::new(&path.display().to_string(), &text, problems.into_sorted());
    report::problems(&report);
    Ok(value.filter(|_| report.errors() == 0))
}
