//! The task's settings in the charter.
//!
//! | key | unless set | |
//! |---|---|---|
//! | `seed` | 1 | everything that is done follows from it |
//! | `requests` | 1000 | operations, flushes included; 0 goes on for ever |
//! | `blocks` | 65536, or what the disk has | blocks that are used, from the disk's first; at most 65536 |
//! | `blocks_max` | 64 | most blocks of one operation |
//! | `depth` | 8 | operations under way at a time: at most the disk's share, and as many as fit into the window |
//! | `flush_every` | 64 | of so many operations the last is a flush |
//! | `write`, `durable`, `discard`, `zeroes` | 55, 5, 5, 5 | how many of a hundred are writes, durable writes, discards, writes of zeroes; the rest reads |
//! | `deadline_milliseconds` | 300000 | how long a call may take |

use core::time::Duration;

use crate::plan::Mix;

/// Most blocks that are used: four bytes of memory are kept for each.
pub const BLOCKS_MAX: u64 = 1 << 16;
/// Most operations under way.
pub const DEPTH_MAX: u32 = 32;

/// What the charter says of this task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// Operations; `None` for ever.
    pub requests: Option<u32>,
    /// Blocks that are used, if the disk has as many.
    pub blocks: u64,
    /// Most blocks of one operation.
    pub blocks_max: u32,
    /// Operations under way.
    pub depth: u32,
    /// How often an operation is a flush.
    pub flush_every: u32,
    /// The kinds of the others.
    pub mix: Mix,
    /// How long a call may take.
    pub patience: Duration,
}

/// A setting that is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("setting {key}: expected a number from {least} to {most}")]
pub struct SettingsError {
    /// Its key.
    pub key: &'static str,
    /// The least that it may be.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Settings {
    /// Reads them; `setting` gives the value of a key.
    ///
    /// # Errors
    /// The first one that is wrong.
    pub fn new<'a>(setting: impl Fn(&str) -> Option<&'a str>) -> Result<Self, SettingsError> {
        let number = |key: &'static str, unless: u64, least: u64, most: u64| match setting(key).map(str::parse) {
            None => Ok(unless),
            Some(Ok(value)) if (least..=most).contains(&value) => Ok(value),
            Some(_) => Err(SettingsError { key, least, most }),
        };
        let percent = |key, unless, left: u32| number(key, unless, 0, left.into()).map(|value| value as u32);
        let write = percent("write", 55, 100)?;
        let durable = percent("durable", 5_u64.min((100 - write).into()), 100 - write)?;
        let discard = percent("discard", 5_u64.min((100 - write - durable).into()), 100 - write - durable)?;
        let left = 100 - write - durable - discard;
        let zeroes = percent("zeroes", 5_u64.min(left.into()), left)?;
        let requests = number("requests", 1000, 0, (crate::expected::GENERATIONS - 1).into())? as u32;
        Ok(Self {
            seed: number("seed", 1, 0, u64::MAX)?,
            requests: Some(requests).filter(|requests| *requests > 0),
            blocks: number("blocks", BLOCKS_MAX, 1, BLOCKS_MAX)?,
            blocks_max: number("blocks_max", 64, 1, BLOCKS_MAX)? as u32,
            depth: number("depth", 8, 1, DEPTH_MAX.into())? as u32,
            flush_every: number("flush_every", 64, 1, u32::MAX.into())? as u32,
            mix: Mix { write, durable, discard, zeroes },
            patience: Duration::from_millis(number("deadline_milliseconds", 300_000, 1, u32::MAX.into())?),
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
    fn each_is_taken_over() {
        let own = settings(&[("seed", "9"), ("requests", "0"), ("blocks", "100"), ("write", "100"), ("depth", "32")]);
        let own = own.unwrap();
        assert_eq!((own.seed, own.requests, own.blocks, own.depth), (9, None, 100, 32));
        assert_eq!(own.mix, Mix { write: 100, durable: 0, discard: 0, zeroes: 0 });
        assert_eq!(settings(&[]).unwrap().requests, Some(1000));
    }

    #[test]
    fn a_wrong_one_is_named() {
        for (key, value) in
            [("seed", "x"), ("depth", "33"), ("blocks", "0"), ("flush_every", "0"), ("write", "101"), ("durable", "46")]
        {
            assert_eq!(settings(&[(key, value)]).unwrap_err().key, key);
        }
    }
}
