//! What came of an attempt, and its line in the log.

use core::fmt;

use abi::Error;
use heapless::Vec;
use task::{Frame, Log, Submission};
use trials::insist;

/// Different answers to one attempt that are told apart.
const ANSWERS: usize = 8;

/// What the kernel, a broker or a server answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// `ok`, or the error's name.
    word: &'static str,
    /// The broker's number for its reason, if it gave one; else 0.
    reason: u64,
}

impl Answer {
    /// It was done.
    pub const OK: Self = Self { word: "ok", reason: 0 };

    /// An answer in a word of its own.
    pub const fn word(word: &'static str) -> Self {
        Self { word, reason: 0 }
    }

    /// A command's: submitted alone, it was accepted or not.
    pub fn submission(submission: &Submission) -> Self {
        match submission.refused {
            Some((error, reason)) => Self { word: name(error), reason },
            None if submission.accepted == 0 => Self::word("no-room"),
            None => Self::OK,
        }
    }

    /// A system call's.
    pub fn frame(after: &Frame) -> Self {
        match after.code {
            0 => Self::OK,
            code => Self::word(Error::new(code).map_or("unknown", name)),
        }
    }

    /// A broker's number for its reason.
    pub const fn because(self, reason: u64) -> Self {
        Self { reason, ..self }
    }
}

impl<T> From<Result<T, Error>> for Answer {
    fn from(result: Result<T, Error>) -> Self {
        result.map_or_else(|error| Self::word(name(error)), |_| Self::OK)
    }
}

/// An error as a value of the log.
pub const fn name(error: Error) -> &'static str {
    match error {
        Error::Denied => "denied",
        Error::Invalid => "invalid",
        Error::DeadPeer => "dead-peer",
        Error::TimedOut => "timed-out",
        Error::Busy => "busy",
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word)?;
        if self.reason == 0 { Ok(()) } else { write!(f, " reason={}", self.reason) }
    }
}

/// The answers to an attempt that is made in many ways: each different one with how often it came.
#[derive(Default)]
pub struct Tally {
    answers: Vec<(Answer, u32), ANSWERS>,
}

impl Tally {
    /// Counts an answer. More different ones than there is room for are dropped: a test wants one.
    pub fn add(&mut self, answer: Answer) {
        match self.answers.iter_mut().find(|(known, _)| *known == answer) {
            Some((_, times)) => *times += 1,
            None => _ = self.answers.push((answer, 1)),
        }
    }

    /// All of these.
    pub fn of(answers: impl IntoIterator<Item = Answer>) -> Self {
        let mut tally = Self::default();
        answers.into_iter().for_each(|answer| tally.add(answer));
        tally
    }

    /// Writes a line for each answer.
    pub fn tell(&self, log: Log, name: &str) {
        for (answer, times) in &self.answers {
            insist(log, format_args!("attempt name={name} answer={answer} times={times}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_answers_are_told_apart() {
        let denied = Answer::from(Err::<(), _>(Error::Denied));
        let tally = Tally::of([denied, denied.because(7), denied, Answer::OK]);
        assert_eq!(tally.answers, [(denied, 2), (denied.because(7), 1), (Answer::OK, 1)]);
    }
}
