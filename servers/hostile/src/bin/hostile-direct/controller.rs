//! A controller as its driver has it on the direct lane, as far as a hostile one needs it.

use core::time::Duration;

use hostile::driver::pause_for;
use nvme_spec::admin::QueueCounts;
use nvme_spec::registers::{
    ACQ, AQA, ASQ, CC, CSTS, Configuration, ControllerStatus, DoorbellStride, ShutdownNotification,
    admin_queue_attributes,
};
use nvme_spec::{CompletionEntry, SubmissionEntry};
use task::{DeviceRegisters, Direct, Instant, Stop};

/// Where things lie in the memory for rings: the admin queues first, then these.
pub const IO_SUBMISSION: u64 = 0x2000;
pub const IO_COMPLETION: u64 = 0x3000;
/// A PRP list of its own.
pub const LIST: u64 = 0x4000;
/// A page that a command may write.
pub const OWN_PAGE: u64 = 0x5000;
const ADMIN_COMPLETION: u64 = 0x1000;

/// Entries of each queue.
const ENTRIES: u16 = 32;
/// How long the controller may take to be enabled or disabled.
const PATIENCE: Duration = Duration::from_secs(10);
/// Between two looks.
const PAUSE: Duration = Duration::from_micros(50);
/// How long to wait for a command that may never end, after the one before it.
pub const BRIEFLY: Duration = Duration::from_millis(100);
/// And for one that the controller must end, also on a busy computer.
pub const PATIENTLY: Duration = Duration::from_secs(30);

/// What became of commands.
#[derive(Clone, Copy)]
pub struct Ran {
    /// So many were submitted.
    pub commands: u32,
    /// So many ended, well or not.
    pub ended: u32,
}

/// A queue pair.
#[derive(Clone, Copy)]
struct Queue {
    number: u16,
    submission: u64,
    completion: u64,
    tail: u16,
    head: u16,
    phase: bool,
}

/// Which of the queue pairs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum On {
    Admin,
    Io,
}

impl Queue {
    const fn new(number: u16, submission: u64, completion: u64) -> Self {
        Self { number, submission, completion, tail: 0, head: 0, phase: true }
    }
}

const ADMIN: Queue = Queue::new(0, 0, ADMIN_COMPLETION);
const IO: Queue = Queue::new(1, IO_SUBMISSION, IO_COMPLETION);

/// The controller.
pub struct Controller {
    direct: Direct,
    admin: Queue,
    io: Queue,
}

impl Controller {
    pub fn new(direct: Direct) -> Self {
        Self { direct, admin: ADMIN, io: IO }
    }

    pub fn registers(&mut self) -> &mut DeviceRegisters {
        &mut self.direct.registers
    }

    /// Where the controller finds the memory for rings.
    pub fn rings_at(&self) -> u64 {
        self.direct.rings_at
    }

    pub fn ring_bytes(&self) -> u64 {
        self.direct.rings.bytes()
    }

    /// A word of the memory for rings.
    pub fn word(&self, offset: u64) -> u64 {
        self.direct.rings.read_u64(offset).unwrap_or_default()
    }

    pub fn set_word(&self, offset: u64, value: u64) {
        let _ = self.direct.rings.copy_from(offset, &value.to_le_bytes());
    }

    pub fn enable(&mut self) -> Result<(), Stop> {
        let rings = self.rings_at();
        self.enable_with(rings, rings + ADMIN_COMPLETION)
    }

    /// Enables it with its admin queues at these addresses.
    pub fn enable_with(&mut self, submission: u64, completion: u64) -> Result<(), Stop> {
        for offset in (0..OWN_PAGE).step_by(8) {
            self.set_word(offset, 0);
        }
        (self.admin, self.io) = (ADMIN, IO);
        let registers = &mut self.direct.registers;
        registers.write_u32(AQA, admin_queue_attributes(ENTRIES, ENTRIES));
        registers.write_u64(ASQ, submission);
        registers.write_u64(ACQ, completion);
        registers.write_u32(CC, Configuration::new(true, ShutdownNotification::None).0);
        self.until_ready(true)
    }

    pub fn disable(&mut self) -> Result<(), Stop> {
        self.direct.registers.write_u32(CC, Configuration::new(false, ShutdownNotification::None).0);
        self.until_ready(false)
    }

    fn until_ready(&mut self, ready: bool) -> Result<(), Stop> {
        let start = Instant::now();
        while ControllerStatus::from_bits_retain(self.direct.registers.read_u32(CSTS)).contains(ControllerStatus::READY)
            != ready
        {
            if Instant::now().since(start) > PATIENCE {
                return Err(Stop::new(format_args!("the controller does not get there")));
            }
            pause_for(PAUSE);
        }
        Ok(())
    }

    fn queue(&mut self, on: On) -> &mut Queue {
        match on {
            On::Admin => &mut self.admin,
            On::Io => &mut self.io,
        }
    }

    /// Has commands done, as many at a time as the queue takes; waits so long for the next one to end.
    pub fn run(
        &mut self,
        on: On,
        commands: impl IntoIterator<Item = SubmissionEntry>,
        patience: Duration,
    ) -> Result<Ran, Stop> {
        let mut ran = Ran { commands: 0, ended: 0 };
        let mut commands = commands.into_iter().peekable();
        while commands.peek().is_some() {
            let mut pushed = 0;
            for command in commands.by_ref().take(usize::from(ENTRIES) - 1) {
                self.push(on, SubmissionEntry { identifier: pushed.into(), ..command })?;
                pushed += 1;
            }
            self.submit(on);
            let ended = self.take(on, pushed, patience)?;
            ran = Ran { commands: ran.commands + u32::from(pushed), ended: ran.ended + u32::from(ended) };
        }
        Ok(ran)
    }

    /// Puts a command into the ring; returns where it lies in the memory for rings.
    pub fn push(&mut self, on: On, entry: SubmissionEntry) -> Result<u64, Stop> {
        let queue = self.queue(on);
        let at = queue.submission + u64::from(queue.tail) * SubmissionEntry::BYTES as u64;
        queue.tail = (queue.tail + 1) % ENTRIES;
        self.put(at, entry)?;
        Ok(at)
    }

    /// Writes a command there, whatever the controller does with it by now.
    pub fn put(&self, at: u64, entry: SubmissionEntry) -> Result<(), Stop> {
        Ok(self.direct.rings.copy_from(at, &entry.to_bytes())?)
    }

    /// Tells the controller of what was put into the ring.
    pub fn submit(&mut self, on: On) {
        let Queue { number, tail, .. } = *self.queue(on);
        self.ring(DoorbellStride::default().submission_tail(number), tail);
    }

    fn ring(&mut self, doorbell: u64, value: u16) {
        self.direct.registers.write_u32(doorbell as u32, value.into());
    }

    /// Takes so many completions, or fewer if no more come.
    pub fn take(&mut self, on: On, wanted: u16, patience: Duration) -> Result<u16, Stop> {
        let mut taken = 0;
        let mut last = Instant::now();
        while taken < wanted {
            let Queue { completion, head, phase, .. } = *self.queue(on);
            let at = completion + u64::from(head) * CompletionEntry::BYTES as u64;
            let mut bytes = [0; CompletionEntry::BYTES];
            self.direct.rings.copy_to(at, &mut bytes)?;
            if CompletionEntry::from_bytes(bytes).phase() == phase {
                let queue = self.queue(on);
                queue.head = (queue.head + 1) % ENTRIES;
                queue.phase ^= queue.head == 0;
                taken += 1;
                last = Instant::now();
            } else if Instant::now().since(last) > patience {
                break;
            } else {
                pause_for(PAUSE);
            }
        }
        let Queue { number, head, .. } = *self.queue(on);
        self.ring(DoorbellStride::default().completion_head(number), head);
        Ok(taken)
    }

    /// Creates the I/O queues, whose completions interrupt by this entry of the MSI-X table.
    pub fn create_io_queues(&mut self, vector: u16) -> Result<(), Stop> {
        let counts = QueueCounts { submission: 1, completion: 1 };
        let (entries, rings) = (ENTRIES.into(), self.rings_at());
        for command in [
            SubmissionEntry::set_number_of_queues(0, counts),
            SubmissionEntry::create_completion_queue(0, 1, entries, vector).with_data(rings + IO_COMPLETION, 0),
            SubmissionEntry::create_submission_queue(0, 1, entries, 1).with_data(rings + IO_SUBMISSION, 0),
        ] {
            self.run(On::Admin, [command], PATIENTLY)?;
        }
        Ok(())
    }

    /// Whether the controller is off, and nobody wants it on.
    pub fn is_off(&mut self) -> bool {
        let registers = &mut self.direct.registers;
        let is_ready = ControllerStatus::from_bits_retain(registers.read_u32(CSTS)).contains(ControllerStatus::READY);
        !is_ready && !Configuration(registers.read_u32(CC)).enable()
    }
}
