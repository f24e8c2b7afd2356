//! What the kernel tells of the system.

use abi::inspect::{ENTRY_BYTES_MAX, Function, Task};
use abi::system_call::Number;

use crate::buffer;
use crate::message::{self, Malformed};
use crate::raw::{Frame, system_call};

/// May ask the kernel about one topic of the system: the charter says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inspect {
    pub(crate) handle: u32,
}

/// Room for an entry that came.
pub type Entry = [u8; ENTRY_BYTES_MAX];

impl Inspect {
    /// The task of this number; `None` beyond the last one, and for a grant of another topic.
    pub fn task<'e>(&self, number: u64, room: &'e mut Entry) -> Option<Task<'e>> {
        self.entry(number, room).and_then(|bytes| message::decode(bytes).map_err(|Malformed| ()).ok())
    }

    /// The PCI function of this number; `None` beyond the last one, and for a grant of another topic.
    pub fn function<'e>(&self, number: u64, room: &'e mut Entry) -> Option<Function<'e>> {
        self.entry(number, room).and_then(|bytes| message::decode(bytes).map_err(|Malformed| ()).ok())
    }

    /// Bytes of the log from `place` on, counted from its first byte, or from the oldest one that is still remembered.
    /// Returns the place of the first byte given, and how many there are; none at the log's end.
    pub fn log(&self, place: u64, room: &mut [u8]) -> (u64, usize) {
        match self.ask(place) {
            Some((place, length)) => {
                let length = length.min(room.len());
                buffer::read_into(&mut room[..length]);
                (place, length)
            }
            None => (place, 0),
        }
    }

    fn entry<'e>(&self, number: u64, room: &'e mut Entry) -> Option<&'e [u8]> {
        let (_, length) = self.ask(number)?;
        let bytes = room.get_mut(..length).filter(|bytes| !bytes.is_empty())?;
        buffer::read_into(bytes);
        Some(bytes)
    }

    /// What now lies at the start of the IPC buffer: a place and a length.
    fn ask(&self, number: u64) -> Option<(u64, usize)> {
        let after = system_call(Frame::new(Number::Inspect, [self.handle.into(), number, 0, 0])).result().ok()?;
        Some((after.arguments[0], usize::try_from(after.arguments[1]).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use abi::inspect::{TaskState, encode};

    use super::*;
    use crate::host;

    const TASK: Task<'_> = Task {
        name: "block",
        state: TaskState::AwaitingReply("nvme"),
        priority: 20,
        started: Some(true),
        time: 1 << 40,
        calls: 77,
        generation: 1,
        memory: 65536,
    };

    #[test]
    fn entries_come_one_by_one_until_there_are_no_more() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            assert_eq!((frame.code, frame.arguments[0]), (Number::Inspect as u64, 4));
            let mut entry = [0; ENTRY_BYTES_MAX];
            let length = if frame.arguments[1] == 0 { encode(&TASK, &mut entry).unwrap() } else { 0 };
            buffer[..length].copy_from_slice(&entry[..length]);
            frame.arguments = [0, length as u64, 0, 0];
        };
        let mut room = [0; ENTRY_BYTES_MAX];
        host::with(kernel, || {
            assert_eq!(Inspect { handle: 4 }.task(0, &mut room), Some(TASK));
            assert_eq!(Inspect { handle: 4 }.task(1, &mut room), None);
            assert_eq!(Inspect { handle: 4 }.function(0, &mut room), None, "a task is no function");
        });
    }

    #[test]
    fn the_log_comes_in_parts_with_their_places() {
        let kernel = |frame: &mut Frame, buffer: &mut [u8]| {
            buffer[..5].copy_from_slice(b"x: y\n");
            frame.arguments = [frame.arguments[1].max(100), 5, 0, 0];
        };
        let mut room = [0; 4];
        host::with(kernel, || {
            assert_eq!(Inspect { handle: 4 }.log(0, &mut room), (100, 4));
            assert_eq!(room, *b"x: y");
            assert_eq!(Inspect { handle: 4 }.log(200, &mut room).0, 200);
        });
    }
}
