//! `schema`: the form of a charter, for editors.

use clap::Args;
use image_builder::schema;

use super::report;
use super::{Answer, Fault};

/// Writes the JSON Schema of a charter, for editors that complete and check TOML
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder schema > charter.schema.json\n  \
    taplo check --schema file://$PWD/charter.schema.json system.toml\n\n\
    Or, in the charter's first line: #:schema ./charter.schema.json\n\
    The schema knows the form alone; `check` knows what must hold between the parts.")]
pub struct Schema {}

impl Schema {
    pub fn run(self) -> Result<Answer, Fault> {
        report::json(&schema::schema())?;
        Ok(Answer::Yes)
    }
}
