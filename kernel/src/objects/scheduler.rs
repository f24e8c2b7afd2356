//! The ready queues: fixed priorities, round robin within one.

use abi::package::PRIORITY_MAX;
use abi::system_call::NO_DEADLINE;

use super::task::State;
use super::{Objects, Queue, TaskId};

const PRIORITIES: usize = PRIORITY_MAX as usize + 1;
const _: () = assert!(PRIORITIES == 64);

/// How long a task runs while an equal is ready, in nanoseconds.
pub const SLICE_NANOSECONDS: u64 = 10_000_000;

/// A queue a priority, and which of them are not empty. The current task is in none.
pub struct ReadyQueues {
    occupied: u64,
    queues: [Queue; PRIORITIES],
}

impl ReadyQueues {
    /// All empty.
    pub const fn new() -> Self {
        Self { occupied: 0, queues: [Queue { ends: None }; PRIORITIES] }
    }

    /// The highest priority at which a task is ready.
    #[inline]
    fn highest(&self) -> Option<u8> {
        (self.occupied != 0).then(|| 63 - self.occupied.leading_zeros() as u8)
    }

    /// The queue of a priority, for tests to look into.
    #[cfg(test)]
    pub(super) fn queue(&self, priority: usize) -> Queue {
        assert_eq!(self.occupied & (1 << priority) != 0, self.queues[priority].ends.is_some());
        self.queues[priority]
    }

    /// Whether anybody of this priority or a higher one is ready.
    #[inline]
    pub(super) fn is_any_from(&self, priority: u8) -> bool {
        self.occupied >> (priority & PRIORITY_MAX) != 0
    }

    #[inline]
    fn has(&self, priority: u8) -> bool {
        self.occupied & (1 << (priority & PRIORITY_MAX)) != 0
    }
}

impl Default for ReadyQueues {
    fn default() -> Self {
        Self::new()
    }
}

impl Objects {
    /// Puts a task at the end of a queue.
    pub(super) fn push(&mut self, mut queue: Queue, id: TaskId) -> Queue {
        self.task_mut(id).next = None;
        queue.ends = Some(match queue.ends {
            None => (id, id),
            Some((first, last)) => {
                self.task_mut(last).next = Some(id);
                (first, id)
            }
        });
        queue
    }

    /// Takes the first task of a queue.
    pub(super) fn pop(&mut self, mut queue: Queue) -> (Queue, Option<TaskId>) {
        let Some((first, last)) = queue.ends else { return (queue, None) };
        queue.ends = self.task_mut(first).next.take().map(|next| (next, last));
        (queue, Some(first))
    }

    /// Takes a task out of a queue, wherever it is in it.
    pub(super) fn remove(&mut self, mut queue: Queue, id: TaskId) -> Queue {
        let Some((first, last)) = queue.ends else { return queue };
        if first == id {
            return self.pop(queue).0;
        }
        let mut before = first;
        while let Some(next) = self.task(before).next {
            if next == id {
                self.task_mut(before).next = self.task_mut(id).next.take();
                queue.ends = Some((first, if last == id { before } else { last }));
                break;
            }
            before = next;
        }
        queue
    }

    /// Makes a task wait for the processor, behind its equals.
    pub(super) fn make_ready(&mut self, id: TaskId) {
        self.task_mut(id).state = State::Ready;
        let priority = self.task(id).priority & PRIORITY_MAX;
        self.ready.queues[usize::from(priority)] = self.push(self.ready.queues[usize::from(priority)], id);
        self.ready.occupied |= 1 << priority;
    }

    /// Lets a task that was just woken run if nothing runs and nobody as high is ready; else it waits for its turn.
    #[inline]
    pub(super) fn run_or_make_ready(&mut self, id: TaskId) {
        let priority = self.task(id).priority & PRIORITY_MAX;
        if self.current.is_none() && !self.ready.is_any_from(priority) {
            self.current = Some(id);
            self.slice_end = NO_DEADLINE;
        } else {
            self.make_ready(id);
        }
    }

    /// Puts a preempted task before its equals.
    pub(super) fn make_ready_first(&mut self, id: TaskId) {
        let priority = self.task(id).priority & PRIORITY_MAX;
        let queue = &mut self.ready.queues[usize::from(priority)];
        let next = queue.ends.map(|(first, _)| first);
        queue.ends = Some((id, queue.ends.map_or(id, |(_, last)| last)));
        self.task_mut(id).next = next;
        self.ready.occupied |= 1 << priority;
    }

    /// Takes a ready task out of its queue.
    pub(super) fn make_unready(&mut self, id: TaskId) {
        let priority = self.task(id).priority & PRIORITY_MAX;
        let queue = self.remove(self.ready.queues[usize::from(priority)], id);
        self.set_ready_queue(priority, queue);
    }

    fn set_ready_queue(&mut self, priority: u8, queue: Queue) {
        self.ready.queues[usize::from(priority)] = queue;
        if queue.ends.is_none() {
            self.ready.occupied &= !(1 << priority);
        }
    }

    /// Whether [`Objects::schedule`] might change who runs, or begin a time slice.
    #[inline(always)]
    pub fn must_choose(&self) -> bool {
        let Some(current) = self.current else { return true };
        let from_its_priority = self.ready.occupied >> (self.task(current).priority & PRIORITY_MAX);
        // An equal alone, with the slice under way, changes nothing.
        from_its_priority > 1 || (from_its_priority == 1 && self.slice_end == NO_DEADLINE)
    }

    /// Lets the highest ready task run if it is above the current one, or if nothing runs. `now` is asked only where a
    /// time slice begins. Called before every return to a task.
    #[inline]
    pub fn schedule(&mut self, now: impl FnOnce() -> u64) {
        if self.must_choose() {
            self.choose(now);
        }
    }

    fn choose(&mut self, now: impl FnOnce() -> u64) {
        let Some(highest) = self.ready.highest() else { return };
        if let Some(current) = self.current {
            let priority = self.task(current).priority;
            if highest < priority {
                return;
            }
            if highest == priority {
                if self.slice_end == NO_DEADLINE {
                    self.slice_end = now() + SLICE_NANOSECONDS;
                }
                return;
            }
            self.make_ready_first(current);
        }
        self.run_first(highest, now);
    }

    fn run_first(&mut self, priority: u8, now: impl FnOnce() -> u64) {
        let (queue, first) = self.pop(self.ready.queues[usize::from(priority & PRIORITY_MAX)]);
        self.set_ready_queue(priority & PRIORITY_MAX, queue);
        self.current = first;
        self.slice_end = if self.ready.has(priority) { now() + SLICE_NANOSECONDS } else { NO_DEADLINE };
    }

    /// Puts the current task behind its equals.
    pub fn yield_current(&mut self) {
        if let Some(current) = self.current.take() {
            self.make_ready(current);
        }
    }

    /// Takes the current task off the processor because it waits, in `state`, at most until `deadline`.
    #[inline]
    pub(super) fn block_current(&mut self, state: State, deadline: u64) {
        if let Some(current) = self.current.take() {
            let task = self.task_mut(current);
            task.state = state;
            task.deadline = deadline;
            self.earliest_deadline = self.earliest_deadline.min(deadline);
        }
    }

    /// When the timer must fire next for a deadline or the end of a time slice; `NO_DEADLINE` if it need not.
    #[inline]
    pub fn next_event(&self) -> u64 {
        self.earliest_deadline.min(self.slice_end)
    }
}
