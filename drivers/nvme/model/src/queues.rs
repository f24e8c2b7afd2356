//! Submission and completion queues as the controller keeps them (base 2.0, 3.3.1).

/// A submission queue.
#[derive(Clone, Copy, Debug)]
pub struct SubmissionQueue {
    pub base: u64,
    pub entries: u32,
    pub head: u32,
    pub tail: u32,
    pub completion_queue: u16,
}

/// A completion queue.
#[derive(Clone, Copy, Debug)]
pub struct CompletionQueue {
    pub base: u64,
    pub entries: u32,
    pub head: u32,
    pub tail: u32,
    pub phase: bool,
    pub vector: u16,
}

impl SubmissionQueue {
    pub const fn new(base: u64, entries: u32, completion_queue: u16) -> Self {
        Self { base, entries, head: 0, tail: 0, completion_queue }
    }
}

impl CompletionQueue {
    pub const fn new(base: u64, entries: u32, vector: u16) -> Self {
        Self { base, entries, head: 0, tail: 0, phase: true, vector }
    }

    /// One more entry would make it look empty.
    pub const fn is_full(&self) -> bool {
        (self.tail + 1) % self.entries == self.head
    }
}
