//! `explain-crash`: where in the source did a task crash?

use std::path::PathBuf;

use clap::Args;
use image_builder::{explain, inputs};

use super::report::{self, Form};
use super::{Answer, Fault};

/// Says where in the source a task crashed, and who had called that
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder explain-crash serial.log build/charter.img\n  \
    image-builder explain-crash serial.log charter.vhd --format json | jq '.[0].frames[0].places'\n  \
    image-builder explain-crash memory.dump charter.vhd\n\n\
    Needs nothing but the two files. The log's lines `kernel: task stopped` tell of crashes, its first line of a boot tells\n\
    which image that was; a line `crash: previous boot` tells both, and so does a copy of the machine's memory.\n\
    Names and lines lie in the image, beside the EFI file. Answers 1 if the log has no crash.")]
pub struct ExplainCrash {
    /// A serial log, or a piece of one; or a copy of the machine's memory, whole or in part
    log: PathBuf,
    /// The image that it is of: a raw image or a VHD
    image: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl ExplainCrash {
    pub fn run(self) -> Result<Answer, Fault> {
        let log = inputs::read(&self.log)?;
        let explained = match explain::explain(&explain::log_of(&log), &inputs::read(&self.image)?) {
            Err(none @ explain::ExplainError::NoCrash) => {
                match self.format {
                    Form::Json => report::json(&serde_json::json!([]))?,
                    Form::Text => report::print(&format!("{}: {none}", self.log.display()))?,
                }
                return Ok(Answer::No);
            }
            result => result?,
        };
        match self.format {
            Form::Json => report::json(&explained)?,
            Form::Text => {
                let all: Vec<_> = explained.iter().map(ToString::to_string).collect();
                report::print(&all.join("\n"))?;
            }
        }
        Ok(Answer::Yes)
    }
}
