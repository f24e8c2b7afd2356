//! The I/O queues: parts of transfers become commands, completions end them.
//!
//! One submission a batch, one look at a completion queue an interrupt. Each batch goes to the queue with the most room.

use core::time::Duration;

use heapless::Deque;
use nvme_spec::registers::{CSTS, ControllerStatus};
use nvme_spec::{CompletionEntry, brokered};

use crate::batch::Batch;
use crate::hardware::Hardware;
use crate::part::Part;
use crate::slots::Slots;
use crate::transfers::Transfers;
use crate::trouble::Trouble;

mod end;
mod issue;

/// Most I/O queues. They are numbered from 1.
pub const QUEUES_MAX: usize = brokered::IO_QUEUES_MAX as usize;

/// Most commands in flight on a queue.
const SLOTS: usize = brokered::IO_COMMANDS as usize;
/// Most completions at a time: as many as can be in flight.
const COMPLETIONS_MAX: usize = SLOTS;
/// When to try again if no queue had room although nothing is in flight.
const RETRY: u64 = Duration::from_millis(1).as_nanos() as u64;
/// How often to look whether the controller still lives while it has commands.
const LOOK: u64 = Duration::from_secs(1).as_nanos() as u64;
/// Most refusals written to the log: a client could make any number.
const REFUSALS_LOGGED: u32 = 8;

/// What a command carries out.
#[derive(Clone, Copy, Debug)]
#[repr(u8)]
enum Share {
    /// The whole of the transfer of this number.
    Whole(u16) = 0,
    /// A part of one.
    Part(Part),
}

/// A command in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    share: Share,
    /// The controller was asked to abort it.
    aborting: bool,
}

/// A batch that transfers are added to as they are accepted.
#[derive(Clone, Copy, Debug)]
struct Begun {
    /// The index of the queue that it is for.
    queue: usize,
    /// How many commands it may become.
    limit: usize,
    /// When those are overdue.
    deadline: u64,
}

/// The I/O queues and what they work on.
#[derive(Debug)]
pub struct Io {
    /// The clients' transfers.
    pub transfers: Transfers,
    queues: [Slots<Flight, SLOTS>; QUEUES_MAX],
    completions: [CompletionEntry; COMPLETIONS_MAX],
    /// What is being submitted.
    batch: Batch,
    /// Which that is, while transfers are accepted.
    begun: Begun,
    /// None of them is overdue before this: mostly somewhat before the first is.
    calm_until: u64,
    /// How many queues there are.
    open: usize,
    /// Where to look for room first.
    turn: usize,
    /// Parts that were in flight at a reset, to be issued once more.
    again: Deque<Part, { SLOTS * QUEUES_MAX }>,
    /// Nothing is issued: namespaces are identified anew.
    held: bool,
    /// The region that transfers lie in.
    region: u16,
    /// Nanoseconds that a command may take.
    timeout: u64,
    /// When to look whether the controller still lives.
    look: u64,
    retry: Option<u64>,
    /// Until when the queues, with nothing in flight, must have room again.
    stuck: Option<u64>,
    refusals: u32,
    /// Completions for no command in flight.
    stale: u64,
}

/// What becomes of the commands in flight when the controller has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// It is started again: what may be repeated is.
    Reset,
    /// It is given up.
    Gone,
}

impl Flight {
    const NONE: Self = Self { share: Share::Whole(0), aborting: false };
}

impl Begun {
    /// None that anything may be added to.
    const NONE: Self = Self { queue: 0, limit: 0, deadline: 0 };
}

impl Io {
    /// Queues that take no commands before [`Io::open`].
    pub const fn new() -> Self {
        Self {
            transfers: Transfers::new(),
            queues: [const { Slots::new(Flight::NONE) }; QUEUES_MAX],
            completions: [const { CompletionEntry::ZERO }; COMPLETIONS_MAX],
            batch: Batch::new(),
            begun: Begun::NONE,
            calm_until: 0,
            open: 0,
            turn: 0,
            again: Deque::new(),
            held: false,
            region: 0,
            timeout: 0,
            look: 0,
            retry: None,
            stuck: None,
            refusals: 0,
            stale: 0,
        }
    }

    /// Transfers lie in this region, and commands may take so many nanoseconds.
    pub fn configure(&mut self, region: u16, timeout: u64) {
        (self.region, self.timeout) = (region, timeout);
    }

    /// So many queues exist, with so many commands in flight at most on each.
    pub fn open(&mut self, queues: usize, depth: usize) {
        self.close();
        self.open = queues.min(QUEUES_MAX);
        for queue in &mut self.queues[..self.open] {
            queue.reset(depth);
        }
    }

    fn close(&mut self) {
        for queue in &mut self.queues {
            queue.reset(0);
        }
        (self.open, self.retry, self.stuck, self.held) = (0, None, None, false);
    }

    /// Issues nothing until [`Io::open`], or until this is taken back.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Commands in flight.
    #[inline]
    pub fn in_flight(&self) -> usize {
        self.queues.iter().map(Slots::in_flight).sum()
    }

    /// Completions so far that were for no command in flight.
    pub fn stale(&self) -> u64 {
        self.stale
    }

    /// When the controller is to be looked at, or a command is overdue, in nanoseconds; never if nothing is under way.
    #[inline]
    pub fn wake(&self) -> u64 {
        let in_flight = if self.in_flight() > 0 { self.calm_until.min(self.look) } else { u64::MAX };
        in_flight.min(self.retry.unwrap_or(u64::MAX))
    }

    /// When the controller is to be looked at, if it has commands.
    #[inline]
    pub fn look(&self) -> u64 {
        if self.in_flight() > 0 { self.look } else { u64::MAX }
    }

    /// Whether a command is overdue. From now on [`Io::wake`] tells when the oldest is.
    pub fn is_overdue(&mut self, now: u64) -> bool {
        let Some(oldest) = self.queues[..self.open].iter().filter_map(Slots::deadline).min() else { return false };
        self.calm_until = oldest;
        oldest <= now
    }

    /// Whether the queues have long been full although nothing is in flight: the controller then did not tell how far it
    /// has fetched.
    pub fn is_stuck(&self, now: u64) -> bool {
        self.stuck.is_some_and(|deadline| deadline <= now)
    }

    /// An overdue command that the controller was not asked to abort yet: queue and identifier. It counts as asked now.
    pub fn next_to_abort(&mut self, now: u64) -> Option<(u16, u16)> {
        let fresh = |flight: &mut Flight| !core::mem::replace(&mut flight.aborting, true);
        self.queues
            .iter_mut()
            .zip(1..)
            .find_map(|(queue, number)| queue.find_overdue(now, fresh).map(|identifier| (number, identifier)))
    }

    /// The controller was seen alive at this time.
    pub fn seen(&mut self, now: u64) {
        self.look = now.saturating_add(LOOK);
        self.retry = None;
    }

    /// Whether parts wait to be issued.
    #[inline]
    pub fn has_waiting(&self) -> bool {
        self.transfers.has_waiting() || !self.again.is_empty()
    }
}

impl Default for Io {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether the controller still works, by its own account.
///
/// # Errors
/// If it is gone, or has failed (CSTS.CFS), or was reset by somebody else.
pub fn alive(hardware: &mut impl Hardware) -> Result<(), Trouble> {
    let status = ControllerStatus::from_bits_retain(hardware.read_u32(CSTS).map_err(|_| Trouble::Gone)?);
    if status.is_gone() {
        return Err(Trouble::Gone);
    }
    if status.contains(ControllerStatus::FATAL) || !status.contains(ControllerStatus::READY) {
        return Err(Trouble::Fatal);
    }
    Ok(())
}
