//! `check`: is a charter good?

use clap::Args;
use image_builder::Manifest;
use serde_json::json;

use super::report::{self, Form};
use super::{Answer, Charter, Fault};

/// Checks a charter, and tells of everything that is wrong with it
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder check system.toml\n  \
    image-builder check system.toml --programs ../my-tasks/target/x86_64-unknown-none/release\n  \
    image-builder check system.toml --format json | jq '.problems[].code'")]
pub struct Check {
    #[command(flatten)]
    charter: Charter,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Check {
    pub fn run(self) -> Result<Answer, Fault> {
        let manifest = &self.charter.manifest;
        let text = image_builder::read_manifest(manifest)?;
        let name = manifest.display().to_string();
        let (checked, report) =
            image_builder::check(Manifest { name: &name, text: &text }, &self.charter.inputs().programs)?;
        if self.format == Form::Json {
            report::json(&json!({ "good": checked.is_some(), "problems": report.to_json() }))?;
            return Ok(checked.is_some().into());
        }
        report::problems(&report);
        let Some(checked) = checked else { return Ok(Answer::No) };
        let charter = checked.charter();
        let tasks = report::count(charter.tasks.len(), "task");
        let grants = report::count(charter.grants().count(), "grant");
        let devices = report::count(charter.devices.len(), "device");
        report::print(&format!("{name}: good: {tasks}, {grants}, {devices}"))?;
        Ok(Answer::Yes)
    }
}
