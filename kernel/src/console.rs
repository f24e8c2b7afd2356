//! What is typed on the serial port, on its way to the task that is granted the console.
//!
//! Bytes arrive by the port's interrupt where an I/O APIC carries it, else they are looked for at a steady pace. They
//! wait in a ring; what finds no room there is lost, and counted.

use abi::system_call::MESSAGE_REGISTER_BYTES;
use heapless::Deque;

use crate::objects::TaskId;

/// Bytes that may wait for the task.
const WAITING_BYTES: usize = 256;
/// Nanoseconds between two looks at a port that cannot interrupt: faster than anybody types, and its FIFO of 16 bytes
/// takes what comes meanwhile at up to 16,000 bits a second.
pub const LOOK_NANOSECONDS: u64 = 10_000_000;
/// Most bytes that are taken from the port at once.
pub const BYTES_AT_ONCE: usize = 64;

/// The task that is granted the console.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Which task.
    pub task: TaskId,
    /// Which bits of its notification word tell it to look.
    pub bits: u64,
}

/// What was typed and not yet taken.
#[derive(Debug)]
pub struct Input {
    /// Who may take it; nothing is kept if nobody may.
    pub holder: Option<Holder>,
    /// When to look at the port next; `NO_DEADLINE` if there is no need to.
    pub look_at: u64,
    /// Whether the port has to be looked at all the time.
    pub is_looked_for: bool,
    /// Whether the task was told that the log went between its lines, and has not looked since.
    pub is_told: bool,
    waiting: Deque<u8, WAITING_BYTES>,
    lost: u64,
}

/// What the task is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The bytes.
    pub bytes: [u8; MESSAGE_REGISTER_BYTES],
    /// How many of them there are.
    pub count: usize,
    /// Bytes lost since the last time.
    pub lost: u64,
}

impl Input {
    /// Nothing typed, and nobody to take it.
    pub const fn new() -> Self {
        Self {
            holder: None,
            look_at: abi::system_call::NO_DEADLINE,
            is_looked_for: false,
            is_told: false,
            waiting: Deque::new(),
            lost: 0,
        }
    }

    /// Keeps a byte that was typed.
    pub fn put(&mut self, byte: u8) {
        if self.waiting.push_back(byte).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Takes as many bytes as the registers of a system call hold.
    pub fn take(&mut self) -> Taken {
        let mut taken = Taken { bytes: [0; _], count: 0, lost: core::mem::take(&mut self.lost) };
        for (place, byte) in taken.bytes.iter_mut().zip(core::iter::from_fn(|| self.waiting.pop_front())) {
            *place = byte;
            taken.count += 1;
        }
        taken
    }
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_taken_in_their_order_and_the_rest_stays() {
        let mut input = Input::new();
        (0..100).for_each(|byte| input.put(byte));
        let first = input.take();
        assert_eq!((first.count, first.bytes[0], first.bytes[47], first.lost), (48, 0, 47, 0));
        assert_eq!((input.take().count, input.take().count, input.take().count), (48, 4, 0));
        input.put(7);
        let last = input.take();
        assert_eq!((last.count, &last.bytes[..2]), (1, &[7, 0][..]));
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut input = Input::new();
        (0..300).for_each(|_| input.put(b'x'));
        assert_eq!((input.take().lost, input.take().lost), (44, 0));
        assert_eq!((0..10).map(|_| input.take().count).sum::<usize>(), 256 - 96);
    }
}
