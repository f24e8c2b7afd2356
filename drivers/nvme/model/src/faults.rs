//! What goes wrong, and when.

use std::collections::VecDeque;

use nvme_spec::Status;

/// What happens to one command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is never answered, and moves no data.
    Drop,
    /// It is answered so many nanoseconds later than others; its data is moved then.
    Delay(u64),
    /// It is answered twice.
    Duplicate,
    /// It is answered under an identifier that differs in these bits.
    Identifier(u16),
    /// It is answered with the wrong phase tag.
    Phase,
    /// It is answered as a command of another submission queue.
    Queue,
    /// It is answered with a submission head that cannot be.
    Head,
    /// It fails with this status, and moves no data.
    Status(Status),
    /// It is answered without an interrupt.
    NoInterrupt,
    /// Its completion is followed by one that belongs to no command at all.
    Invented(u16),
}

/// What becomes of Abort.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aborts {
    /// A command that has not been answered yet is aborted, even one that was dropped.
    #[default]
    Honoured,
    /// Nothing is aborted, and it says so, as QEMU 7.2 does.
    Declined,
    /// Nothing is aborted, and it says that it was.
    Forged,
}

/// What the registers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Registers {
    /// What they should.
    #[default]
    Good,
    /// They read all ones; writes have no effect and nothing is done any more: the function was removed.
    AllOnes,
}

/// Everything that can go wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// For each admin command that is fetched, from the next one; good after the last.
    pub admin: VecDeque<Option<Fault>>,
    /// For each I/O command that is fetched, likewise.
    pub io: VecDeque<Option<Fault>>,
    /// CSTS.RDY never becomes 1.
    pub never_ready: bool,
    /// CSTS.RDY never becomes 0.
    pub never_stops: bool,
    /// CSTS.SHST never becomes 10b.
    pub never_shuts_down: bool,
    /// What becomes of Abort.
    pub aborts: Aborts,
    /// CSTS.CFS is set instead of CSTS.RDY.
    pub fatal_at_enable: bool,
    /// What the registers do.
    pub registers: Registers,
}
