//! Several items in one message, without a copy: they are written one after the other, and read one at a time from
//! where the message lies.

use core::fmt;
use core::marker::PhantomData;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Items, each as postcard, one after the other. In a message: the number of their bytes, then these bytes.
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

    /// The items, in order. Bytes that are no item end them.
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

impl<'a, T: Deserialize<'a> + fmt::Debug> fmt::Debug for Batch<'a, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a, T: Deserialize<'a>> IntoIterator for Batch<'a, T> {
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

impl<'a, T: Deserialize<'a>> Iterator for Items<'a, T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        let (item, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(item)
    }
}

/// There is no room for another item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Bytes of a full batch of the longest items: of a transfer the tag has at most 5 bytes, the operation 27.
const ROOM: usize = super::BATCH_MAX * 32;

/// Room for the bytes of a [`Batch`]: 32 of the longest transfers.
pub struct BatchRoom<T> {
    bytes: [u8; ROOM],
    length: usize,
    items: PhantomData<T>,
}

impl<T: Serialize> BatchRoom<T> {
    /// Without items.
    pub const fn new() -> Self {
        Self { bytes: [0; ROOM], length: 0, items: PhantomData }
    }

    /// Takes all items out.
    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    /// [`Full`].
    pub fn push(&mut self, item: &T) -> Result<(), Full> {
        let written = postcard::to_slice(item, &mut self.bytes[self.length..]).map_err(|_| Full)?.len();
        self.length += written;
        Ok(())
    }

    /// The items.
    pub fn batch(&self) -> Batch<'_, T> {
        Batch { bytes: &self.bytes[..self.length], items: PhantomData }
    }
}

impl<T: Serialize> Default for BatchRoom<T> {
    fn default() -> Self {
        Self::new()
    }
}
