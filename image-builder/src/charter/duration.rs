//! Times that a charter sets: whole numbers with a unit.

use crate::charter::values::ValueError;
use crate::problem::Kind;

/// A time of 1 ms to a day, or none at all where that makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(u32);

/// A day.
const MILLISECONDS_MAX: u32 = 86_400_000;

impl Duration {
    /// From milliseconds.
    pub const fn milliseconds(milliseconds: u32) -> Self {
        Self(milliseconds)
    }

    /// Reads `100 ms`, `5 s` or `2 min`.
    ///
    /// # Errors
    /// If it is not of that form, nothing, or longer than a day.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let error = |message: &str, help: &str| {
            Err(ValueError { kind: Kind::BadDuration, message: message.into(), help: Some(help.into()) })
        };
        let help = "a time is a whole number and ms, s or min, as in \"100 ms\"";
        let split = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
        let scale = match text[split..].trim_start() {
            "ms" => 1,
            "s" => 1_000,
            "min" => 60_000,
            "" if split > 0 => return error("a number without a unit", help),
            _ => return error("not a time", help),
        };
        if split == 0 {
            return error("not a time", help);
        }
        match text[..split].parse::<u32>().ok().and_then(|number| number.checked_mul(scale)) {
            Some(milliseconds @ 1..=MILLISECONDS_MAX) => Ok(Self(milliseconds)),
            Some(0) => error("no time at all", "times are 1 ms to a day"),
            _ => error("more than a day", "times are 1 ms to a day"),
        }
    }

    /// In milliseconds.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            milliseconds if milliseconds.is_multiple_of(1000) => write!(f, "{} s", milliseconds / 1000),
            milliseconds => write!(f, "{milliseconds} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_units_and_nothing_else_is() {
        let read = |text| Duration::new(text).map(Duration::get);
        assert_eq!(
            (read("1 ms"), read("5s"), read("2 min"), read("86400 s")),
            (Ok(1), Ok(5000), Ok(120_000), Ok(86_400_000))
        );
        for text in ["", "5", "s", "-1 s", "0 s", "1.5 s", "5 h", "86401 s", "99999999999 ms", "5 s s"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
