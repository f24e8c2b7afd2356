//! What to read: `POSITION+COUNT` items, with spaces between.
//!
//! `POSITION` is `first`, `middle` (it begins half-way through the range, or earlier if it would not fit), `last` (the
//! last `COUNT` blocks), or the number of the first block in the range. `COUNT` is a number of blocks, at least 1.

use core::str::FromStr;

use heapless::Vec;

/// Most items.
pub const READS_MAX: usize = 64;

/// Where a read begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Position {
    /// At the first block of the range.
    First,
    /// Half-way.
    Middle,
    /// So that it ends with the range.
    Last,
    /// At this block of the range.
    Block(u64),
}

/// One read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Where it begins.
    pub position: Position,
    /// How many blocks.
    pub count: u32,
}

impl Read {
    /// Its first block in a range of `blocks`. Whether all of it lies there, the block server checks.
    pub fn first_block(&self, blocks: u64) -> u64 {
        let last = blocks.saturating_sub(self.count.into());
        match self.position {
            Position::First => 0,
            Position::Middle => (blocks / 2).min(last),
            Position::Last => last,
            Position::Block(block) => block,
        }
    }
}

/// What is wrong with the setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadsError {
    /// An item, counted from 1, is not of the form.
    #[error("setting reads: item {0} is not POSITION+COUNT")]
    Item(usize),
    /// There are more than [`READS_MAX`].
    #[error("setting reads: more than {READS_MAX} items")]
    TooMany,
}

impl FromStr for Read {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (position, count) = text.split_once('+').ok_or(())?;
        let position = match position {
            "first" => Position::First,
            "middle" => Position::Middle,
            "last" => Position::Last,
            number => Position::Block(number.parse().map_err(|_| ())?),
        };
        match count.parse() {
            Ok(count) if count > 0 => Ok(Self { position, count }),
            _ => Err(()),
        }
    }
}

/// Reads the setting.
///
/// # Errors
/// The first item that is wrong.
pub fn parse(setting: &str) -> Result<Vec<Read, READS_MAX>, ReadsError> {
    let mut reads = Vec::new();
    for (index, item) in setting.split_ascii_whitespace().enumerate() {
        let read = item.parse().map_err(|()| ReadsError::Item(index + 1))?;
        reads.push(read).map_err(|_| ReadsError::TooMany)?;
    }
    Ok(reads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_read() {
        let reads = parse("first+1  middle+64 last+8 4294967296+2").unwrap();
        let expected =
            [(Position::First, 1), (Position::Middle, 64), (Position::Last, 8), (Position::Block(1 << 32), 2)];
        assert_eq!(reads.len(), 4);
        for (read, (position, count)) in reads.iter().zip(expected) {
            assert_eq!(*read, Read { position, count });
        }
        assert!(parse("").unwrap().is_empty());
    }

    #[test]
    fn a_wrong_item_is_named() {
        for wrong in ["first", "first+0", "first+", "+1", "-1+1", "first+4294967296", "first+1+1", "end+1", "1 +1"] {
            let setting = std::format!("first+1 {wrong}");
            assert_eq!(parse(&setting), Err(ReadsError::Item(2)), "{wrong}");
        }
        assert_eq!(parse(&"first+1 ".repeat(65)), Err(ReadsError::TooMany));
    }

    #[test]
    fn positions_are_in_the_range() {
        let at = |position, count, blocks| Read { position, count }.first_block(blocks);
        assert_eq!(at(Position::First, 8, 100), 0);
        assert_eq!(at(Position::Middle, 8, 100), 50);
        assert_eq!(at(Position::Middle, 80, 100), 20);
        assert_eq!(at(Position::Last, 8, 100), 92);
        assert_eq!(at(Position::Last, 101, 100), 0);
        assert_eq!(at(Position::Block(7), 8, 100), 7);
    }
}
