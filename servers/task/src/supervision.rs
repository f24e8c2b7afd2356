//! Watching over tasks, stopping them, and saying that one is alive.

use core::time::Duration;

use abi::crash::Record;
use abi::crash::memory::SLOT_BYTES;
use abi::package::NAME_BYTES_MAX;
use abi::supervision::{Ending, Order, Progress, Restart, Supervised};
use abi::system_call::Number;

use crate::Deadline;
use crate::buffer;
use crate::raw::{Frame, system_call};

/// A task's name.
pub type Name = heapless::String<NAME_BYTES_MAX>;

/// Watches over a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervise {
    pub(crate) handle: u32,
    /// The task's number.
    pub task: u16,
    /// When the charter has it restarted.
    pub restart: Restart,
    /// Watched tasks that call it, a bit each by their numbers.
    pub dependants: u32,
}

impl Supervise {
    /// Gives an order, and learns how the task is then.
    ///
    /// # Errors
    /// Invalid if the task is not in a state for it.
    pub fn order(&self, order: Order) -> Result<(Progress, Supervised), abi::Error> {
        let after = system_call(Frame::new(Number::Supervise, [self.handle.into(), order as u64, 0, 0])).result()?;
        // No kernel answers another code.
        let progress = Progress::new(after.arguments[0]).ok_or(abi::Error::Invalid)?;
        Ok((progress, Supervised::from_words(after.words)))
    }

    /// The newest record that is kept of how it stopped, in this boot or one before; `None` if there is none.
    ///
    /// # Errors
    /// None of a kernel that keeps to [`abi::crash`]; invalid if its record is not one.
    pub fn record(&self) -> Result<Option<Record>, abi::Error> {
        let order = [self.handle.into(), Order::Record as u64, 0, 0];
        let after = system_call(Frame::new(Number::Supervise, order)).result()?;
        let mut bytes = [0; SLOT_BYTES];
        let length = usize::try_from(after.arguments[1]).unwrap_or(usize::MAX);
        let bytes = bytes.get_mut(..length).ok_or(abi::Error::Invalid)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        buffer::read_into(bytes);
        postcard::from_bytes(bytes).map(Some).map_err(|_| abi::Error::Invalid)
    }

    /// The task's name.
    pub fn name(&self) -> Name {
        name(system_call(Frame::new(Number::Supervise, [self.handle.into(), Order::Look as u64, 0, 0])))
    }
}

/// May stop a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kill {
    pub(crate) handle: u32,
}

impl Kill {
    /// The task's name.
    pub fn name(&self) -> Name {
        name(system_call(Frame::new(Number::Kill, [self.handle.into(), Ending::Look as u64, 0, 0])))
    }

    /// Stops it. Comes back unless it is this task.
    ///
    /// # Errors
    /// Dead peer if it has stopped already.
    pub fn kill(&self) -> Result<(), abi::Error> {
        self.end(Ending::Kill)
    }

    /// Stops it because it has failed, which its supervisor counts as a fault.
    ///
    /// # Errors
    /// Dead peer if it has stopped already.
    pub fn report(&self) -> Result<(), abi::Error> {
        self.end(Ending::Report)
    }

    fn end(&self, ending: Ending) -> Result<(), abi::Error> {
        system_call(Frame::new(Number::Kill, [self.handle.into(), ending as u64, 0, 0])).result().map(|_| ())
    }
}

impl Kill {
    /// Has the kernel make a fault in it; `first` and `second` are numbers by which it chooses where. Returns whether
    /// something was changed.
    ///
    /// # Errors
    /// Invalid if the kernel has not the feature `test-faults`, as no product's has; dead peer if the task has stopped.
    pub fn inject(&self, fault: abi::faults::Fault, first: u64, second: u64) -> Result<bool, abi::Error> {
        let frame = Frame::new(Number::Kill, [self.handle.into(), fault as u64, first, second]);
        system_call(frame).result().map(|after| after.arguments[0] != 0)
    }
}

/// The name that a call left at the start of the buffer; empty if the call failed.
fn name(frame: Frame) -> Name {
    let mut bytes = [0; NAME_BYTES_MAX];
    let length = match frame.result() {
        Ok(after) => usize::try_from(after.arguments[1]).unwrap_or(0).min(bytes.len()),
        Err(_) => 0,
    };
    buffer::read_into(&mut bytes[..length]);
    let text = core::str::from_utf8(&bytes[..length]).unwrap_or_default();
    text.try_into().unwrap_or_default()
}

/// Tells the kernel that this task goes round its loop. Returns after how long to tell it again, at the latest; `None` if
/// nobody wants to hear it.
pub fn alive() -> Option<Duration> {
    match system_call(Frame::new(Number::Alive, [0; 4])).result().map(|after| after.arguments[0]) {
        Ok(0) | Err(_) => None,
        Ok(nanoseconds) => Some(Duration::from_nanos(nanoseconds)),
    }
}

/// The heartbeat of a task that goes round a loop and waits in it: says at the right times that it is alive.
///
/// Each wait ends at [`Heartbeat::deadline`], and each turn is told to [`Heartbeat::turn`]. A turn costs nothing where
/// there is something to do: what is due is said when a wait timed out, or after so many turns that a task which never
/// has to wait says it often enough. Where nobody wants to hear it, nothing is said.
#[derive(Clone, Copy, Debug)]
pub struct Heartbeat {
    deadline: Deadline,
    turns: u32,
}

/// Turns after which it is said in any case.
const TURNS: u32 = 256;

impl Heartbeat {
    /// Says it for the first time.
    pub fn begin() -> Self {
        let mut heartbeat = Self { deadline: Deadline::NEVER, turns: 0 };
        heartbeat.beat();
        heartbeat
    }

    /// When a wait must end, at the latest: the earlier of what the task itself waits for and this.
    #[inline]
    pub fn deadline(&self, own: Deadline) -> Deadline {
        own.min(self.deadline)
    }

    /// The loop was gone round once; `timed_out` if its wait ended by its deadline.
    #[inline]
    pub fn turn(&mut self, timed_out: bool) {
        self.turns += 1;
        if self.deadline != Deadline::NEVER && (timed_out || self.turns >= TURNS) {
            self.beat();
        }
    }

    fn beat(&mut self) {
        self.turns = 0;
        self.deadline = alive().map_or(Deadline::NEVER, Deadline::after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Instant;
    use crate::host;
    use abi::supervision::GiveUp;

    #[test]
    fn orders_and_names_go_to_the_kernel_and_back() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| match Number::new(frame.code) {
            Some(Number::Supervise) if frame.arguments[..2] == [4, Order::Stop as u64] => {
                host::fail(frame, abi::Error::Invalid);
            }
            Some(Number::Kill) if frame.arguments[1] == Ending::Report as u64 => {
                host::fail(frame, abi::Error::DeadPeer);
            }
            Some(Number::Supervise | Number::Kill) => {
                buffer[..4].copy_from_slice(b"nvme");
                frame.arguments = [Progress::Quiescing as u64, 4, 0, 0];
                frame.words = [3, 1, 0, 0, 1, 0];
            }
            Some(Number::Alive) => frame.arguments[0] = 5,
            _ => host::fail(frame, abi::Error::Denied),
        };
        host::with(kernel, || {
            let restart = Restart { limit: 0, within: 1, back_off: 1, give_up: GiveUp::Degrade };
            let watched = Supervise { handle: 4, task: 1, restart, dependants: 0 };
            let supervised = Supervised { generation: 3, faults: 1, exits: 0, silences: 0, kills: 1, blocked: 0 };
            assert_eq!(watched.order(Order::Look), Ok((Progress::Quiescing, supervised)));
            assert_eq!(watched.order(Order::Stop), Err(abi::Error::Invalid));
            assert_eq!((watched.name().as_str(), Kill { handle: 1 }.name().as_str()), ("nvme", "nvme"));
            assert_eq!((Kill { handle: 1 }.kill(), alive()), (Ok(()), Some(Duration::from_nanos(5))));
            assert_eq!(Kill { handle: 1 }.report(), Err(abi::Error::DeadPeer));
        });
    }

    #[test]
    fn a_record_comes_whole_or_not_at_all() {
        let record = Record { sequence: 7, time: 9, ..Record::EMPTY };
        let ask = |length: u64, record: &Record| {
            let bytes = postcard::to_stdvec(record).unwrap();
            let kernel = move |frame: &mut Frame, buffer: &mut [u8]| {
                assert_eq!(frame.arguments[..2], [4, Order::Record as u64]);
                buffer[..bytes.len()].copy_from_slice(&bytes);
                frame.arguments = [0, length.min(bytes.len() as u64 + 8000), 0, 0];
            };
            let restart = Restart { limit: 0, within: 1, back_off: 1, give_up: GiveUp::Degrade };
            let mut told = Ok(None);
            host::with(kernel, || told = Supervise { handle: 4, task: 1, restart, dependants: 0 }.record());
            told
        };
        let length = postcard::to_stdvec(&record).unwrap().len() as u64;
        assert_eq!(ask(length, &record), Ok(Some(record.clone())));
        assert_eq!(ask(0, &record), Ok(None));
        for wrong in [1, length - 1, u64::MAX] {
            assert_eq!(ask(wrong, &record), Err(abi::Error::Invalid), "{wrong}");
        }
    }

    #[test]
    fn a_heart_beats_when_a_wait_times_out_and_after_many_turns_without_one() {
        let beats = std::rc::Rc::new(core::cell::Cell::new(0));
        let counted = beats.clone();
        let kernel = move |frame: &mut Frame, _: &mut [u8]| match Number::new(frame.code) {
            Some(Number::Alive) => {
                counted.set(counted.get() + 1);
                frame.arguments[0] = 100;
            }
            Some(Number::Clock) => frame.arguments[0] = counted.get() * 1000,
            _ => host::fail(frame, abi::Error::Denied),
        };
        host::with(kernel, || {
            let mut heart = Heartbeat::begin();
            assert_eq!(heart.deadline(Deadline::NEVER), Deadline::at(Instant::at(1100)));
            assert_eq!(heart.deadline(Deadline::NOW), Deadline::NOW);
            heart.turn(false);
            assert_eq!(beats.get(), 1);
            heart.turn(true);
            assert_eq!((beats.get(), heart.deadline(Deadline::NEVER)), (2, Deadline::at(Instant::at(2100))));
            (0..TURNS).for_each(|_| heart.turn(false));
            assert_eq!(beats.get(), 3);
        });
        host::with(
            |_: &mut Frame, _: &mut [u8]| {},
            || {
                let mut heart = Heartbeat::begin();
                heart.turn(true);
                assert_eq!(heart.deadline(Deadline::NEVER), Deadline::NEVER, "nobody listens");
            },
        );
    }
}
