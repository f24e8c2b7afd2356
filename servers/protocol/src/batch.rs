//! Several items in one message, without a copy: records of one size, one after the other, read one at a time from where
//! the message lies. In postcard they are one string of bytes.

mod framed;

use core::fmt;
use core::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use framed::Framed;
pub(crate) use framed::{Tail, read};

/// Most items of a [`BatchRoom`].
pub const ITEMS_MAX: usize = 32;
/// Bytes of the longest record.
const RECORD_BYTES_MAX: usize = 32;
/// Bytes before the records and after them, for what else a message has ([`Framed`]).
const HEAD: usize = 8;
const TAIL: usize = 16;
/// Bytes of the records.
const RECORDS: usize = ITEMS_MAX * RECORD_BYTES_MAX;

/// An item with bytes of its own, little-endian, the same number for each.
pub trait Record: Copy {
    /// How many, at most 32.
    const BYTES: usize;

    /// Writes them; `to` has room for just these.
    fn write(&self, to: &mut [u8]);

    /// Reads them; `None` if they are no such item.
    fn read(from: &[u8]) -> Option<Self>;
}

/// Items, each as its record, one after the other.
pub struct Batch<'a, T> {
    bytes: &'a [u8],
    items: PhantomData<T>,
}

impl<'a, T> Batch<'a, T> {
    /// No items.
    pub const EMPTY: Batch<'static, T> = Batch { bytes: &[], items: PhantomData };

    /// Whether there are no items.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// These items as others with the same records.
    pub(crate) fn same_records<U>(self) -> Batch<'a, U> {
        Batch { bytes: self.bytes, items: PhantomData }
    }
}

impl<'a, T: Record> Batch<'a, T> {
    /// How many items there are, if all of them are good.
    pub fn len(&self) -> usize {
        self.bytes.len() / T::BYTES
    }

    /// The items, in order. Bytes that are no item end them.
    #[inline]
    pub fn iter(&self) -> Items<'a, T> {
        Items { rest: self.bytes, items: PhantomData }
    }
}

impl<T> Clone for Batch<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Batch<'_, T> {}

impl<T> PartialEq for Batch<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.bytes == other.bytes
    }
}

impl<T> Eq for Batch<'_, T> {}

impl<T: Record + fmt::Debug> fmt::Debug for Batch<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Record> IntoIterator for Batch<'a, T> {
    type Item = T;
    type IntoIter = Items<'a, T>;

    fn into_iter(self) -> Items<'a, T> {
        self.iter()
    }
}

impl<T> Serialize for Batch<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.bytes)
    }
}

impl<'de: 'a, 'a, T> Deserialize<'de> for Batch<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a [u8]>::deserialize(deserializer).map(|bytes| Batch { bytes, items: PhantomData })
    }
}

/// The items of a [`Batch`].
#[derive(Clone, Debug)]
pub struct Items<'a, T> {
    rest: &'a [u8],
    items: PhantomData<T>,
}

impl<T: Record> Iterator for Items<'_, T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        let (item, rest) = self.rest.split_at_checked(T::BYTES)?;
        let item = T::read(item)?;
        self.rest = rest;
        Some(item)
    }
}

/// There is no room for another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Room for the bytes of a [`Batch`] of [`ITEMS_MAX`] items.
#[derive(Debug)]
pub struct BatchRoom<T> {
    bytes: [u8; HEAD + RECORDS + TAIL],
    /// How many of those for records are used.
    length: usize,
    items: PhantomData<T>,
}

impl<T: Record> BatchRoom<T> {
    /// Without items.
    pub const fn new() -> Self {
        const { assert!(T::BYTES <= RECORD_BYTES_MAX) };
        Self { bytes: [0; HEAD + RECORDS + TAIL], length: 0, items: PhantomData }
    }

    /// Takes all items out.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.length / T::BYTES
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether there is no room for another.
    pub fn is_full(&self) -> bool {
        self.length == ITEMS_MAX * T::BYTES
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn push(&mut self, item: &T) -> Result<(), Full> {
        let end = self.length + T::BYTES;
        let room = self.bytes[HEAD..HEAD + ITEMS_MAX * T::BYTES].get_mut(self.length..end).ok_or(Full)?;
        item.write(room);
        self.length = end;
        Ok(())
    }

    /// The items.
    pub fn batch(&self) -> Batch<'_, T> {
        Batch { bytes: self.bytes.get(HEAD..HEAD + self.length).unwrap_or_default(), items: PhantomData }
    }
}

impl<T: Record> Default for BatchRoom<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Record> FromIterator<T> for BatchRoom<T> {
    /// The items; those beyond its room are left out.
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        let mut room = Self::new();
        for item in items {
            if room.push(&item).is_err() {
                break;
            }
        }
        room
    }
}

/// Reads a field of a record, and the rest of it.
#[inline(always)]
pub(crate) fn field<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (field, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*field)
}

/// Writes a field of a record.
#[inline(always)]
pub(crate) fn put<const N: usize>(to: &mut &mut [u8], field: [u8; N]) {
    let whole = core::mem::take(to);
    // A record's room is of its size.
    if let Some((place, rest)) = whole.split_first_chunk_mut::<N>() {
        *place = field;
        *to = rest;
    }
}
