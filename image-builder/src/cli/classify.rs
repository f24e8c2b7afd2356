//! `classify`: what machine is a captured serial log of?

use std::path::PathBuf;

use clap::Args;
use image_builder::{classify, inputs};

use super::report::{self, Form};
use super::{Answer, Fault};

/// Says what machine a captured serial log is of
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder classify serial.log\n  \
    image-builder classify serial.log --format json\n\n\
    The log's lines `cloud: evidence` are the recording; what is said is what that machine would say of itself.")]
pub struct Classify {
    /// The log of one boot
    file: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Classify {
    pub fn run(self) -> Result<Answer, Fault> {
        let text = String::from_utf8_lossy(&inputs::read(&self.file)?).into_owned();
        let lines = classify::classify(&text)?;
        match self.format {
            Form::Json => report::json(&lines)?,
            Form::Text => report::print(&lines.join("\n"))?,
        }
        Ok(Answer::Yes)
    }
}
