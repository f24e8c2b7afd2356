//! `route`: where does the authority of each need come from?

use std::path::PathBuf;

use clap::Args;
use image_builder::{Manifest, route};

use super::report::{self, Form};
use super::{Answer, Fault, Programs};

/// Shows for every need of every task where its authority comes from, or why it has none
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder route                     every task of system.toml\n  \
    image-builder route reader              one task\n  \
    image-builder route --manifest other.toml --format json\n\n\
    Answers 1 if a need that is not optional has a cross. Mistakes elsewhere in the charter do not matter here.")]
pub struct Route {
    /// Only this task
    task: Option<String>,
    /// The charter
    #[arg(long, default_value = "system.toml")]
    manifest: PathBuf,
    #[command(flatten)]
    programs: Programs,
    /// How to say it
    #[arg(long, value_enum, default_value_t)]
    format: Form,
}

impl Route {
    pub fn run(self) -> Result<Answer, Fault> {
        let text = image_builder::read_manifest(&self.manifest)?;
        let name = self.manifest.display().to_string();
        let inputs = self.programs.inputs(&self.manifest);
        let examined = image_builder::examine(Manifest { name: &name, text: &text }, &inputs.programs)?;
        if examined.read.is_none() {
            report::problems(&examined.report);
            return Ok(Answer::No);
        }
        let routes = route::routes(&examined, self.task.as_deref());
        if let (Some(task), true) = (&self.task, routes.is_empty()) {
            return Err(Fault::new(format!("there is no task `{task}` in {name}")));
        }
        match self.format {
            Form::Json => report::json(&routes)?,
            Form::Text => {
                let colour = report::colour(&std::io::stdout());
                report::print(&route::Shown { routes: &routes, file: &name, colour }.to_string())?;
            }
        }
        Ok(route::all_good(&routes).into())
    }
}
