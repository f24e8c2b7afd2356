//! The controller as the fuzzer keeps it going, and what came of its commands.

use core::fmt;

use hostile::driver::{ENABLE, Means, ROOM, pause, until};
use hostile::random::Random;
use nvme_spec::admin::{ASYNCHRONOUS_EVENT_REQUEST, QueueCounts};
use nvme_spec::identify::Structure;
use nvme_spec::nvm::DATASET_MANAGEMENT;
use nvme_spec::registers::{CC, CSTS};
use nvme_spec::{CompletionEntry, SubmissionEntry};
use task::{Log, Stop};
use trials::insist;

use super::commands;

/// Most commands of one submission.
const BATCH: usize = 24;
/// Reasons that are told apart: the broker's codes are below.
const REASONS: usize = 128;
/// Refusals one after the other, of a kind after which nothing will be accepted, that make a reset worthwhile.
const HOPELESS: u32 = 24;

/// Whether the controller has to be brought up anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recovery {
    Wanted,
    Needless,
}

/// What came of the commands.
pub struct Tally {
    pub submitted: u64,
    accepted: u64,
    completed: u64,
    resets: u64,
    refused: [u32; REASONS],
    /// By queue (admin, I/O) and opcode.
    opcodes: [[u32; 256]; 2],
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { submitted, accepted, completed, resets, .. } = self;
        write!(f, "submitted={submitted} accepted={accepted} completed={completed} resets={resets}")
    }
}

impl Tally {
    /// A line for each rule that refused something, and for each opcode that was accepted.
    pub fn tell(&self, log: Log) {
        for (reason, times) in self.refused.iter().enumerate().filter(|(_, times)| **times > 0) {
            insist(log, format_args!("rule reason={reason} times={times}"));
        }
        for (queue, opcodes) in ["admin", "io"].into_iter().zip(&self.opcodes) {
            for (opcode, times) in opcodes.iter().enumerate().filter(|(_, times)| **times > 0) {
                insist(log, format_args!("accepted queue={queue} opcode={opcode:#04x} times={times}"));
            }
        }
    }
}

/// The controller.
pub struct Device {
    means: Means,
    completions: [[u8; CompletionEntry::BYTES]; ROOM],
    /// Slots with a command in flight, of the admin queue and of I/O queue 1.
    in_flight: [u64; 2],
    hopeless: u32,
    pub tally: Tally,
}

impl Device {
    pub fn new(means: Means) -> Self {
        let tally =
            Tally { submitted: 0, accepted: 0, completed: 0, resets: 0, refused: [0; REASONS], opcodes: [[0; 256]; 2] };
        Self { means, completions: [[0; _]; ROOM], in_flight: [0; 2], hopeless: 0, tally }
    }

    /// Resets the controller, whatever state it is in, and creates the first queues; mostly it also lets the broker learn
    /// of namespace and controller.
    pub fn bring_up(&mut self, random: &mut Random) -> Result<(), Stop> {
        self.settle();
        self.tally.resets += 1;
        self.hopeless = 0;
        let registers = self.means.registers;
        for (value, ready) in [(0, 0), (ENABLE, 1)] {
            until(|| match registers.write_u32(CC, value) {
                Err(abi::Error::Busy) => Ok(false),
                other => Ok(other.map(|()| true)?),
            })?;
            until(|| Ok(registers.read_u32(CSTS)? & 1 == ready))?;
        }
        self.in_flight = [0; 2];
        let counts = QueueCounts { submission: 2, completion: 2 };
        let learned = random.of(&[5, 5, 5, 4, 3]);
        for entry in [
            SubmissionEntry::set_number_of_queues(0, counts),
            SubmissionEntry::create_completion_queue(0, 1, 128, self.means.vector),
            SubmissionEntry::create_submission_queue(0, 1, 128, 1),
            SubmissionEntry::identify(0, Structure::Namespace, 2),
            SubmissionEntry::identify(0, Structure::Controller, 0),
        ]
        .into_iter()
        .take(learned)
        {
            if let Some((error, reason)) = registers.submit(0, &[entry.to_bytes()]).refused {
                return Err(Stop::new(format_args!("opcode {:#x}: {error} {reason}", entry.opcode)));
            }
            self.in_flight[0] = 1;
            until(|| {
                self.take(0);
                Ok(self.in_flight[0] == 0)
            })?;
        }
        Ok(())
    }

    /// Writes anything to CC, when nothing is in flight: QEMU 7.2 crashes now and then when it is reset while it fetches.
    pub fn write_configuration(&mut self, random: &mut Random) {
        if self.settle() {
            let value = random.of(&[0, 1, ENABLE, 1 << 14 | ENABLE, 2 << 14 | ENABLE, 3 << 14, 1 << 14]);
            let value = if random.percent(20) { value ^ 1 << random.below(32) } else { value };
            // Most of these are refused.
            let _ = self.means.registers.write_u32(CC, value);
        }
    }

    /// Waits until nothing is in flight but an event request; whether that came to be.
    fn settle(&mut self) -> bool {
        const EVENT: u64 = 1 << 7;
        for _ in 0..1000 {
            self.take(0);
            self.take(1);
            if self.in_flight[0] & !EVENT == 0 && self.in_flight[1] == 0 {
                return true;
            }
            pause();
        }
        false
    }

    /// Submits some commands to queue 0 or 1, and takes what has ended.
    pub fn submit(&mut self, random: &mut Random, queue: u16) -> Recovery {
        let index = usize::from(queue != 0);
        let slots = if queue == 0 { 8 } else { 64 };
        self.take(queue);
        let mut free = !self.in_flight[index];
        let mut batch = [[0; 64]; BATCH];
        let mut count = 0;
        let wanted = 1 + random.below(BATCH as u64) as usize;
        while count < wanted {
            let slot = free.trailing_zeros() as u16;
            if slot >= slots {
                break;
            }
            free &= !(1 << slot);
            let identifier = (random.next() as u16) << 6 | slot;
            let entry = commands::command(random, &self.means, queue, identifier);
            // An event request never ends; one is enough.
            let keep = queue == 0 && entry.opcode == ASYNCHRONOUS_EVENT_REQUEST && slot != 7;
            let entry = if keep { SubmissionEntry::new(0xff, identifier, 0) } else { entry };
            batch[count] = entry.to_bytes();
            count += 1;
            if index == 1 && entry.opcode == DATASET_MANAGEMENT && count < BATCH {
                batch[count] = commands::ranges(random);
                count += 1;
            }
        }
        if count == 0 {
            pause();
            return Recovery::Needless;
        }
        let mut rest = &batch[..count];
        while !rest.is_empty() {
            let submission = self.means.registers.submit(queue, rest);
            self.accept(index, &rest[..submission.accepted]);
            rest = &rest[submission.accepted..];
            let Some((_, reason)) = submission.refused else { break };
            self.tally.submitted += 1;
            self.tally.refused[(reason as usize).min(REASONS - 1)] += 1;
            // It is off, or its queue is gone, or nothing is known any more.
            let hopeless = matches!(reason, 2..=8 | 30 | 31 | 53 | 55);
            self.hopeless = if hopeless { self.hopeless + 1 } else { 0 };
            rest = &rest[1..];
        }
        if self.hopeless >= HOPELESS { Recovery::Wanted } else { Recovery::Needless }
    }

    fn accept(&mut self, index: usize, commands: &[[u8; 64]]) {
        let mut units = 0;
        for command in commands {
            self.tally.submitted += 1;
            self.tally.accepted += 1;
            if units > 0 {
                // The ranges of the command before.
                units -= 1;
                continue;
            }
            let entry = SubmissionEntry::from_bytes(*command);
            if index == 1 && entry.opcode == DATASET_MANAGEMENT {
                units = ((entry.dword10.get() & 0xff) as usize + 1).div_ceil(4);
            }
            self.tally.opcodes[index][usize::from(entry.opcode)] += 1;
            self.in_flight[index] |= 1 << (entry.identifier.get() & 63);
        }
    }

    /// Takes what has ended.
    fn take(&mut self, queue: u16) {
        let index = usize::from(queue != 0);
        let Ok(count) = self.means.registers.complete(queue, &mut self.completions) else { return };
        for completion in self.completions.iter().take(count) {
            let slot = CompletionEntry::from_bytes(*completion).identifier.get() & 63;
            self.in_flight[index] &= !(1 << slot);
            self.tally.completed += 1;
        }
    }
}
