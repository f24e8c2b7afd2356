//! How records lie in the memory that outlives a reset.
//!
//! The memory is [`BYTES`] long, in slots of [`SLOT_BYTES`]. The first one holds [`Boots`], the others a ring of
//! [`RECORDS`] records: that with sequence *n* lies in slot 1 + (*n* − 1) modulo [`RECORDS`]. A slot begins with
//!
//! | bytes | |
//! |---|---|
//! | 0..8 | [`MAGIC`], written last |
//! | 8..12 | length of what follows the header, little-endian |
//! | 12..16 | CRC-32 (IEEE 802.3) of that |
//! | 16.. | postcard |
//!
//! After power-on the memory holds anything, and firmware may have used it: what is not whole is not believed.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::package::checksum;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 1024;
/// Records that are kept, the newest ones.
pub const RECORDS: usize = 7;
/// Bytes of the memory: whole pages.
pub const BYTES: usize = (1 + RECORDS) * SLOT_BYTES;
const _: () = assert!(BYTES.is_multiple_of(crate::layout::PAGE_BYTES as usize));

/// What a slot begins with that holds something. The last byte is the version.
pub const MAGIC: [u8; 8] = *b"CHCRASH1";
/// Bytes of a slot before its contents.
pub const HEADER_BYTES: usize = 16;

/// Physical addresses at which the UEFI application asks firmware for this memory, in this order. The same at each boot,
/// so that what one boot has left is found by the next; high enough that no firmware known keeps its own there, low
/// enough for the smallest machine.
pub const PLACES: [u64; 4] = [0x0200_0000, 0x0300_0000, 0x0400_0000, 0x0800_0000];

/// What is kept of boots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    /// Counts the boots since the memory was empty: 1 is the first.
    pub boot: u32,
    /// The sequence of the newest record that a boot after its own has told; 0 if none was.
    pub told: u64,
    /// Resets of the machine in a row because its supervisor had stopped soon after the boot.
    pub resets: u32,
}

/// The slot of the record with this sequence, from 1.
pub const fn slot_of(sequence: u64) -> usize {
    1 + (sequence.wrapping_sub(1) % RECORDS as u64) as usize
}

/// Puts into a slot what it is to hold; the rest stays. Returns the bytes of it that are used, header and all; `None` if
/// it has no room, which a test shows that no record or [`Boots`] can be too large for.
pub fn seal(contents: &impl Serialize, slot: &mut [u8; SLOT_BYTES]) -> Option<usize> {
    let (header, room) = slot.split_first_chunk_mut::<HEADER_BYTES>()?;
    let bytes = postcard::to_slice(contents, room).ok()?;
    let (length, sum) = (bytes.len(), checksum(bytes));
    let (magic, rest) = header.split_first_chunk_mut::<8>()?;
    let (first, second) = rest.split_first_chunk_mut::<4>()?;
    *magic = MAGIC;
    *first = u32::try_from(length).ok()?.to_le_bytes();
    second.copy_from_slice(&sum.to_le_bytes());
    Some(HEADER_BYTES + length)
}

/// The postcard bytes that a slot holds, if they are whole.
pub fn contents(slot: &[u8]) -> Option<&[u8]> {
    let (header, rest) = slot.split_first_chunk::<HEADER_BYTES>()?;
    let (magic, numbers) = header.split_first_chunk::<8>()?;
    let (length, sum) = numbers.split_first_chunk::<4>()?;
    if *magic != MAGIC {
        return None;
    }
    let bytes = rest.get(..usize::try_from(u32::from_le_bytes(*length)).ok()?)?;
    (checksum(bytes).to_le_bytes() == *sum).then_some(bytes)
}

/// What a slot holds, if that is whole and of this kind.
pub fn open<T: DeserializeOwned>(slot: &[u8]) -> Option<T> {
    match postcard::take_from_bytes(contents(slot)?) {
        Ok((value, [])) => Some(value),
        _ => None,
    }
}
