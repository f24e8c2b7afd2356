//! A message that is a batch and little more, made whole where the batch lies, and taken apart where it lies: the same bytes
//! as postcard's, without a look at each.

use serde::Deserialize;

use super::{Batch, BatchRoom, HEAD, RECORDS, Record, TAIL};

/// A message, encoded. The bytes go on behind it, and the next ones are zero.
#[derive(Clone, Copy, Debug)]
pub struct Framed<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Framed<'a> {
    /// The message's bytes, and at least [`Self::len`] up to the next multiple of eight after it.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many of them are the message.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }
}

/// A batch's length as [`varint`] writes it, and how many bytes: one or two, which is why it is apart. Where the compiler knows
/// that, nothing that is done with the message looks at its bounds.
#[inline]
const fn length(bytes: usize) -> (u64, usize) {
    const { assert!(RECORDS < 1 << 14) };
    let bytes = bytes as u64;
    if bytes < 0x80 { (bytes, 1) } else { (bytes & 0x7f | 0x80 | (bytes >> 7 & 0x7f) << 8, 2) }
}

/// A number as postcard writes it: seven bits a byte, the lowest first; and how many bytes.
#[inline]
const fn varint(number: u32) -> (u64, usize) {
    let (mut rest, mut bytes, mut length) = (number as u64, 0, 0);
    while rest > 0x7f {
        bytes |= (rest & 0x7f | 0x80) << (8 * length);
        rest >>= 7;
        length += 1;
    }
    (bytes | rest << (8 * length), length + 1)
}

impl<T: Record> BatchRoom<T> {
    /// The message of `H` bytes, at most four, the batch, and what follows it.
    #[inline]
    pub(crate) fn framed<const H: usize>(&mut self, head: [u8; H], tail: Tail) -> Framed<'_> {
        const { assert!(H <= 4) };
        // Never longer than there is room.
        let batch_length = self.length.min(RECORDS);
        let (varint_bytes, varint_length) = length(batch_length);
        let head_bytes = head.iter().rev().fold(0, |bytes, byte| bytes << 8 | u64::from(*byte));
        let before = H + varint_length;
        let word = (head_bytes | varint_bytes << (8 * H)) << (8 * (HEAD - before));
        self.bytes[..HEAD].copy_from_slice(&word.to_le_bytes());
        let (after, after_length) = match tail {
            Tail::None => (0, 0),
            Tail::Byte(byte) => (u64::from(byte), 1),
            Tail::Number(number) => varint(number),
        };
        let end = HEAD + batch_length;
        // What follows the message is not to be what was there before.
        let room = &mut self.bytes[end..end + TAIL];
        room[..8].copy_from_slice(&after.to_le_bytes());
        room[8..].copy_from_slice(&[0; 8]);
        Framed { bytes: &self.bytes[HEAD - before..], length: before + batch_length + after_length }
    }
}

/// What follows a batch in a message.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tail {
    /// Nothing.
    None,
    /// A byte, or a truth.
    Byte(u8),
    /// A number.
    Number(u32),
}

impl<'a, T> Batch<'a, T> {
    /// The batch at the start of these bytes, and those after it; `None` if there is none, or not in the usual way.
    #[inline]
    pub(crate) fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (first, rest) = bytes.split_first()?;
        let (length, rest) = if *first < 0x80 {
            (usize::from(*first), rest)
        } else {
            let (second, rest) = rest.split_first()?;
            if *second >= 0x80 || *second == 0 {
                return None;
            }
            (usize::from(*first & 0x7f) | usize::from(*second) << 7, rest)
        };
        let (bytes, rest) = rest.split_at_checked(length)?;
        Some((Batch { bytes, items: core::marker::PhantomData }, rest))
    }
}

/// A whole message, in any way in which postcard decodes it.
#[cold]
pub(crate) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Option<T> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Some(message),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::{self, Completion, Transfer};

    extern crate std;

    fn transfers(count: u32) -> BatchRoom<Transfer> {
        let operation = nvme::Operation::Read;
        (0..count).map(|tag| Transfer { tag, operation, nsid: 1, first_block: 2, blocks: 3, offset: 4 }).collect()
    }

    #[test]
    fn a_framed_message_is_what_postcard_encodes_and_zero_up_to_the_next_word() {
        for count in 0..=super::super::ITEMS_MAX as u32 {
            let mut room = transfers(count);
            let expected = postcard::to_stdvec(&nvme::Request::Exchange(room.batch())).unwrap();
            let framed = nvme::Request::exchange(&mut room);
            assert_eq!(framed.bytes()[..framed.len()], expected);
            let end = framed.len().next_multiple_of(8);
            assert_eq!(framed.bytes()[framed.len()..end], [0; 8][..end - framed.len()]);
            assert_eq!(nvme::Request::read(&expected), Some(nvme::Request::Exchange(transfers(count).batch())));
            assert_eq!(nvme::Request::read(&expected[..expected.len() - 1]), None);
        }
    }

    #[test]
    fn a_notice_is_what_postcard_encodes_whatever_the_number_after_it() {
        for number in (0..32).flat_map(|bit| [(1_u32 << bit) - 1, 1 << bit]).chain([u32::MAX]) {
            for count in [0, 1, 5, 16, 32] {
                let completion = |tag| Completion { tag, outcome: Err(nvme::Failure::Gone) };
                let mut room: BatchRoom<Completion> = (0..count).map(completion).collect();
                let notice = nvme::Notice { completions: room.batch(), namespaces: number };
                let expected = postcard::to_stdvec(&notice).unwrap();
                assert_eq!(nvme::Notice::read(&expected), Some(notice));
                let framed = nvme::Notice::framed(&mut room, number);
                assert_eq!(framed.bytes()[..framed.len()], expected);
                let end = framed.len().next_multiple_of(8);
                assert_eq!(framed.bytes()[framed.len()..end], [0; 8][..end - framed.len()]);
            }
        }
    }

    #[test]
    fn what_is_left_over_makes_a_message_none() {
        assert_eq!(nvme::Request::read(&[2, 0, 0]), None);
        assert_eq!(nvme::Request::read(&[2]), None);
        assert_eq!(nvme::Request::read(&[]), None);
        assert_eq!(nvme::Request::read(&[0]), Some(nvme::Request::Controller));
        assert_eq!(nvme::Notice::read(&[0]), None);
        assert_eq!(nvme::Notice::read(&[0, 1, 0]), None);
    }
}
