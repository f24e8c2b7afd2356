//! What a record has many of goes as bytes: encoding it number by number would take a kernel entry most of its bound.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Registers;

/// Bytes of a register.
const WORD: usize = 8;
/// How many registers there are.
const REGISTERS: usize = 18;

impl Registers {
    /// In the order of their declaration.
    const fn words(&self) -> [u64; REGISTERS] {
        let Self { rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, .. } = *self;
        let Self { r8, r9, r10, r11, r12, r13, r14, r15, .. } = *self;
        [rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15]
    }

    const fn from_words(words: [u64; REGISTERS]) -> Self {
        let [rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15] = words;
        Self { rip, rflags, rsp, rbp, rax, rbx, rcx, rdx, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 }
    }
}

impl Serialize for Registers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.words().map(u64::to_le_bytes).as_flattened())
    }
}

impl<'de> Deserialize<'de> for Registers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (words, rest) = <&[u8]>::deserialize(deserializer)?.as_chunks::<WORD>();
        match <&[[u8; WORD]; REGISTERS]>::try_from(words) {
            Ok(words) if rest.is_empty() => Ok(Self::from_words(words.map(u64::from_le_bytes))),
            _ => Err(D::Error::custom("other registers")),
        }
    }
}

/// Words of a stack: place, then value.
pub(super) mod returns {
    use heapless::Vec;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::super::{RETURNS_MAX, StackWord};

    /// Bytes of one.
    const BYTES: usize = 12;

    pub fn serialize<S: Serializer>(words: &Vec<StackWord, RETURNS_MAX>, to: S) -> Result<S::Ok, S::Error> {
        let mut bytes = [[0; BYTES]; RETURNS_MAX];
        for (to, StackWord { above, value }) in bytes.iter_mut().zip(words) {
            let [a, b, c, d] = above.to_le_bytes();
            let [e, f, g, h, i, j, k, l] = value.to_le_bytes();
            *to = [a, b, c, d, e, f, g, h, i, j, k, l];
        }
        to.serialize_bytes(bytes.get(..words.len()).unwrap_or(&bytes).as_flattened())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<StackWord, RETURNS_MAX>, D::Error> {
        let (words, rest) = <&[u8]>::deserialize(from)?.as_chunks::<BYTES>();
        let mut returns = Vec::new();
        for [a, b, c, d, value @ ..] in words {
            let word = StackWord { above: u32::from_le_bytes([*a, *b, *c, *d]), value: u64::from_le_bytes(*value) };
            returns.push(word).map_err(|_| D::Error::custom("too many words of a stack"))?;
        }
        if rest.is_empty() { Ok(returns) } else { Err(D::Error::custom("half a word of a stack")) }
    }
}
