//! `graph`: who may use what, as a picture.

use clap::{Args, ValueEnum};
use image_builder::problem::{Problems, Report};
use image_builder::{graph, manifest};

use super::report;
use super::{Answer, Fault};
use std::path::PathBuf;

/// Draws who may use what: tasks, endpoints, devices and regions
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    image-builder graph system.toml                          for a Markdown page, as ```mermaid\n  \
    image-builder graph system.toml --format svg > authority.svg\n  \
    image-builder graph system.toml --format dot | dot -Tpdf > authority.pdf\n\n\
    Programs are not needed: the charter alone says it.")]
pub struct Graph {
    /// The charter
    #[arg(default_value = "system.toml")]
    manifest: PathBuf,
    /// How to draw it
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For Markdown pages
    #[default]
    Mermaid,
    /// For Graphviz
    Dot,
    /// A picture
    Svg,
    /// Nodes and edges
    Json,
}

impl Graph {
    pub fn run(self) -> Result<Answer, Fault> {
        let text = image_builder::read_manifest(&self.manifest)?;
        let problems = Problems::default();
        let charter = manifest::read(&text, &problems);
        let report = Report::new(&self.manifest.display().to_string(), &text, problems.into_sorted());
        let Some(charter) = charter.filter(|_| report.errors() == 0) else {
            report::problems(&report);
            return Ok(Answer::No);
        };
        let graph = graph::Graph::from(&charter);
        match self.format {
            Format::Mermaid => report::print(&graph.to_mermaid())?,
            Format::Dot => report::print(&graph.to_dot())?,
            Format::Svg => report::print(&graph.to_svg())?,
            Format::Json => report::json(&graph)?,
        }
        Ok(Answer::Yes)
    }
}
