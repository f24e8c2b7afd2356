//! `inspect`: what is in an image?

use std::path::PathBuf;

use clap::Args;
use image_builder::{inputs, inspect};

use super::report::{self, Form};
use super::{Answer, Fault};

/// Shows what is in an image: its system, tasks, what they may do, sizes and hashes
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder inspect build/charter.img\n  \
    image-builder inspect build/charter.efi --charter > recovered.toml\n  \
    image-builder inspect build/charter.img --format json | jq .authority\n\n\
    Needs nothing but the file. Grants are read from what the kernel enforces; answers 1 if the charter's text in the\n\
    image does not grant just that.")]
pub struct Inspect {
    /// A raw image, a VHD, or an EFI file
    image: PathBuf,
    /// Only the text of the charter that it was built from
    #[arg(long)]
    charter: bool,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Inspect {
    pub fn run(self) -> Result<Answer, Fault> {
        let inspection = inspect::inspect(&inputs::read(&self.image)?)?;
        match (&inspection.charter, self.format) {
            (Some(charter), _) if self.charter => report::print(charter)?,
            (None, _) if self.charter => return Err(Fault::new("no charter's text in this image")),
            (_, Form::Json) => report::json(&inspection)?,
            (_, Form::Text) => report::print(&inspection.to_string())?,
        }
        Ok((inspection.charter_agrees != Some(false)).into())
    }
}
