//! `classify`: what machine is a captured serial log of?

use std::path::PathBuf;

use clap::Args;
use image_builder::{capture, classify, inputs};
use serde_json::json;

use super::report::{self, Form};
use super::{Answer, Fault};

/// Says what machine a captured serial log is of
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder classify serial.log\n  \
    image-builder classify capture-charter-20260102T030405Z.tar.gz\n  \
    image-builder classify serial.log --format json\n\n\
    The log's lines `cloud: evidence` are the recording; what is said is what that machine would say of itself. A capture,\n\
    the folder or archive that capture.sh wrote, is checked against its own hashes first, and what Azure said of the\n\
    machine is told before.")]
pub struct Classify {
    /// The log of one boot, or a capture
    file: PathBuf,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Classify {
    pub fn run(self) -> Result<Answer, Fault> {
        let capture = capture::read(&self.file)?;
        let text = match &capture {
            Some(capture) => capture.serial_log.clone(),
            None => String::from_utf8_lossy(&inputs::read(&self.file)?).into_owned(),
        };
        let lines = classify::classify(&text)?;
        match (self.format, &capture) {
            (Form::Json, None) => report::json(&lines)?,
            (Form::Json, Some(capture)) => report::json(&json!({ "capture": capture, "lines": lines }))?,
            (Form::Text, None) => report::print(&lines.join("\n"))?,
            (Form::Text, Some(capture)) => {
                for (key, value) in &capture.facts {
                    report::print(&format!("capture: {key}={value}"))?;
                }
                report::print(&format!("capture: machine={}", capture.machine))?;
                report::print(&lines.join("\n"))?;
            }
        }
        Ok(Answer::Yes)
    }
}
