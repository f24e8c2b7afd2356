//! How commands say what they found: as text for people, as JSON for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use image_builder::problem::Report;
use serde::Serialize;

use super::Fault;

/// The form of what is said.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For people
    #[default]
    Text,
    /// One JSON value on standard output
    Json,
}

/// Whether a stream is coloured: a terminal, and nobody objects (no-color.org).
pub fn colour(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Writes to standard output. A reader that has left (`| head`) is no error.
pub fn print(text: &str) -> Result<(), Fault> {
    let mut out = io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => Ok(result?),
    }
}

/// Writes a value as JSON.
pub fn json(value: &impl Serialize) -> Result<(), Fault> {
    print(&serde_json::to_string_pretty(value)?)
}

/// `1 task`, `2 tasks`.
pub fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// A charter's problems, to standard error.
pub fn problems(report: &Report) {
    if report.problems().is_empty() {
        return;
    }
    eprint!("{}", report.render(colour(&io::stderr())));
    let errors = report.errors();
    let warnings = report.problems().len() - errors;
    eprintln!("{}, {}", count(errors, "error"), count(warnings, "warning"));
}
