//! A kernel that does without one of its checks, for tests of the tests: only with the feature `test-mutants`. The image
//! builder refuses such a kernel unless it is told that the image is for tests.
//!
//! Which check is off says the machine, in an entry of QEMU's firmware configuration (QEMU's `docs/specs/fw_cfg`), so that
//! one image is enough for all of them. Without the entry, none is.

use abi::features::{SWITCHED_OFF, TEST_MUTANTS};
use checks::Check;
use heapless::String;
use x86_64::instructions::port::Port;

use crate::log;

/// What the kernel's file says of itself: see [`abi::features::MARK`].
#[used]
static MARK: [u8; 38] = *b"charter kernel features: test-mutants\0";

const _: () = abi::features::check_mark(&MARK, TEST_MUTANTS);

/// Selects an entry, whose bytes then come from the other port.
const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
/// The entry that says `QEMU`.
const SIGNATURE: u16 = 0;
/// The entry that lists the others.
const DIRECTORY: u16 = 0x19;
/// Bytes of an entry's name in the directory, of which the last is zero.
const NAME_BYTES: usize = 56;
/// The name of no check.
const NONE: &str = "none";
/// Most bytes of a check's name.
const CHECK_BYTES: usize = 32;

/// Switches the check off that the machine names, and tells.
///
/// # Panics
/// If there is no check of this name: nothing that such a kernel would show could be relied on.
pub fn start() {
    let named = named();
    match named.as_deref() {
        None | Some(NONE) => {}
        Some(name) => match Check::ALL.iter().find(|check| check.name() == name) {
            Some(check) => checks::switch_off(*check),
            None => panic!("there is no check `{name}` to be switched off"),
        },
    }
    log!("kernel", "features {TEST_MUTANTS} switched_off={}", named.as_deref().unwrap_or(NONE));
}

/// What the machine's entry says, if it has one.
fn named() -> Option<String<CHECK_BYTES>> {
    select(SIGNATURE);
    if bytes() != *b"QEMU" {
        return None;
    }
    select(DIRECTORY);
    let entries = u32::from_be_bytes(bytes());
    let found = (0..entries).find_map(|_| {
        let (size, [high, low, _, _]) = (u32::from_be_bytes(bytes()), bytes::<4>());
        let name = bytes::<NAME_BYTES>();
        let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
        (name == SWITCHED_OFF.as_bytes()).then_some((size, u16::from_be_bytes([high, low])))
    });
    let (size, selector) = found?;
    select(selector);
    Some((0..size).map(|_| char::from(byte())).collect())
}

fn select(entry: u16) {
    // SAFETY: on every machine that this kernel is for, QEMU's, this is the configuration's selector; to choose has no
    // effect but on what is read from the other port.
    unsafe { Port::new(SELECTOR).write(entry) }
}

fn byte() -> u8 {
    // SAFETY: likewise; to read has no effect but that the next byte comes next.
    unsafe { Port::new(DATA).read() }
}

fn bytes<const COUNT: usize>() -> [u8; COUNT] {
    core::array::from_fn(|_| byte())
}
