//! The task's settings.

use core::time::Duration;

use heapless::Vec;

use crate::reads::{self, READS_MAX, Read, ReadsError};

/// What the charter says of this task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What to read.
    pub reads: Vec<Read, READS_MAX>,
    /// How long a request may take.
    pub patience: Duration,
    /// Between two reads.
    pub pause: Duration,
    /// How often to go through the reads; `None` for ever.
    pub rounds: Option<u32>,
    /// Whether to read in several requests what is larger than the window.
    pub split: bool,
    /// Whether to leave out the rest after a failure.
    pub stop_after_failure: bool,
}

/// What is wrong with them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The reads.
    #[error(transparent)]
    Reads(#[from] ReadsError),
    /// There are no reads.
    #[error("setting reads: nothing to read")]
    Nothing,
    /// Another one.
    #[error("setting {0}: expected {1}")]
    Value(&'static str, &'static str),
}

impl Settings {
    /// Reads them; `setting` gives the value of a key.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn new<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, SettingsError> {
        let reads = reads::parse(setting("reads").unwrap_or(""))?;
        if reads.is_empty() {
            return Err(SettingsError::Nothing);
        }
        let number = |key: &'static str, unless| match setting(key) {
            None => Ok(unless),
            Some(value) => value.parse::<u32>().map_err(|_| SettingsError::Value(key, "a number")),
        };
        let choice =
            |key: &'static str, expected: &'static str, unless: &'static str, other: &'static str| match setting(key) {
                None => Ok(false),
                Some(value) if value == unless => Ok(false),
                Some(value) if value == other => Ok(true),
                Some(_) => Err(SettingsError::Value(key, expected)),
            };
        Ok(Self {
            reads,
            patience: Duration::from_millis(number("deadline_milliseconds", 30_000)?.into()),
            pause: Duration::from_millis(number("pause_milliseconds", 0)?.into()),
            rounds: Some(number("repeat", 1)?).filter(|rounds| *rounds > 0),
            split: choice("split", "true or false", "false", "true")?,
            stop_after_failure: choice("after_failure", "continue or stop", "continue", "stop")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(given: &[(&str, &'static str)]) -> Result<Settings, SettingsError> {
        Settings::new(|key| given.iter().find(|(name, _)| *name == key).map(|(_, value)| *value))
    }

    #[test]
    fn only_reads_must_be_set() {
        let settings = settings(&[("reads", "first+1")]).unwrap();
        assert_eq!(settings.patience, Duration::from_secs(30));
        assert_eq!((settings.rounds, settings.split, settings.stop_after_failure), (Some(1), false, false));
    }

    #[test]
    fn each_is_taken_over() {
        let settings = settings(&[
            ("reads", "last+2"),
            ("deadline_milliseconds", "5"),
            ("pause_milliseconds", "7"),
            ("repeat", "0"),
            ("split", "true"),
            ("after_failure", "stop"),
        ])
        .unwrap();
        assert_eq!((settings.patience.as_millis(), settings.pause.as_millis()), (5, 7));
        assert_eq!((settings.rounds, settings.split, settings.stop_after_failure), (None, true, true));
    }

    #[test]
    fn a_wrong_one_is_named() {
        assert_eq!(settings(&[]), Err(SettingsError::Nothing));
        for key in ["deadline_milliseconds", "pause_milliseconds", "repeat"] {
            assert_eq!(settings(&[("reads", "1+1"), (key, "soon")]), Err(SettingsError::Value(key, "a number")));
        }
        for key in ["split", "after_failure"] {
            assert!(
                matches!(settings(&[("reads", "1+1"), (key, "?")]), Err(SettingsError::Value(name, _)) if name == key)
            );
        }
    }
}
