//! A client of the block server that tries everything that it must not be able to do, before it opens its disk and
//! after. Each attempt has a line `attempt name=… answer=… times=…`; the last line is `attempts done`.
#![cfg_attr(target_os = "none", no_std, no_main)]
#![forbid(unsafe_code)]

use core::time::Duration;

use abi::layout::IPC_BUFFER_BYTES;
use abi::system_call::{MESSAGE_WORDS, NO_DEADLINE, Number};
use block_client::{Disk, Error};
use hostile::{Answer, Tally, answer};
use protocol::block::{Answer as Told, BATCH_MAX, BatchRoom, Failure, Operation, Request, Transfer, VERSION};
use serde::ser::SerializeTuple;
use serde::{Serialize, Serializer};
use task::{Call, CallError, Deadline, Environment, Frame, Inbox, Log, Started, Stop, Window, system_call};
use trials::insist;

task::needs! { disk: call, silent: call, data: window, log: log }
task::main!(run);

const PATIENCE: Duration = Duration::from_secs(60);
/// Bytes of the longest message that is made up here.
const BYTES: usize = IPC_BUFFER_BYTES;

struct Client {
    call: Call,
    log: Log,
}

/// Bytes as a message, as they are.
struct Raw<'a>(&'a [u8]);

impl Serialize for Raw<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

fn run(environment: Environment) -> Result<(), Stop> {
    let grants = Grants::find(&environment)?;
    let client = Client { call: grants.disk, log: grants.log };
    task::ready(Started::Well);

    client.tell("before-open", client.ask(&Request::Information));
    client.tell("transfer-before-open", client.read(0, 1, 0));
    client.malformed("malformed-before-open");
    client.tell("open-other-version", client.ask(&Request::Open { version: VERSION + 1 }));
    let disk = Disk::new(grants.disk, PATIENCE);
    let own = disk.open().map_err(|error| Stop::new(format_args!("{error}")))?;
    client.malformed("malformed");
    client.requests(own.blocks, own.window_bytes);
    client.batches(&disk, own.blocks, own.window_bytes)?;
    client.system_calls(grants.silent.handle().into());

    // The hostile driver answers nobody.
    let silent = grants.silent.call::<u64>(&0_u64, Deadline::after(Duration::from_millis(50)));
    client.tell(
        "server-that-never-answers",
        match silent {
            Err(CallError::Kernel(error)) => Answer::word(answer::name(error)),
            _ => Answer::OK,
        },
    );

    // It was only a client that was bad: with what it is granted it goes on.
    client.tell("still-served", client.read(0, 1, 0));
    client.tell("window-read-only", Answer::word(if grants.data.is_writable() { "writable" } else { "read-only" }));
    beyond(&client, grants.data);
    insist(grants.log, format_args!("attempts done"));
    task::idle()
}

impl Client {
    fn tell(&self, name: &str, answer: Answer) {
        Tally::of([answer]).tell(self.log, name);
    }

    fn tell_all(&self, name: &str, answers: impl IntoIterator<Item = Answer>) {
        Tally::of(answers).tell(self.log, name);
    }

    /// What the server answers to a message.
    fn ask(&self, message: &impl Serialize) -> Answer {
        let mut inbox = Inbox::new();
        match self.call.call_borrowed::<Told<'_>>(message, Deadline::after(PATIENCE), &mut inbox) {
            Ok(Told::Failed(failure)) => Answer::word(failure.name()),
            Ok(Told::Version { .. }) => Answer::word("version"),
            Ok(_) => Answer::OK,
            Err(CallError::Kernel(error)) => Answer::word(answer::name(error)),
            Err(CallError::Malformed(_)) => Answer::word("malformed"),
            Err(CallError::TooLong(_)) => Answer::word("too-long"),
        }
    }

    fn read(&self, first_block: u64, blocks: u32, offset: u64) -> Answer {
        self.ask(&Request::Transfer(Operation::Read { first_block, blocks, offset }.into()))
    }

    /// Messages that are none: empty, of unknown kinds, cut, with bytes left over, with lengths that are not there, and
    /// of every length up to the longest.
    fn malformed(&self, name: &str) {
        let mut tally = Tally::default();
        let mut ask = |bytes: &[u8]| tally.add(self.ask(&Raw(bytes)));
        ask(&[]);
        // Every first byte that is no request, alone and before others.
        for first in 7..=u8::MAX {
            ask(&[first]);
            ask(&[first, 0, 0, 0, 0, 0, 0, 0]);
        }
        let mut room = [0; 64];
        for request in [
            Request::Open { version: VERSION },
            Request::Transfer(Operation::Read { first_block: 1 << 40, blocks: 1 << 20, offset: 1 << 30 }.into()),
            Request::Load { offset: 1 << 20, bytes: 64 },
            Request::Store { offset: 0, data: &[1; 8] },
        ] {
            let Ok(bytes) = postcard::to_slice(&request, &mut room) else { continue };
            let length = bytes.len();
            for cut in 1..length {
                ask(&room[..cut]);
            }
            room[length] = 0;
            ask(&room[..length + 1]);
            room.fill(0);
        }
        // A batch and a store that say they are longer than the message is, up to what no number holds.
        for length in [&[1][..], &[0xff, 0x1f], &[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 10], &[0xff; 40]] {
            for kind in [3, 5] {
                let mut bytes = [0; 48];
                bytes[0] = kind;
                bytes[1..1 + length.len()].copy_from_slice(length);
                ask(&bytes[..1 + length.len()]);
            }
        }
        let long = [0xff; BYTES];
        for length in [47, 48, 49, 64, 1000, 4000, BYTES - 1, BYTES] {
            ask(&long[..length]);
        }
        tally.tell(self.log, name);
    }

    /// What is not granted, or not there.
    fn requests(&self, blocks: u64, window: u64) {
        self.tell_all(
            "read-beyond-the-disk",
            [(blocks, 1), (blocks - 1, 2), (u64::MAX, 1), (u64::MAX, 2), (0, u32::MAX)]
                .map(|(first, count)| self.read(first, count, 0)),
        );
        self.tell("read-nothing", self.read(0, 0, 0));
        let places =
            [window, window - 508, window.wrapping_add(1 << 20), u64::MAX - 3, 512_u64.wrapping_neg(), 0xfee0_0000];
        self.tell_all("read-beyond-the-window", places.map(|offset| self.read(0, 1, offset)));
        self.tell("read-longer-than-the-window", self.read(0, (window / 512 + 1) as u32, 0));
        self.tell_all("read-unaligned", [1, 2, 3, 511].map(|offset| self.read(0, 1, offset)));
        let changing = [
            Operation::Write { first_block: 0, blocks: 1, offset: 0, durable: false },
            Operation::Discard { first_block: 0, blocks: 1 },
            Operation::WriteZeroes { first_block: 0, blocks: 1 },
        ];
        self.tell_all(
            "write-to-a-read-only-disk",
            changing.map(|operation| self.ask(&Request::Transfer(operation.into()))),
        );
        self.tell_all(
            "load-without-slot",
            [0, window, u64::MAX].map(|offset| self.ask(&Request::Load { offset, bytes: 8 })),
        );
        self.tell("store-without-slot", self.ask(&Request::Store { offset: 0, data: &[0; 8] }));
        self.tell("shutdown-not-granted", self.ask(&Request::Shutdown));
    }

    /// More than a share, and whole batches of what is refused one by one.
    fn batches(&self, disk: &Disk, blocks: u64, window: u64) -> Result<(), Stop> {
        let stop = |error: Error| Stop::new(format_args!("{error}"));
        let (mut room, mut inbox) = (BatchRoom::new(), Inbox::new());
        for tag in 0..BATCH_MAX as u32 {
            let operation = match tag % 3 {
                0 => Operation::Read { first_block: blocks, blocks: 1, offset: 0 },
                1 => Operation::Read { first_block: u64::MAX, blocks: 2, offset: 0 },
                _ => Operation::Read { first_block: 0, blocks: 1, offset: window },
            };
            // A batch has room for so many.
            let _ = room.push(&Transfer { tag, operation });
        }
        let mut tally = Tally::default();
        let mut ended = 0;
        let mut count = |completion: protocol::block::Completion| {
            ended += 1;
            tally.add(completion.outcome.map_or_else(|failure: Failure| Answer::word(failure.name()), |()| Answer::OK));
        };
        let taken = disk.exchange(&room, true, &mut inbox, &mut count).map_err(stop)?;
        while ended < taken.accepted && ended != 0 {
            let before = ended;
            disk.exchange(&BatchRoom::new(), true, &mut inbox, |completion| {
                ended += 1;
                tally.add(completion.outcome.map_or_else(|failure| Answer::word(failure.name()), |()| Answer::OK));
            })
            .map_err(stop)?;
            if ended == before {
                break;
            }
        }
        tally.tell(self.log, "batch-of-refused");
        self.tell("batch-each-ends-once", Answer::word(if ended == taken.accepted { "each" } else { "not-each" }));

        // The same number again and again is the client's own trouble: each ends.
        room.clear();
        for _ in 0..BATCH_MAX {
            let _ =
                room.push(&Transfer { tag: 7, operation: Operation::Read { first_block: 0, blocks: 1, offset: 0 } });
        }
        let mut ended = 0;
        let taken = disk.exchange(&room, true, &mut inbox, |_| ended += 1).map_err(stop)?;
        while ended < taken.accepted {
            let before = ended;
            disk.exchange(&BatchRoom::new(), true, &mut inbox, |_| ended += 1).map_err(stop)?;
            if ended == before {
                break;
            }
        }
        let within_share = taken.accepted < BATCH_MAX && ended == taken.accepted;
        self.tell("batch-beyond-the-share", Answer::word(if within_share { "share-alone" } else { "more" }));
        Ok(())
    }

    /// The kernel's own answers to what a client may try.
    fn system_calls(&self, silent: u64) {
        let own = u64::from(self.call.handle());
        let call = |handle, bytes, deadline| {
            let frame =
                Frame { code: Number::Call as u64, arguments: [handle, bytes, deadline, 0], words: [0; MESSAGE_WORDS] };
            Answer::frame(&system_call(frame))
        };
        let lengths = [IPC_BUFFER_BYTES as u64 + 1, 1 << 16, 1 << 32, u64::MAX];
        self.tell_all("message-too-long", lengths.map(|bytes| call(own, bytes, NO_DEADLINE)));
        let others = (0..64).chain([1 << 32 | own, u64::MAX]).filter(|handle| ![own, silent].contains(handle));
        self.tell_all("call-what-is-not-granted", others.map(|handle| call(handle, 8, 0)));
        let reply = |handle| Answer::frame(&system_call(Frame::new(Number::Reply, [handle, 8, 0, 0])));
        let replies = (0..8).flat_map(|task| (1..64).map(move |generation| generation << 8 | task));
        self.tell_all("reply-as-a-client", replies.map(reply));
        let receive = |handle| Answer::frame(&system_call(Frame::new(Number::ReplyReceive, [0, 0, 0, handle])));
        self.tell_all("receive-as-a-client", (1..64).map(receive));
        let device = [
            Number::DeviceInformation,
            Number::DeviceRead,
            Number::DeviceWrite,
            Number::DeviceSubmit,
            Number::DeviceComplete,
            Number::DeviceCollect,
        ];
        let calls = device.into_iter().flat_map(|number| (0..64).map(move |handle| (number, handle)));
        self.tell_all(
            "device-as-a-client",
            calls.map(|(number, handle)| Answer::frame(&system_call(Frame::new(number, [handle, 0x1c, 4, 0])))),
        );
    }
}

/// The window's own library lets nobody beyond it; that memory is not mapped either is for `hazards` to show.
fn beyond(client: &Client, window: Window) {
    let places = [window.bytes(), u64::MAX - 3, window.bytes() - 2];
    let answers = places.map(|offset| match window.read_u32(offset) {
        Ok(_) => Answer::OK,
        Err(_) => Answer::word("out-of-range"),
    });
    client.tell_all("window-beyond-its-end", answers);
}
