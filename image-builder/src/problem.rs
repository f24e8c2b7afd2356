//! What is wrong with a charter, and where.
//!
//! A [`Problem`] is one mistake: its [`Kind`], a sentence that names the culprit, the places in the manifest that show
//! it (both of them, where two things contradict each other), and what to do. Checks put them into [`Problems`] and go
//! on, so that one run tells of all; a [`Report`] shows them.

mod kind;
mod report;
mod suggest;

use std::cell::RefCell;

pub use kind::Kind;
pub use report::Report;
pub use suggest::closest;

use crate::charter::Span;
use crate::charter::values::ValueError;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Problem {
    /// The kind of mistake.
    pub kind: Kind,
    /// A sentence that names the culprit.
    pub message: String,
    /// Where it shows, and what is there. The first is the place to look at first.
    pub places: Vec<(Span, String)>,
    /// What to do.
    pub help: Option<String>,
}

impl Problem {
    /// A mistake that shows in one place.
    pub fn new(kind: Kind, message: impl Into<String>, span: Span, here: impl Into<String>) -> Self {
        Self { kind, message: message.into(), places: vec![(span, here.into())], help: None }
    }

    /// A value that is not one; `subject` says of what.
    pub fn value(subject: &str, span: Span, error: ValueError) -> Self {
        Self { help: error.help, ..Self::new(error.kind, format!("{subject} is not valid"), span, error.message) }
    }

    /// The same, shown in a further place.
    #[must_use]
    pub fn and(mut self, span: Span, here: impl Into<String>) -> Self {
        self.places.push((span, here.into()));
        self
    }

    /// The same, with advice.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same, with advice if there is any.
    #[must_use]
    pub fn maybe_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }
}

/// The mistakes found so far.
#[derive(Debug, Default)]
pub struct Problems(RefCell<Vec<Problem>>);

impl Problems {
    /// One more.
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// What came out well; a mistake is kept, and gives `None`.
    pub fn keep<T>(&self, result: Result<T, Problem>) -> Option<T> {
        result.map_err(|problem| self.add(problem)).ok()
    }

    /// Whether there is one that keeps the charter from being used.
    pub fn has_errors(&self) -> bool {
        self.0.borrow().iter().any(|problem| !problem.kind.is_warning())
    }

    /// All of them, in the order of their places.
    pub fn into_sorted(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        problems.sort_by_key(|problem| problem.places.first().map(|(span, _)| *span));
        problems
    }
}
