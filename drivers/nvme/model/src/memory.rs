//! The memory that the device can reach: flat, sparse, and with a record of what the device did.

use std::collections::HashMap;

const PAGE: u64 = 4096;

/// One access by the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// First byte, physical.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
    /// Whether it wrote.
    pub write: bool,
}

/// Physical memory, of which the device may use some ranges.
#[derive(Debug, Default)]
pub struct Memory {
    pages: HashMap<u64, Box<[u8; PAGE as usize]>>,
    allowed: Vec<(u64, u64)>,
    /// Accesses by the device, all of them.
    pub accesses: Vec<Access>,
    /// Accesses by the device that are not wholly inside one allowed range. They reach no memory.
    pub outside: Vec<Access>,
}

impl Memory {
    /// Memory of which these ranges (first byte, bytes) are the device's to use.
    pub fn new(allowed: &[(u64, u64)]) -> Self {
        Self { allowed: allowed.to_vec(), ..Self::default() }
    }

    /// Reads for the device; all ones where it may not.
    pub fn device_read(&mut self, address: u64, to: &mut [u8]) {
        if self.admit(address, to.len() as u64, false) { self.read(address, to) } else { to.fill(0xff) }
    }

    /// Writes for the device; nothing happens where it may not.
    pub fn device_write(&mut self, address: u64, from: &[u8]) {
        if self.admit(address, from.len() as u64, true) {
            self.write(address, from);
        }
    }

    fn admit(&mut self, address: u64, bytes: u64, write: bool) -> bool {
        let access = Access { address, bytes, write };
        self.accesses.push(access);
        let inside = self.allowed.iter().any(|(first, length)| {
            *first <= address && address.checked_add(bytes).is_some_and(|end| end <= first + length)
        });
        if !inside {
            self.outside.push(access);
        }
        inside
    }

    /// Reads for the processor.
    pub fn read(&self, address: u64, to: &mut [u8]) {
        let mut done = 0;
        while done < to.len() {
            let at = address + done as u64;
            let (page, offset) = (at / PAGE, (at % PAGE) as usize);
            let piece = (to.len() - done).min(PAGE as usize - offset);
            match self.pages.get(&page) {
                Some(bytes) => to[done..done + piece].copy_from_slice(&bytes[offset..offset + piece]),
                None => to[done..done + piece].fill(0),
            }
            done += piece;
        }
    }

    /// Writes for the processor.
    pub fn write(&mut self, address: u64, from: &[u8]) {
        let mut done = 0;
        while done < from.len() {
            let at = address + done as u64;
            let (page, offset) = (at / PAGE, (at % PAGE) as usize);
            let piece = (from.len() - done).min(PAGE as usize - offset);
            let bytes = self.pages.entry(page).or_insert_with(|| Box::new([0; PAGE as usize]));
            bytes[offset..offset + piece].copy_from_slice(&from[done..done + piece]);
            done += piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_wholly_allowed_is_recorded_and_has_no_effect() {
        let mut memory = Memory::new(&[(0x1000, 0x2000)]);
        memory.device_write(0x1ffe, &[1, 2, 3, 4]);
        memory.device_write(0x2fff, &[5, 6]);
        memory.device_write(0xfff, &[7]);
        memory.device_write(u64::MAX, &[8, 9]);
        assert_eq!(memory.outside.len(), 3);
        let mut bytes = [0; 4];
        memory.read(0x1ffe, &mut bytes);
        assert_eq!(bytes, [1, 2, 3, 4]);
        memory.read(0x2fff, &mut bytes);
        assert_eq!(bytes, [0; 4]);
    }
}
