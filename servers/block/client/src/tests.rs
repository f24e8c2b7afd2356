use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use protocol::block::{Batch, Supports};
use task::{Frame, host};

use super::*;

/// The message of a frame, and the other way round, as the kernel carries it.
fn take(frame: &Frame, buffer: &[u8]) -> Vec<u8> {
    let length = frame.arguments[1] as usize;
    let words: Vec<u8> = frame.words.iter().flat_map(|word| word.to_le_bytes()).collect();
    if length <= words.len() { words[..length].to_vec() } else { buffer[..length].to_vec() }
}

fn give(frame: &mut Frame, buffer: &mut [u8], bytes: &[u8]) {
    (frame.words, frame.arguments[1]) = ([0; 6], bytes.len() as u64);
    if bytes.len() > 48 {
        buffer[..bytes.len()].copy_from_slice(bytes);
    }
    for (index, byte) in bytes.iter().take(48).enumerate() {
        frame.words[index / 8] |= u64::from(*byte) << (index % 8 * 8);
    }
}

/// Runs a test against a server that answers each request with what `server` makes of it.
fn with<T>(mut server: impl for<'a> FnMut(Request<'a>) -> Vec<u8> + 'static, test: impl FnOnce(Disk) -> T) -> T {
    let kernel = move |frame: &mut Frame, buffer: &mut [u8]| {
        if frame.code == abi::system_call::Number::Call as u64 {
            let bytes = take(frame, buffer);
            let answer = server(postcard::from_bytes(&bytes).expect("a request is a request"));
            give(frame, buffer, &answer);
        }
    };
    let call: Call = {
        let granted = abi::start::Granted::Call { handle: 1, bits: 0 };
        task::Grant::from_granted(&granted).unwrap()
    };
    host::with(kernel, || test(Disk::new(call, Duration::from_secs(1))))
}

fn answer(answer: &Answer<'_>) -> Vec<u8> {
    postcard::to_stdvec(answer).unwrap()
}

const INFORMATION: Information = Information {
    version: VERSION,
    nsid: 2,
    first_block: 0,
    blocks: 100,
    block_bytes: 512,
    supports: Supports {
        write: true,
        discard: false,
        write_zeroes: false,
        compare: false,
        verify: false,
        volatile_cache: true,
    },
    window_bytes: 8192,
    is_slot: true,
    share: 8,
};

#[test]
fn it_opens_with_its_version() {
    let server = |request: Request<'_>| match request {
        Request::Open { version: VERSION } => answer(&Answer::Information(INFORMATION)),
        _ => answer(&Answer::Failed(Failure::NotOpen)),
    };
    with(server, |disk| {
        assert_eq!(disk.open(), Ok(INFORMATION));
        let error = disk.flush().unwrap_err();
        assert!(error == Error::Restarted && error.is_cured_by_opening(), "it does not know this client any more");
    });
    with(
        |_| answer(&Answer::Version { supported: 9 }),
        |disk| {
            assert_eq!(disk.open(), Err(Error::Version { supported: 9 }));
        },
    );
}

#[test]
fn an_answer_to_something_else_is_malformed() {
    with(|_| answer(&Answer::Done), |disk| assert_eq!(disk.open(), Err(Error::Malformed)));
    with(
        |_| answer(&Answer::Data(&[1])),
        |disk| {
            assert_eq!(disk.flush(), Err(Error::Malformed));
            assert_eq!(disk.load(0, &mut [0; 2]), Err(Error::Malformed), "too few bytes");
        },
    );
    with(|_| std::vec![0xff; 60], |disk| assert_eq!(disk.flush(), Err(Error::Malformed)));
}

#[test]
fn a_slot_is_copied_piece_by_piece() {
    let slot = Rc::new(RefCell::new(std::vec![0_u8; 8192]));
    let own = slot.clone();
    let server = move |request: Request<'_>| match request {
        Request::Store { offset, data } => {
            own.borrow_mut()[offset as usize..][..data.len()].copy_from_slice(data);
            answer(&Answer::Done)
        }
        Request::Load { offset, bytes } => answer(&Answer::Data(&own.borrow()[offset as usize..][..bytes.into()])),
        other => panic!("{other:?}"),
    };
    let bytes: Vec<u8> = (0..7000_u32).map(|index| (index % 251) as u8).collect();
    with(server, |disk| {
        disk.store(100, &bytes).unwrap();
        let mut back = std::vec![0; 7000];
        disk.load(100, &mut back).unwrap();
        assert_eq!(back, bytes);
    });
    assert_eq!(slot.borrow()[100..7100], bytes);
}

#[test]
fn completions_are_told_one_by_one() {
    let server = |request: Request<'_>| match request {
        Request::Exchange { transfers, wait: true } => {
            let mut room = BatchRoom::new();
            for transfer in transfers {
                room.push(&Completion { tag: transfer.tag, outcome: Ok(()) }).unwrap();
            }
            answer(&Answer::Exchanged { accepted: 2, changed: false, completions: room.batch() })
        }
        Request::Exchange { .. } => {
            answer(&Answer::Exchanged { accepted: 0, changed: true, completions: Batch::EMPTY })
        }
        other => panic!("{other:?}"),
    };
    with(server, |disk| {
        let (mut room, mut inbox, mut tags) = (BatchRoom::new(), Inbox::new(), Vec::new());
        for tag in [7, 1000] {
            room.push(&Transfer { tag, operation: Operation::Flush }).unwrap();
        }
        let exchanged = disk.exchange(&room, true, &mut inbox, |completion| tags.push(completion.tag)).unwrap();
        assert_eq!((exchanged.accepted, exchanged.completed, tags), (2, 2, std::vec![7, 1000]));
        let exchanged = disk.exchange(&BatchRoom::new(), false, &mut inbox, |_| panic!()).unwrap();
        assert!(exchanged.changed);
    });
}

#[test]
fn a_server_that_restarts_is_told_once_and_waited_for() {
    // It opens, is dead for three calls, then knows nobody.
    let calls = Rc::new(RefCell::new(Vec::new()));
    let (kept, mut clock, mut open) = (calls.clone(), 0, false);
    let kernel = move |frame: &mut Frame, buffer: &mut [u8]| match abi::system_call::Number::new(frame.code) {
        Some(abi::system_call::Number::Call) => {
            let bytes = take(frame, buffer);
            let is_open = matches!(postcard::from_bytes(&bytes), Ok(Request::Open { .. }));
            let number = kept.borrow().len();
            kept.borrow_mut().push(is_open);
            match number {
                1..4 => return host::fail(frame, abi::Error::DeadPeer),
                4 => open = false,
                _ => {}
            }
            open |= is_open;
            let information = Answer::Information(INFORMATION);
            let said = if is_open {
                information
            } else if open {
                Answer::Done
            } else {
                Answer::Failed(Failure::NotOpen)
            };
            give(frame, buffer, &answer(&said));
        }
        Some(abi::system_call::Number::Clock) => frame.arguments[0] = clock,
        _ => {
            clock = frame.arguments[2];
            host::fail(frame, abi::Error::TimedOut);
        }
    };
    let granted = abi::start::Granted::Call { handle: 1, bits: 0 };
    host::with(kernel, || {
        let disk = Disk::new(task::Grant::from_granted(&granted).unwrap(), Duration::from_secs(1));
        disk.open().unwrap();
        assert_eq!(disk.flush(), Err(Error::Restarted));
        assert_eq!(disk.resume(), Ok(INFORMATION));
        assert_eq!(disk.flush(), Ok(()));
    });
    assert_eq!(*calls.borrow(), [true, false, true, true, true, false]);
}

#[test]
fn a_server_that_does_not_come_back_is_not_waited_for_for_ever() {
    let mut clock = 0;
    let kernel = move |frame: &mut Frame, _: &mut [u8]| match abi::system_call::Number::new(frame.code) {
        Some(abi::system_call::Number::Call) => host::fail(frame, abi::Error::DeadPeer),
        Some(abi::system_call::Number::Clock) => frame.arguments[0] = clock,
        _ => {
            clock = frame.arguments[2];
            host::fail(frame, abi::Error::TimedOut);
        }
    };
    let granted = abi::start::Granted::Call { handle: 1, bits: 0 };
    host::with(kernel, || {
        let disk = Disk::new(task::Grant::from_granted(&granted).unwrap(), Duration::from_secs(1));
        assert_eq!(disk.resume(), Err(Error::Restarted));
        assert_eq!(Instant::now().nanoseconds(), 1_000_000_000);
    });
}
