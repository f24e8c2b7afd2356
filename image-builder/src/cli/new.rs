//! `new`: a project of the user's own.

use std::path::PathBuf;

use clap::Args;
use image_builder::project;

use super::report;
use super::{Answer, Fault};

/// Makes a project of your own, with a charter and one task, that builds and boots at once
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder new hello && cd hello && make run\n  \
    image-builder new ~/work/hello --charter ~/src/charter\n\n\
    The folder's name is the task's: 1 to 28 characters of a-z, 0-9 and -, the first one a letter. The project takes kernel,\n\
    driver, servers and tools from a checkout of Charter, to which `charter` in it is a link; a submodule of that name\n\
    does as well.")]
pub struct New {
    /// The folder to make, of the project's name
    #[arg(value_name = "NAME")]
    folder: PathBuf,
    /// The checkout of Charter [default: the one that this tool was built from]
    #[arg(long, value_name = "DIR")]
    charter: Option<PathBuf>,
}

impl New {
    pub fn run(self) -> Result<Answer, Fault> {
        let charter = self.charter.or_else(project::own_checkout);
        let charter = charter.ok_or_else(|| Fault::new("no checkout of Charter is known: say --charter DIR"))?;
        let link = project::create(&self.folder, &charter)?;
        let folder = self.folder.display();
        report::print(&format!("{folder}: made, with Charter in {}", link.display()))?;
        report::print(&format!("next: cd {folder} && make run"))?;
        Ok(Answer::Yes)
    }
}
