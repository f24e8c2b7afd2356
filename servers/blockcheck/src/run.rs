//! Carrying the plan out: many operations under way, none of which overlap, everything that is read compared with what
//! it should be.

mod report;

use block_client::Error;
use heapless::Deque;
use protocol::block::{BatchRoom, Completion, Failure, Operation, Transfer};
use task::Window;

use crate::expected::Content;
use crate::pattern::{self, BLOCK_BYTES_MAX, Generation};
use crate::plan::{Action, Plan, Step};
use crate::settings::DEPTH_MAX;

pub use report::{Line, Tally};

/// Operations under way.
const DEPTH: usize = DEPTH_MAX as usize;
/// Wrong blocks and failed requests that are told one by one.
const TOLD_MAX: u64 = 16;

/// A disk, as this task uses it.
pub trait Disk {
    /// Hands over transfers, waits until something has completed, and tells `each` what. Returns how many transfers were
    /// taken, from the first.
    ///
    /// # Errors
    /// The run cannot go on.
    fn exchange(&mut self, transfers: &BatchRoom<Transfer>, each: &mut dyn FnMut(Completion)) -> Result<usize, Error>;

    /// Begins anew, after the block server has restarted.
    ///
    /// # Errors
    /// The run cannot go on.
    fn resume(&mut self) -> Result<(), Error>;
}

/// What is known of the disk's blocks.
pub trait Contents {
    /// What this block should read as.
    fn get(&self, block: u64) -> Content;
    /// What it should read as from now on.
    fn set(&mut self, block: u64, content: Content);
}

/// An operation under way.
#[derive(Clone, Copy, Debug)]
struct UnderWay {
    step: Step,
    /// For a flush: every operation up to here had completed before.
    covers: Generation,
    completed: Option<Result<(), Failure>>,
}

/// A run.
pub struct Run<'r, D, C> {
    disk: D,
    contents: C,
    window: &'r Window,
    plan: Plan,
    block_bytes: u32,
    depth: usize,
    slots: [Option<UnderWay>; DEPTH],
    /// Slots whose transfer the server has not taken yet.
    untaken: Deque<u8, DEPTH>,
    tell: &'r mut dyn FnMut(Line),
    tally: Tally,
    next: Generation,
    /// Everything up to here is known to be durable.
    durable: Generation,
}

impl<'r, D: Disk, C: Contents> Run<'r, D, C> {
    /// A run of `plan` with `depth` operations under way; each has `blocks_max` blocks of the window.
    pub fn new(
        disk: D,
        contents: C,
        window: &'r Window,
        plan: Plan,
        block_bytes: u32,
        depth: u32,
        tell: &'r mut dyn FnMut(Line),
    ) -> Self {
        Self {
            disk,
            contents,
            window,
            plan,
            block_bytes,
            depth: (depth as usize).clamp(1, DEPTH),
            slots: [None; DEPTH],
            untaken: Deque::new(),
            tell,
            tally: Tally::default(),
            next: 1,
            durable: 0,
        }
    }

    /// Does so many operations, or goes on for ever, then flushes and reads everything back.
    ///
    /// # Errors
    /// The disk cannot be used any more.
    pub fn go(mut self, requests: Option<u32>) -> Result<Tally, Error> {
        let last = requests.unwrap_or(crate::expected::GENERATIONS - 1);
        while self.next <= last {
            let step = self.plan.step(self.next);
            if self.has_room_for(&step) {
                self.next += 1;
                self.begin(step);
            } else {
                self.wait()?;
            }
        }
        self.drain()?;
        self.begin(Step { generation: self.next, action: Action::Flush, first_block: 0, blocks: 0 });
        self.drain()?;
        self.read_back()?;
        Ok(self.tally)
    }

    /// Reads every block that something is known of.
    fn read_back(&mut self) -> Result<(), Error> {
        let mut first_block = 0;
        while first_block < self.plan.blocks {
            let blocks = (self.plan.blocks - first_block).min(self.plan.blocks_max.into()) as u32;
            let step = Step { generation: self.next, action: Action::Read, first_block, blocks };
            while !self.has_room_for(&step) {
                self.wait()?;
            }
            self.begin(step);
            first_block += u64::from(blocks);
        }
        self.drain()
    }

    fn drain(&mut self) -> Result<(), Error> {
        while self.slots.iter().any(Option::is_some) {
            self.wait()?;
        }
        Ok(())
    }

    /// Whether a slot is free, and nothing under way touches the same blocks.
    fn has_room_for(&self, step: &Step) -> bool {
        let slots = &self.slots[..self.depth];
        slots.iter().any(Option::is_none) && !slots.iter().flatten().any(|own| own.step.overlaps(step))
    }

    /// Puts an operation into a free slot.
    fn begin(&mut self, step: Step) {
        let Some(slot) = self.slots[..self.depth].iter().position(Option::is_none) else { return };
        if let Action::Write { .. } = step.action {
            self.fill(slot, &step);
        }
        // A flush covers what has completed by now: everything before the first that has not.
        let changing = self.slots.iter().flatten().filter(|own| own.step.changes()).map(|own| own.step.generation);
        let covers = changing.min().unwrap_or(step.generation) - 1;
        self.slots[slot] = Some(UnderWay { step, covers, completed: None });
        // There is room for each slot once.
        let _ = self.untaken.push_back(slot as u8);
    }

    /// Where a slot's data lies in the window.
    fn offset(&self, slot: usize) -> u64 {
        slot as u64 * u64::from(self.plan.blocks_max) * u64::from(self.block_bytes)
    }

    fn fill(&self, slot: usize, step: &Step) {
        let mut bytes = [0; BLOCK_BYTES_MAX];
        let bytes = &mut bytes[..self.block_bytes as usize];
        for index in 0..u64::from(step.blocks) {
            pattern::fill(self.plan.seed, step.first_block + index, step.generation, bytes);
            // The window has room for every slot; were it not so, reading back would tell.
            let _ = self.window.copy_from(self.offset(slot) + index * u64::from(self.block_bytes), bytes);
        }
    }

    /// Hands over what is new, and waits until something has completed.
    fn wait(&mut self) -> Result<(), Error> {
        let mut room = BatchRoom::new();
        for slot in &self.untaken {
            let Some(own) = &self.slots[usize::from(*slot)] else { continue };
            let transfer = Transfer { tag: (*slot).into(), operation: self.operation(usize::from(*slot), &own.step) };
            // A batch has room for every slot.
            let _ = room.push(&transfer);
        }
        let slots = &mut self.slots;
        let taken = match self.disk.exchange(&room, &mut |Completion { tag, outcome }| {
            if let Some(Some(own)) = slots.get_mut(tag as usize) {
                own.completed = Some(outcome);
            }
        }) {
            Err(Error::Restarted) => return self.resume(),
            taken => taken?,
        };
        for _ in 0..taken {
            self.untaken.pop_front();
        }
        for slot in 0..self.depth {
            if let Some(UnderWay { step, covers, completed: Some(outcome) }) = self.slots[slot] {
                self.ended(slot, &step, covers, outcome);
                self.slots[slot] = None;
            }
        }
        Ok(())
    }

    /// The block server has restarted: what was under way may have been done or not, and is done once more before anything
    /// else. Its data lies in the window still.
    fn resume(&mut self) -> Result<(), Error> {
        self.tally.restarts += 1;
        (self.tell)(Line::Restarted { again: self.slots.iter().flatten().count() });
        self.disk.resume()?;
        self.untaken.clear();
        for slot in (0..self.depth).filter(|slot| self.slots[*slot].is_some()) {
            // There is room for each slot once.
            let _ = self.untaken.push_back(slot as u8);
        }
        Ok(())
    }

    fn operation(&self, slot: usize, step: &Step) -> Operation {
        let &Step { action, first_block, blocks, .. } = step;
        let offset = self.offset(slot);
        match action {
            Action::Write { durable } => Operation::Write { first_block, blocks, offset, durable },
            Action::Read => Operation::Read { first_block, blocks, offset },
            Action::Discard => Operation::Discard { first_block, blocks },
            Action::WriteZeroes => Operation::WriteZeroes { first_block, blocks },
            Action::Flush => Operation::Flush,
        }
    }

    fn ended(&mut self, slot: usize, step: &Step, covers: Generation, outcome: Result<(), Failure>) {
        self.tally.count(step, self.block_bytes);
        match (step.action, outcome) {
            (_, Err(failure)) => {
                self.tally.failed += 1;
                if self.tally.failed <= TOLD_MAX {
                    (self.tell)(Line::Failed { step: *step, failure });
                }
                if step.changes() {
                    // It may have happened, in parts.
                    self.remember(step, |_| Content::Unknown);
                }
            }
            (Action::Read, Ok(())) => self.verify(slot, step),
            // One that was begun before another may end after it; then it tells nothing new.
            (Action::Flush, Ok(())) if covers > self.durable => {
                self.durable = covers;
                (self.tell)(Line::Flushed { generation: covers, issued: self.next - 1 });
            }
            (Action::Flush, Ok(())) => {}
            (_, Ok(())) => self.remember(step, |content| content.after(step)),
        }
    }

    fn remember(&mut self, step: &Step, content: impl Fn(Content) -> Content) {
        for block in step.first_block..step.first_block + u64::from(step.blocks) {
            let after = content(self.contents.get(block));
            self.contents.set(block, after);
        }
    }

    /// Compares what was read with what it should be.
    fn verify(&mut self, slot: usize, step: &Step) {
        let mut bytes = [0; BLOCK_BYTES_MAX];
        let bytes = &mut bytes[..self.block_bytes as usize];
        for index in 0..u64::from(step.blocks) {
            let block = step.first_block + index;
            let expected = self.contents.get(block);
            if expected == Content::Unknown {
                continue;
            }
            self.tally.verified += 1;
            let offset = self.offset(slot) + index * u64::from(self.block_bytes);
            let seen = match self.window.copy_to(offset, bytes) {
                Ok(()) => pattern::judge(self.plan.seed, block, bytes),
                Err(_) => pattern::Seen::Foreign,
            };
            if !expected.allows(seen) {
                self.tally.errors += 1;
                if self.tally.errors <= TOLD_MAX {
                    (self.tell)(Line::Wrong { block, expected, seen });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
