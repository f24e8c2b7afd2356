//! Messages as bytes: postcard, in registers up to
//! [`MESSAGE_REGISTER_BYTES`](abi::system_call::MESSAGE_REGISTER_BYTES), else through the IPC buffer.

use core::mem::MaybeUninit;

use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::{MESSAGE_REGISTER_BYTES, MESSAGE_WORDS};
use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use crate::buffer;

/// The bytes of a message are not those of the type that was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message")]
pub struct Malformed;

/// A message is longer than the IPC buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("message longer than {IPC_BUFFER_BYTES} bytes")]
pub struct TooLong;

/// What can be sent: what serde encodes, as postcard, and what is [`Encoded`] already.
pub trait Send {
    /// Its words, if it is short, else it is put into the IPC buffer.
    ///
    /// # Errors
    /// It is longer than that.
    #[doc(hidden)]
    fn outgoing(&self) -> Result<Outgoing, TooLong>;
}

impl<T: Serialize + ?Sized> Send for T {
    #[inline]
    fn outgoing(&self) -> Result<Outgoing, TooLong> {
        encode(self)
    }
}

/// A message that is encoded already.
#[derive(Clone, Copy, Debug)]
pub struct Encoded<'a> {
    bytes: &'a [u8],
    length: usize,
}

impl<'a> Encoded<'a> {
    /// The first `length` of these bytes. Those behind them, up to the next multiple of eight, are zero, or may be seen by
    /// the receiver.
    #[inline]
    pub const fn new(bytes: &'a [u8], length: usize) -> Self {
        Self { bytes, length }
    }
}

impl Send for Encoded<'_> {
    #[inline]
    fn outgoing(&self) -> Result<Outgoing, TooLong> {
        let length = self.length as u64;
        if self.length > MESSAGE_REGISTER_BYTES {
            let message = self.bytes.get(..self.length).filter(|message| message.len() <= IPC_BUFFER_BYTES);
            buffer::write(0, message.ok_or(TooLong)?);
            return Ok(Outgoing { words: [0; MESSAGE_WORDS], length });
        }
        match self.bytes.first_chunk::<MESSAGE_REGISTER_BYTES>() {
            Some(head) => Ok(Outgoing { words: words(head), length }),
            None => {
                let mut head = [0; MESSAGE_REGISTER_BYTES];
                let message = self.bytes.get(..self.length).ok_or(TooLong)?;
                head[..message.len()].copy_from_slice(message);
                Ok(Outgoing { words: words(&head), length })
            }
        }
    }
}

#[inline]
fn words(bytes: &[u8; MESSAGE_REGISTER_BYTES]) -> [u64; MESSAGE_WORDS] {
    let mut words = [0; MESSAGE_WORDS];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u64::from_le_bytes(*bytes);
    }
    words
}

/// A message ready to be sent: its words, or what lies in the IPC buffer, and its length.
pub struct Outgoing {
    pub(crate) words: [u64; MESSAGE_WORDS],
    pub(crate) length: u64,
}

/// Encodes a message, into words if it is short, else into the IPC buffer.
pub(crate) fn encode<T: Serialize + ?Sized>(message: &T) -> Result<Outgoing, TooLong> {
    postcard::serialize_with_flavor(message, Encoder { head: [0; MESSAGE_REGISTER_BYTES], length: 0 })
        .map_err(|_| TooLong)
}

/// Keeps the first bytes and writes the further ones to the IPC buffer.
struct Encoder {
    head: [u8; MESSAGE_REGISTER_BYTES],
    length: usize,
}

impl Encoder {
    /// Takes bytes of which some or all do not fit into words.
    #[inline(never)]
    fn spill(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        if bytes.len() > IPC_BUFFER_BYTES - self.length {
            return Err(postcard::Error::SerializeBufferFull);
        }
        let (head, tail) = bytes.split_at(bytes.len().min(MESSAGE_REGISTER_BYTES.saturating_sub(self.length)));
        if !head.is_empty() {
            self.head[self.length..self.length + head.len()].copy_from_slice(head);
        }
        buffer::write(self.length + head.len(), tail);
        self.length += bytes.len();
        Ok(())
    }
}

impl Flavor for Encoder {
    type Output = Outgoing;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        if let Some(place) = self.head.get_mut(self.length) {
            *place = byte;
            self.length += 1;
            Ok(())
        } else {
            self.spill(&[byte])
        }
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        match self.head.get_mut(self.length..).and_then(|rest| rest.get_mut(..bytes.len())) {
            // A number: shorter than a call to copy it.
            Some(place) if bytes.len() <= 5 => {
                for (place, byte) in place.iter_mut().zip(bytes) {
                    *place = *byte;
                }
                self.length += bytes.len();
                Ok(())
            }
            Some(place) => {
                place.copy_from_slice(bytes);
                self.length += bytes.len();
                Ok(())
            }
            None => self.spill(bytes),
        }
    }

    fn finalize(self) -> postcard::Result<Outgoing> {
        let length = self.length as u64;
        if self.length > MESSAGE_REGISTER_BYTES {
            buffer::write(0, &self.head);
            return Ok(Outgoing { words: [0; MESSAGE_WORDS], length });
        }
        Ok(Outgoing { words: words(&self.head), length })
    }
}

/// Room for a message that came. Making one costs nothing; it takes 4 KiB of stack.
pub struct Inbox {
    bytes: [MaybeUninit<u8>; IPC_BUFFER_BYTES],
}

impl Default for Inbox {
    fn default() -> Self {
        Self::new()
    }
}

impl Inbox {
    /// An empty one.
    pub const fn new() -> Self {
        Self { bytes: [MaybeUninit::uninit(); IPC_BUFFER_BYTES] }
    }

    /// Takes over what the kernel delivered: `length` bytes in words, or in the IPC buffer. A length that no kernel
    /// delivers gives an empty message.
    #[inline]
    pub(crate) fn take(&mut self, length: u64, words: &[u64; MESSAGE_WORDS]) -> &[u8] {
        let length = usize::try_from(length).ok().filter(|length| *length <= IPC_BUFFER_BYTES).unwrap_or(0);
        if length <= MESSAGE_REGISTER_BYTES {
            for (place, word) in self.bytes.as_chunks_mut().0.iter_mut().zip(words) {
                *place = word.to_le_bytes().map(MaybeUninit::new);
            }
        } else {
            buffer::read(&mut self.bytes[..length]);
        }
        // SAFETY: the first `length` bytes were initialized just now: up to 48 of them from the six words, more of
        // them by `buffer::read`, which fills the whole slice that it is given.
        unsafe { core::slice::from_raw_parts(self.bytes.as_ptr().cast(), length) }
    }
}

/// Decodes a whole message; bytes left over make it malformed.
///
/// # Errors
/// [`Malformed`].
pub(crate) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Malformed> {
    match postcard::take_from_bytes(bytes) {
        Ok((message, [])) => Ok(message),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    /// Encodes and decodes as a kernel would carry it, and checks the length.
    fn carry<'i, T: Serialize + Deserialize<'i>>(message: &T, inbox: &'i mut Inbox) -> (u64, Result<T, Malformed>) {
        let outgoing = encode(message).unwrap();
        (outgoing.length, decode(inbox.take(outgoing.length, &outgoing.words)))
    }

    #[test]
    fn messages_of_every_length_arrive() {
        for length in (0..300).chain([4000, IPC_BUFFER_BYTES - 2]) {
            let text: Vec<u8> = (0..length).map(|index| index as u8 ^ 0x5a).collect();
            let mut inbox = Inbox::new();
            let message = text.as_slice();
            let (bytes, arrived) = carry(&message, &mut inbox);
            assert_eq!(arrived, Ok(message), "length {length}");
            assert_eq!(bytes as usize, length + if length < 128 { 1 } else { 2 });
        }
    }

    #[test]
    fn a_short_message_travels_in_words_that_are_zero_beyond_it() {
        let outgoing = encode(&(0x11_u8, 0x22_u8)).unwrap();
        assert_eq!((outgoing.words, outgoing.length), ([0x2211, 0, 0, 0, 0, 0], 2));
        let outgoing = encode(&([7_u8; 32], [7_u8; 16])).unwrap();
        assert_eq!(outgoing.words, [0x0707_0707_0707_0707; MESSAGE_WORDS]);
        let outgoing = encode(&([7_u8; 32], [7_u8; 17])).unwrap();
        assert_eq!((outgoing.words, outgoing.length), ([0; MESSAGE_WORDS], 49));
    }

    #[test]
    fn what_is_encoded_already_arrives_as_it_is() {
        let all: Vec<u8> = (0..300).map(|index| index as u8 | 1).collect();
        for (length, room) in [(0, 0), (1, 1), (3, 300), (47, 47), (48, 48), (48, 300), (49, 300), (300, 300)] {
            let outgoing = Encoded::new(&all[..room], length).outgoing().unwrap();
            let mut inbox = Inbox::new();
            assert_eq!(inbox.take(outgoing.length, &outgoing.words), &all[..length], "{length} of {room}");
        }
        assert_eq!(Encoded::new(&all, 301).outgoing().err(), Some(TooLong));
        assert_eq!(Encoded::new(&all[..5], 6).outgoing().err(), Some(TooLong));
        assert_eq!(Encoded::new(&[0; IPC_BUFFER_BYTES + 1], IPC_BUFFER_BYTES + 1).outgoing().err(), Some(TooLong));
    }

    #[test]
    fn what_does_not_fit_is_too_long() {
        let bytes = std::vec![0_u8; IPC_BUFFER_BYTES - 1];
        assert_eq!(encode(bytes.as_slice()).err(), Some(TooLong));
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        assert_eq!(decode::<(u8, bool)>(&[1, 2]), Err(Malformed));
        assert_eq!(decode::<u8>(&[]), Err(Malformed));
        assert_eq!(decode::<u8>(&[1, 2]), Err(Malformed), "bytes left over");
        assert_eq!(decode::<&str>(&[2, 0xff, 0xff]), Err(Malformed));
        assert_eq!(decode::<&[u8]>(&[200, 1, 0]), Err(Malformed));
    }

    #[test]
    fn a_length_that_cannot_be_gives_an_empty_message() {
        let mut inbox = Inbox::new();
        assert!(inbox.take(IPC_BUFFER_BYTES as u64 + 1, &[1; MESSAGE_WORDS]).is_empty());
        assert!(inbox.take(u64::MAX, &[1; MESSAGE_WORDS]).is_empty());
    }
}
