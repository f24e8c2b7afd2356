//! Problems as people read them: file, line, column, the text underlined, and what to do.

use std::fmt;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, NamedSource, Severity, SourceCode,
    SourceSpan, SpanContents,
};

use super::Problem;
use crate::charter::Span;

/// Columns of a rendered report.
const WIDTH: usize = 120;

/// Problems together with the manifest that they are in.
#[derive(Clone, Debug)]
pub struct Report {
    source: Arc<WholeLines>,
    problems: Vec<Problem>,
}

impl Report {
    /// `name` is the manifest's path as the user knows it, `text` its contents.
    pub fn new(name: &str, text: &str, problems: Vec<Problem>) -> Self {
        let source = NamedSource::new(name, text.to_owned());
        Self { source: Arc::new(WholeLines(source)), problems }
    }

    /// The problems, in the order of their places.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many keep the charter from being used.
    pub fn errors(&self) -> usize {
        self.problems.iter().filter(|problem| !problem.kind.is_warning()).count()
    }

    /// The line and column of a place, both from 1; the column counts characters.
    pub fn position(&self, span: Span) -> (usize, usize) {
        let before = self.source.0.inner().get(..span.start).unwrap_or_default();
        let line = before.rsplit('\n').next().unwrap_or_default();
        (before.matches('\n').count() + 1, line.chars().count() + 1)
    }

    /// The manifest's path, as the user knows it.
    pub fn name(&self) -> &str {
        self.source.0.name()
    }

    /// The problems as data, for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let place = |(span, here): &(Span, String)| {
            let (line, column) = self.position(*span);
            let text = self.source.0.inner().get(span.start..span.end).unwrap_or_default();
            serde_json::json!({ "line": line, "column": column, "text": text, "here": here })
        };
        let problem = |problem: &Problem| {
            serde_json::json!({
                "code": problem.kind.code(),
                "severity": if problem.kind.is_warning() { "warning" } else { "error" },
                "message": problem.message,
                "file": self.name(),
                "places": problem.places.iter().map(place).collect::<Vec<_>>(),
                "help": problem.help,
            })
        };
        self.problems.iter().map(problem).collect()
    }

    /// The whole text, in colour or not; empty if there are no problems.
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler =
            GraphicalReportHandler::new_themed(theme).with_width(WIDTH).with_context_lines(1).with_links(false);
        let mut text = String::new();
        for problem in &self.problems {
            // A String takes all that is written to it.
            let _ = handler.render_report(&mut text, &Shown { problem, source: &self.source });
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// A source whose context is the rest of the underlined lines, and no neighbours: a charter's lines say little about
/// each other, and a message is short.
#[derive(Debug)]
struct WholeLines(NamedSource<String>);

impl SourceCode for WholeLines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        context_before: usize,
        context_after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.0.inner();
        // Without context the renderer asks for a span's line and column.
        if context_before == 0 && context_after == 0 {
            return self.0.read_span(span, 0, 0);
        }
        let (start, end) = (span.offset(), span.offset() + span.len());
        let start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[end..].find('\n').map_or(text.len(), |newline| end + newline);
        self.0.read_span(&(start, end - start).into(), 0, 0)
    }
}

/// One problem and its source, in the form that the renderer takes.
#[derive(Debug)]
struct Shown<'a> {
    problem: &'a Problem,
    source: &'a WholeLines,
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(self.problem.kind.code()))
    }

    fn severity(&self) -> Option<Severity> {
        Some(if self.problem.kind.is_warning() { Severity::Warning } else { Severity::Error })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem.help.as_ref().map(|help| Box::new(help) as Box<_>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(self.source)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        Some(Box::new(self.problem.places.iter().map(|(span, here)| {
            let span = SourceSpan::new(span.start.into(), span.end - span.start);
            LabeledSpan::new_with_span(Some(here.clone()), span)
        })))
    }
}
