//! Rings and slots: one queue pair as the broker keeps it.
//!
//! Tails and heads are computed here alone. A command occupies its slot from submission until it is retired, and only
//! [`Slots::retire`] (a completion for exactly this use of the slot) and [`Slots::forget`] (an observed reset) retire.

use broker::Device;
use checks::{Check, holds, kept};
use nvme_spec::{CompletionEntry, SubmissionEntry};

use crate::reason::Reason;

/// Place of the identifier in the first word of a command, in bits.
const IDENTIFIER_SHIFT: u32 = 16;
/// Of that word, the identifier.
pub const IDENTIFIER: u64 = 0xffff << IDENTIFIER_SHIFT;

/// What a queue's rings are made of.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Hidden offset of the submission ring.
    pub submission: u32,
    /// Hidden offset of the completion ring.
    pub completion: u32,
    /// Register offset of the submission tail doorbell.
    pub tail_doorbell: u32,
    /// Register offset of the completion head doorbell.
    pub head_doorbell: u32,
    /// Entries of either ring, at least 2.
    pub entries: u16,
}

/// A submission queue and its completion queue.
#[derive(Debug)]
pub struct Queue {
    number: u16,
    shape: Shape,
    tail: u16,
    head: u16,
    completion_head: u16,
    phase: bool,
    slots: Slots,
}

/// What a completion entry turned out to be.
#[derive(Debug)]
pub struct Arrival {
    /// The driver's identifier of the command that it retired; `None` if it was for no command in flight on this queue.
    pub retired: Option<u16>,
    /// Its second half, as [`CompletionEntry::from_second_half`] takes it.
    pub second_half: u64,
    /// Hidden offset of its first half, the command's own result, until the doorbell is rung.
    pub first_half: u32,
    /// It says that the controller fetched what was never submitted.
    pub head_is_impossible: bool,
}

impl Arrival {
    /// How much of it nobody had asked for.
    #[inline(always)]
    pub fn anomalies(&self) -> u64 {
        u64::from(self.head_is_impossible) + u64::from(self.retired.is_none())
    }
}

impl Queue {
    /// Queue `number`, not yet of any shape, for `limit` commands at a time, at most 64.
    pub const fn new(number: u16, limit: u16) -> Self {
        let shape = Shape { submission: 0, completion: 0, tail_doorbell: 0, head_doorbell: 0, entries: 2 };
        Self { number, shape, tail: 0, head: 0, completion_head: 0, phase: true, slots: Slots::new(limit) }
    }

    /// Begins anew with empty rings. The controller knows no ring of this queue.
    pub fn begin(&mut self, device: &mut impl Device, shape: Shape) {
        self.shape = shape;
        self.begin_submission();
        self.completion_head = 0;
        self.phase = true;
        // Entries of an earlier life would carry a phase tag that reads as new.
        let bytes = u32::from(shape.entries) * CompletionEntry::BYTES as u32;
        clear_hidden(device, shape.completion, bytes);
    }

    /// Begins the submission ring anew; the controller knows no submission ring of this queue.
    pub fn begin_submission(&mut self) {
        self.tail = 0;
        self.head = 0;
    }

    /// The rings' shape.
    pub const fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The slots.
    pub const fn slots(&self) -> &Slots {
        &self.slots
    }

    /// Retires everything: the controller's reset was observed.
    pub fn forget(&mut self) {
        self.slots.forget();
    }

    /// How many more commands fit: into the submission ring, and their completions into the completion ring.
    pub const fn room(&self) -> u16 {
        let most = self.shape.entries - 1;
        let used =
            if self.tail >= self.head { self.tail - self.head } else { self.tail + self.shape.entries - self.head };
        // Neither is ever more: `advance` and `push` see to that.
        let in_submission = most.saturating_sub(used);
        let in_completion = most.saturating_sub(self.slots.count);
        if in_submission < in_completion { in_submission } else { in_completion }
    }

    /// Puts a command, whose identifier [`Slots::check`] found good, into the ring; there is [`room`](Self::room). In its
    /// words the identifier is left out. The doorbell is yet to be rung.
    #[inline(always)]
    pub fn push(&mut self, device: &mut impl Device, identifier: u16, mut words: [u64; 8]) {
        words[0] |= u64::from(self.slots.pin(identifier)) << IDENTIFIER_SHIFT;
        let offset = self.shape.submission + u32::from(self.tail) * SubmissionEntry::BYTES as u32;
        device.write_hidden_line(offset, words);
        self.tail = if self.tail + 1 == self.shape.entries { 0 } else { self.tail + 1 };
    }

    /// Likewise for a whole entry.
    #[inline(never)]
    pub fn push_entry(&mut self, device: &mut impl Device, entry: &SubmissionEntry) {
        let mut words = entry.to_words();
        words[0] &= !IDENTIFIER;
        self.push(device, entry.identifier.get(), words);
    }

    /// Tells the controller of new commands.
    pub fn ring_tail(&self, device: &mut impl Device) {
        let beyond = if kept(Check::DoorbellTail) { 0 } else { 1 };
        device.write_u32(self.shape.tail_doorbell, u32::from(self.tail) + beyond);
    }

    /// Takes the next entry of the completion ring, if the controller has written one, and retires its command. The
    /// doorbell is yet to be rung.
    #[inline(always)]
    pub fn take(&mut self, device: &mut impl Device) -> Option<Arrival> {
        let offset = self.shape.completion + u32::from(self.completion_head) * CompletionEntry::BYTES as u32;
        // One access: all of it is as new as the phase tag in it.
        let second_half = device.hidden_u64(offset + CompletionEntry::BYTES as u32 / 2);
        let entry = CompletionEntry::from_second_half(second_half);
        if entry.phase() != self.phase {
            return None;
        }
        if self.completion_head + 1 == self.shape.entries {
            self.completion_head = 0;
            self.phase = !self.phase;
        } else {
            self.completion_head += 1;
        }
        let ours = entry.submission_queue.get() == self.number;
        let retired = if ours { self.slots.retire(entry.identifier.get()) } else { None };
        let head_is_impossible = retired.is_some() && !self.advance(entry.submission_head.get());
        Some(Arrival { retired, second_half, first_half: offset, head_is_impossible })
    }

    /// Tells the controller that completions were taken.
    pub fn ring_head(&self, device: &mut impl Device) {
        device.write_u32(self.shape.head_doorbell, u32::from(self.completion_head));
    }

    /// Frees what the controller has fetched, if `head` lies between our head and our tail.
    #[inline(always)]
    fn advance(&mut self, head: u16) -> bool {
        let possible = if self.head <= self.tail {
            self.head <= head && head <= self.tail
        } else {
            head < self.shape.entries && (self.head <= head || head <= self.tail)
        };
        if possible {
            self.head = head;
        }
        possible
    }
}

/// The slot of a driver's identifier: its low six bits. The others are the driver's own, and come back to it.
#[inline(always)]
pub const fn slot(identifier: u16) -> u16 {
    identifier & 63
}

/// The slot's place in a table.
#[inline(always)]
const fn place(identifier: u16) -> usize {
    slot(identifier) as usize
}

/// The commands in flight on one queue, by slot.
///
/// The controller sees another identifier than the driver gave: the slot in the low byte, and in the high one how often
/// the slot was used, so that a completion that comes twice does not retire the slot's next command.
#[derive(Debug)]
pub struct Slots {
    limit: usize,
    count: u16,
    uses: [Use; 64],
}

/// The last command in a slot.
#[derive(Clone, Copy, Debug)]
#[repr(align(8))]
struct Use {
    /// What the driver called it.
    named: u16,
    /// What the controller did.
    seen: u16,
    is_in_flight: bool,
}

impl Slots {
    const fn new(limit: u16) -> Self {
        assert!(limit <= 64);
        Self { limit: limit as usize, count: 0, uses: [Use { named: 0, seen: 0, is_in_flight: false }; 64] }
    }

    /// Whether no command is in flight.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether a command may take this identifier.
    #[inline(always)]
    pub fn check(&self, identifier: u16) -> Result<(), Reason> {
        let place = place(identifier);
        if place >= self.limit {
            Err(Reason::IdentifierOutOfRange)
        } else if !holds(Check::Identifier, !self.uses[place].is_in_flight) {
            Err(Reason::IdentifierInFlight)
        } else {
            Ok(())
        }
    }

    /// Whether this is what the driver called the last command in that slot.
    pub const fn is_named(&self, identifier: u16) -> bool {
        self.uses[place(identifier)].named == identifier
    }

    /// The controller's identifier of a command in flight; `None` if the driver has no such command in flight.
    pub const fn seen(&self, identifier: u16) -> Option<u16> {
        let Use { named, seen, is_in_flight } = self.uses[place(identifier)];
        if is_in_flight && named == identifier { Some(seen) } else { None }
    }

    /// Pins a slot and returns the identifier for the controller; never 0xffff, which error logs use for none.
    #[inline(always)]
    fn pin(&mut self, identifier: u16) -> u16 {
        let place = place(identifier);
        self.count += 1;
        let last = &mut self.uses[place];
        let seen = place as u16 | last.seen.wrapping_add(0x100) & 0x7f00;
        *last = Use { named: identifier, seen, is_in_flight: true };
        seen
    }

    /// Retires the command with the controller's identifier, and returns the driver's.
    #[inline(always)]
    fn retire(&mut self, seen: u16) -> Option<u16> {
        // An identifier of no slot is that of no slot's last command.
        let last = &mut self.uses[place(seen)];
        if last.seen != seen || !last.is_in_flight {
            return None;
        }
        last.is_in_flight = false;
        self.count -= 1;
        Some(last.named)
    }

    fn forget(&mut self) {
        self.count = 0;
        self.uses.iter_mut().for_each(|last| last.is_in_flight = false);
    }
}

/// Zeroes hidden memory; both are multiples of 16.
pub fn clear_hidden(device: &mut impl Device, offset: u32, bytes: u32) {
    const ZEROES: [u8; 512] = [0; 512];
    let mut done = 0;
    while done < bytes {
        let piece = (bytes - done).min(ZEROES.len() as u32);
        device.write_hidden(offset + done, &ZEROES[..piece as usize]);
        done += piece;
    }
}
