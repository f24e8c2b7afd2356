//! System calls with arguments at random.

use abi::layout::{IPC_BUFFER, PAGE_BYTES};
use abi::system_call::{MESSAGE_WORDS, Number};
use hostile::driver::Means;
use hostile::random::Random;
use nvme_spec::registers::CC;
use task::{Frame, system_call};

/// Arguments where a check could go wrong.
const EDGES: [u64; 20] = [
    0,
    1,
    4,
    8,
    0x14,
    0x1c,
    0x28,
    48,
    49,
    63,
    64,
    65,
    PAGE_BYTES,
    PAGE_BYTES + 1,
    u32::MAX as u64,
    1 << 32,
    1 << 63,
    IPC_BUFFER,
    0xffff_ffff_8000_0000,
    u64::MAX,
];

/// Makes one. Those are left out that end this task, and that would only fill the log.
pub fn make(random: &mut Random, means: &Means) {
    let own = [means.registers.handle(), means.requests.handle(), means.log.handle()].map(u64::from);
    let handle = match random.below(4) {
        0 => random.below(32),
        1 => random.of(&EDGES),
        _ => random.of(&own),
    };
    let code = if random.percent(95) { random.below(27) } else { random.next() };
    let third = random.of(&EDGES);
    let (third, fourth) = match Number::new(code) {
        Some(Number::Exit) => return,
        Some(Number::Log) if handle == own[2] => return,
        // Taking completions is for the loop, which must know of them, and so is switching the controller off.
        Some(Number::DeviceComplete) if handle == own[0] => return,
        // A deadline that has passed: otherwise it might wait for ever.
        Some(Number::Call | Number::ReplyReceive | Number::SignalReceive | Number::PostReceive) => {
            (random.below(2), random.of(&own))
        }
        // Commands would come from what lies in the message's buffer: they are counted in the loop.
        Some(Number::DeviceSubmit) if handle == own[0] => (65 + random.below(100), 0),
        _ => (third, random.next()),
    };
    let second = if random.percent(50) { random.of(&EDGES) } else { random.next() >> random.below(64) };
    let words = [random.next(); MESSAGE_WORDS];
    if code == Number::DeviceWrite as u64 && handle == own[0] && second == u64::from(CC) {
        return;
    }
    system_call(Frame { code, arguments: [handle, second, third, fourth], words });
}
