//! The controller, as far as a hostile driver needs one that works, and the lines of its attempts.

use abi::system_call::Number;
use hostile::driver::{ENABLE, Means, PATIENCE, ROOM, pause, until};
use hostile::{Answer, Tally};
use nvme_spec::admin::QueueCounts;
use nvme_spec::identify::Structure;
use nvme_spec::nvm::BlockRange;
use nvme_spec::registers::{CC, CSTS};
use nvme_spec::status::Status;
use nvme_spec::{CompletionEntry, SubmissionEntry};
use task::{Frame, Instant, Stop, system_call};

/// The namespace that is granted: blocks from 0 on for reading and writing, then for reading, then not at all but for some.
pub const NSID: u32 = 2;
/// One of the same controller that is not granted.
pub const FOREIGN_NSID: u32 = 3;
/// First block that may only be read.
pub const READ_ONLY: u64 = 1024;
/// First block that is not granted.
pub const NOT_GRANTED: u64 = 5120;
/// First of 64 blocks that are granted for writing too, but for no command except Read and Flush.
pub const LISTED: u64 = 8192;
/// First block beyond the namespace's end, of 512 bytes each.
pub const END: u64 = 16384;
/// Bytes at the region's start that commands which are allowed may change. The rest keeps its pattern.
pub const SCRATCH: u64 = 64 << 10;
/// Salt of the region's pattern.
pub const SALT: u64 = 0xbad_d41e4;
/// Entries of every queue with QEMU's controller (`nvme_spec::brokered`).
pub const ENTRIES: u32 = 128;

/// The controller.
pub struct Device {
    pub means: Means,
    completions: [[u8; CompletionEntry::BYTES]; ROOM],
}

impl Device {
    pub fn new(means: Means) -> Self {
        Self { means, completions: [[0; _]; ROOM] }
    }

    /// Tells what came of an attempt.
    pub fn tell(&self, name: &str, answer: Answer) {
        Tally::of([answer]).tell(self.means.log, name);
    }

    /// Tells what came of an attempt that was made in many ways.
    pub fn tell_all(&self, name: &str, answers: impl IntoIterator<Item = Answer>) {
        Tally::of(answers).tell(self.means.log, name);
    }

    /// Any device call with any arguments behind the handle.
    pub fn call(&self, number: Number, [first, second, third]: [u64; 3]) -> Frame {
        system_call(Frame::new(number, [self.means.registers.handle().into(), first, second, third]))
    }

    /// What is answered to a command, alone.
    pub fn submit(&self, queue: u16, command: SubmissionEntry) -> Answer {
        Answer::submission(&self.means.registers.submit(queue, &[command.to_bytes()]))
    }

    /// Submits a command that must be refused.
    pub fn attempt(&self, name: &str, queue: u16, command: SubmissionEntry) {
        self.tell(name, self.submit(queue, command));
    }

    /// Submits commands that must be refused, one by one.
    pub fn attempt_each(&self, name: &str, queue: u16, commands: impl IntoIterator<Item = SubmissionEntry>) {
        self.tell_all(name, commands.into_iter().map(|command| self.submit(queue, command)));
    }

    /// Has a command done that is allowed.
    pub fn run(&mut self, queue: u16, command: SubmissionEntry) -> Result<Status, Stop> {
        match self.submit(queue, command) {
            Answer::OK => self.ended(queue, command.identifier.get()),
            refused => Err(Stop::new(format_args!("opcode {:#x} on queue {queue}: {refused}", command.opcode))),
        }
    }

    /// Waits for the completion of a command.
    pub fn ended(&mut self, queue: u16, identifier: u16) -> Result<Status, Stop> {
        let start = Instant::now();
        while Instant::now().since(start) < PATIENCE {
            let count = self.means.registers.complete(queue, &mut self.completions)?;
            for completion in self.completions.iter().take(count) {
                let entry = CompletionEntry::from_bytes(*completion);
                if entry.identifier.get() == identifier {
                    return Ok(entry.status());
                }
            }
            pause();
        }
        Err(Stop::new(format_args!("command {identifier} on queue {queue} does not end")))
    }

    /// Takes what has ended; returns how many commands that were.
    pub fn take(&mut self, queue: u16) -> Result<usize, Stop> {
        Ok(self.means.registers.complete(queue, &mut self.completions)?)
    }

    /// Waits until the kernel has stopped what firmware left running.
    pub fn until_quiet(&self) -> Result<(), Stop> {
        until(|| match self.means.registers.read_u32(CSTS) {
            Err(abi::Error::Busy) => Ok(false),
            other => Ok(other.map(|_| true)?),
        })
    }

    /// Enables the controller.
    pub fn enable(&self) -> Result<(), Stop> {
        until(|| match self.means.registers.write_u32(CC, ENABLE) {
            Err(abi::Error::Busy) => Ok(false),
            other => Ok(other.map(|()| true)?),
        })?;
        until(|| Ok(self.means.registers.read_u32(CSTS)? & 1 != 0))
    }

    /// Disables it, and waits until it is.
    pub fn disable(&self) -> Result<(), Stop> {
        self.means.registers.write_u32(CC, 0)?;
        until(|| Ok(self.means.registers.read_u32(CSTS)? & 1 == 0))
    }

    /// Asks for two pairs of I/O queues.
    pub fn ask_for_queues(&mut self) -> Result<(), Stop> {
        let counts = QueueCounts { submission: 2, completion: 2 };
        self.must(0, SubmissionEntry::set_number_of_queues(1, counts))
    }

    /// Creates the first pair of I/O queues.
    pub fn create_queues(&mut self) -> Result<(), Stop> {
        self.must(0, SubmissionEntry::create_completion_queue(1, 1, ENTRIES, self.means.vector))?;
        self.must(0, SubmissionEntry::create_submission_queue(1, 1, ENTRIES, 1))
    }

    /// Lets the broker learn of the granted namespace.
    pub fn identify_namespace(&mut self) -> Result<(), Stop> {
        self.must(0, SubmissionEntry::identify(1, Structure::Namespace, NSID))
    }

    /// Lets the broker learn of the controller.
    pub fn identify_controller(&mut self) -> Result<(), Stop> {
        self.must(0, SubmissionEntry::identify(1, Structure::Controller, 0))
    }

    /// Has a command done that must succeed.
    pub fn must(&mut self, queue: u16, command: SubmissionEntry) -> Result<(), Stop> {
        match self.run(queue, command)? {
            status if status.is_success() => Ok(()),
            status => Err(Stop::new(format_args!("opcode {:#x} on queue {queue}: {status:?}", command.opcode))),
        }
    }

    /// A read of blocks to a place of the region.
    pub fn read(&self, identifier: u16, first: u64, count: u32, offset: u64) -> SubmissionEntry {
        SubmissionEntry::read(identifier, NSID, BlockRange { first, count })
            .with_data(offset, self.means.data.region.into())
    }
}
