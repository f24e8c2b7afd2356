//! Functions and buses made up for tests.

use super::{BARS, Bus, COMMAND, Function};
use abi::system_call::PciAddress;

extern crate std;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Configuration space in which some bits can be written.
#[derive(Clone, Debug)]
pub(crate) struct FakeFunction {
    words: Vec<u32>,
    writable: Vec<u32>,
    /// Whether a BAR was written while the function answered at its BARs.
    pub(crate) sized_while_decoding: bool,
}

impl FakeFunction {
    /// These bytes, of which none can be written.
    pub(crate) fn raw(bytes: &[u8]) -> Self {
        let mut words = std::vec![0; 64];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
            *word = u32::from_le_bytes(bytes.try_into().expect("four bytes"));
        }
        Self { words, writable: std::vec![0; 64], sized_while_decoding: false }
    }

    /// A function that is no bridge: its command register can be written.
    pub(crate) fn endpoint(vendor: u16, device: u16, [class, subclass, interface]: [u8; 3]) -> Self {
        let mut function = Self::raw(&[]);
        function.words[0] = u32::from(device) << 16 | u32::from(vendor);
        function.words[2] = u32::from_be_bytes([class, subclass, interface, 0]);
        function.writable[1] = 0x0547;
        function
    }

    /// A bridge to a bus.
    pub(crate) fn bridge(secondary: u8) -> Self {
        let mut function = Self::endpoint(0x1b36, 0x000c, [6, 4, 0]);
        function.set_byte(0x0e, 1);
        function.set_byte(0x19, secondary);
        function
    }

    pub(crate) fn set_byte(&mut self, at: usize, value: u8) {
        let mut bytes = self.words[at / 4].to_le_bytes();
        bytes[at % 4] = value;
        self.words[at / 4] = u32::from_le_bytes(bytes);
    }

    pub(crate) fn set_bar(&mut self, bar: u8, value: u32, writable: u32) {
        let at = usize::from(BARS) / 4 + usize::from(bar);
        (self.words[at], self.writable[at]) = (value, writable);
    }

    /// Puts a capability in front of the list. Its control half can be written.
    pub(crate) fn add_capability(&mut self, at: u8, kind: u8, words: [u32; 2]) {
        let [next, ..] = self.words[0x34 / 4].to_le_bytes();
        self.set_byte(0x34, at);
        let first = usize::from(at) / 4;
        self.words[first] = self.words[first] & 0xffff_0000 | u32::from(next) << 8 | u32::from(kind);
        self.writable[first] = 0xc001_0000;
        self.words[first + 1..first + 3].copy_from_slice(&words);
        self.words[1] |= 1 << 20;
    }

    /// A word anywhere, also in extended configuration space, which there is from then on. It can be written.
    pub(crate) fn set_word(&mut self, at: u16, value: u32) {
        let at = usize::from(at) / 4;
        if at >= self.words.len() {
            self.words.resize(1024, 0);
            self.writable.resize(1024, 0);
        }
        (self.words[at], self.writable[at]) = (value, u32::MAX);
    }

    /// The control half of a capability.
    pub(crate) fn set_control(&mut self, at: u8, control: u16) {
        let word = &mut self.words[usize::from(at) / 4];
        *word = *word & 0xffff | u32::from(control) << 16;
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

impl Function for FakeFunction {
    fn read(&mut self, offset: u16) -> u32 {
        self.words.get(usize::from(offset) / 4).copied().unwrap_or(u32::MAX)
    }

    fn write(&mut self, offset: u16, value: u32) {
        let at = usize::from(offset) / 4;
        let is_bar = (usize::from(BARS) / 4..usize::from(BARS) / 4 + 6).contains(&at);
        self.sized_while_decoding |= is_bar && self.words[usize::from(COMMAND) / 4] & 0b11 != 0;
        let writable = self.writable[at];
        self.words[at] = self.words[at] & !writable | value & writable;
        if at == usize::from(COMMAND) / 4 {
            // The status register's error bits are cleared by writing ones.
            self.words[at] &= !(value & 0xf900_0000);
        }
    }
}

/// Functions at addresses.
#[derive(Default)]
pub(crate) struct FakeBus {
    pub(crate) functions: BTreeMap<PciAddress, FakeFunction>,
    pub(crate) reads: u32,
}

impl FakeBus {
    pub(crate) fn put(&mut self, bus: u8, device: u8, function: u8, what: FakeFunction) -> PciAddress {
        let address = PciAddress { segment: 0, bus, device, function };
        self.functions.insert(address, what);
        address
    }
}

impl Bus for FakeBus {
    fn read(&mut self, address: PciAddress, offset: u16) -> u32 {
        self.reads += 1;
        self.functions.get_mut(&address).map_or(u32::MAX, |function| function.read(offset))
    }

    fn write(&mut self, address: PciAddress, offset: u16, value: u32) {
        if let Some(function) = self.functions.get_mut(&address) {
            function.write(offset, value);
        }
    }
}
