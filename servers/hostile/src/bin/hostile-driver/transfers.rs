//! I/O queues: addresses, lengths, blocks and directions that are not granted, and what is done while commands are in
//! flight.

use hostile::driver::pause;
use hostile::{Answer, pattern};
use nvme_spec::nvm::{
    ATTRIBUTE_DEALLOCATE, BLOCKS_MAX, BlockRange, COMPARE, DATASET_MANAGEMENT, DatasetRange, FLUSH, READ, VERIFY,
    WRITE, WRITE_ZEROES,
};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};
use task::Stop;

use super::device::{Device, END, FOREIGN_NSID, LISTED, NOT_GRANTED, NSID, READ_ONLY, SALT, SCRATCH};

const OPCODES: [u8; 7] = [FLUSH, READ, WRITE, COMPARE, VERIFY, WRITE_ZEROES, DATASET_MANAGEMENT];
/// Those that move data to or from a region.
const MOVING: [u8; 3] = [READ, WRITE, COMPARE];
/// Those that name blocks in the command.
const BLOCKS: [u8; 5] = [READ, WRITE, COMPARE, VERIFY, WRITE_ZEROES];
/// Those that change blocks.
const CHANGING: [u8; 2] = [WRITE, WRITE_ZEROES];
/// An address that would do harm.
const HARM: u64 = 0xfee0_0000;
/// Commands of the interrupt flood.
const FLOOD: u32 = 4096;

/// A command on granted blocks, with data where it has some.
fn good(opcode: u8, nsid: u32, first: u64, count: u32) -> SubmissionEntry {
    SubmissionEntry::on_blocks(opcode, 1, nsid, BlockRange { first, count })
}

/// Before the broker has learned of namespace and controller: neither block size nor longest transfer is known.
pub fn before_anything_is_known(device: &mut Device) -> Result<(), Stop> {
    device.attempt_each("namespace-not-identified", 1, BLOCKS.map(|opcode| good(opcode, NSID, 0, 1)));
    device.identify_namespace()?;
    device.attempt_each("controller-not-identified", 1, MOVING.map(|opcode| good(opcode, NSID, 0, 1)));
    device.identify_controller()
}

pub fn attempts(device: &mut Device) -> Result<(), Stop> {
    let others = (0..=u8::MAX).filter(|opcode| !OPCODES.contains(opcode));
    device.attempt_each(
        "io-opcodes",
        1,
        others.flat_map(|opcode| [good(opcode, NSID, 0, 1), good(opcode, NSID, 0, 1).with_data(HARM, HARM)]),
    );
    memory(device);
    blocks(device);
    fields(device);
    deallocation(device);
    Ok(())
}

/// Places that are not in the region: before it, behind it, across its ends, and what an address would be.
fn memory(device: &Device) {
    let bytes = device.means.data.window.bytes();
    let each = |name, offset: u64, region: u64, count: u32| {
        let commands = MOVING.map(|opcode| good(opcode, NSID, 0, count).with_data(offset, region));
        device.attempt_each(name, 1, commands);
    };
    each("data-behind-region", bytes, 0, 1);
    each("data-far-behind-region", bytes + (1 << 20), 0, 1);
    each("data-across-region-end", bytes - 508, 0, 1);
    each("data-long-across-region-end", bytes - 4096, 0, 16);
    each("data-before-region", 4096_u64.wrapping_neg(), 0, 1);
    each("data-across-region-start", 256_u64.wrapping_neg(), 0, 1);
    each("data-length-wraps", u64::MAX - 3, 0, BLOCKS_MAX >> 8);
    each("data-at-apic", HARM, 0, 1);
    each("data-at-kernel", 0x10_0000 + bytes, 0, 1);
    each("data-at-top-half", 0xffff_ffff_8000_0000, 0, 1);
    each("data-unaligned", 1, 0, 1);
    for region in [1, 7, 0xffff_ffff, 1 << 63, u64::MAX] {
        each("data-in-foreign-region", 0, region, 1);
    }
}

/// Blocks that are not granted, not there, or not for writing.
fn blocks(device: &Device) {
    let each = |name, opcodes: &[u8], nsid: u32, first: u64, count: u32| {
        device.attempt_each(name, 1, opcodes.iter().map(|opcode| good(*opcode, nsid, first, count)));
    };
    each("blocks-not-granted", &BLOCKS, NSID, NOT_GRANTED, 1);
    each("blocks-across-the-grants-end", &BLOCKS, NSID, NOT_GRANTED - 1, 2);
    each("blocks-across-two-limits", &BLOCKS, NSID, READ_ONLY - 1, 2);
    each("blocks-beyond-the-disk", &BLOCKS, NSID, END, 1);
    each("blocks-wrap", &BLOCKS, NSID, u64::MAX, 2);
    each("write-to-read-only-blocks", &CHANGING, NSID, READ_ONLY, 8);
    each("command-not-listed", &[WRITE, COMPARE, VERIFY, WRITE_ZEROES], NSID, LISTED, 8);
    each("command-listed-elsewhere", &BLOCKS, NSID, LISTED + 63, 2);
    each("transfer-too-long", &[READ, COMPARE], NSID, READ_ONLY, 1025);
    each("foreign-namespace", &BLOCKS, FOREIGN_NSID, 0, 1);
    each("no-namespace", &BLOCKS, 0, 0, 1);
    each("namespace-not-there", &BLOCKS, 77, 0, 1);
    each("broadcast-namespace", &BLOCKS, BROADCAST_NSID, 0, 1);
    device.attempt("flush-every-namespace", 1, SubmissionEntry::flush(1, BROADCAST_NSID));
    device.attempt_each(
        "flush-foreign-namespace",
        1,
        [FOREIGN_NSID, 0, 77].map(|nsid| SubmissionEntry::flush(1, nsid)),
    );
}

/// Flags, reserved fields and pointers.
fn fields(device: &Device) {
    let commands = BLOCKS.map(|opcode| good(opcode, NSID, 0, 1));
    let each = |name, change: &dyn Fn(SubmissionEntry) -> SubmissionEntry| {
        device.attempt_each(name, 1, commands.map(change).into_iter().chain([change(SubmissionEntry::flush(1, NSID))]));
    };
    each("io-fused", &|entry| SubmissionEntry { flags: 1, ..entry });
    each("io-fused-second", &|entry| SubmissionEntry { flags: 2, ..entry });
    each("io-scatter-gather-list", &|entry| SubmissionEntry { flags: 0x40, ..entry });
    each("io-scatter-gather-metadata", &|entry| SubmissionEntry { flags: 0x80, ..entry });
    each("io-metadata-pointer", &|entry| SubmissionEntry { metadata_pointer: HARM.into(), ..entry });
    each("io-reserved-dwords", &|entry| SubmissionEntry { dword2: 1.into(), ..entry });
    each("io-protection-information", &|entry| entry.with_dword12(0xf << 26));
    each("io-directive", &|entry| entry.with_dword12(1 << 20));
    each("io-directive-value", &|entry| SubmissionEntry { dword13: (1 << 16).into(), ..entry });
    each("io-reference-tag", &|entry| SubmissionEntry { dword14: 1.into(), ..entry });
    each("io-application-tag", &|entry| SubmissionEntry { dword15: 1.into(), ..entry });
    let without = [VERIFY, WRITE_ZEROES].map(|opcode| good(opcode, NSID, 0, 1).with_data(HARM, 0));
    device.attempt_each("data-pointer-without-data", 1, without);
    device.attempt("flush-with-data-pointer", 1, SubmissionEntry::flush(1, NSID).with_data(HARM, 0));
}

/// Dataset Management: its ranges are a payload.
fn deallocation(device: &Device) {
    let submit = |command: SubmissionEntry, ranges: &[(u64, u32, u32)]| {
        let mut units = [[0; 64]; 1 + 64];
        units[0] = command.to_bytes();
        for (index, (first, blocks, attributes)) in ranges.iter().enumerate() {
            let at = index % 4 * DatasetRange::BYTES;
            let unit = &mut units[1 + index / 4];
            unit[at..at + 4].copy_from_slice(&attributes.to_le_bytes());
            unit[at + 4..at + 8].copy_from_slice(&blocks.to_le_bytes());
            unit[at + 8..at + 16].copy_from_slice(&first.to_le_bytes());
        }
        let count = 1 + ranges.len().div_ceil(4);
        Answer::submission(&device.means.registers.submit(1, &units[..count]))
    };
    let one = |first, blocks| submit(SubmissionEntry::deallocate(1, NSID, 1), &[(first, blocks, 0)]);
    device.tell("deallocate-blocks-not-granted", one(NOT_GRANTED, 1));
    device.tell("deallocate-read-only-blocks", one(READ_ONLY, 8));
    device.tell("deallocate-not-listed", one(LISTED, 8));
    device.tell("deallocate-beyond-the-disk", one(END, 1));
    device.tell("deallocate-wraps", one(u64::MAX, 2));
    device.tell("deallocate-no-blocks", one(0, 0));
    let second = [(0, 1, 0), (NOT_GRANTED, 1, 0)];
    device.tell("deallocate-second-range", submit(SubmissionEntry::deallocate(1, NSID, 2), &second));
    device.tell("deallocate-range-attributes", submit(SubmissionEntry::deallocate(1, NSID, 1), &[(0, 1, 1)]));
    let command = SubmissionEntry::deallocate(1, NSID, 1);
    device.tell("deallocate-without-ranges", submit(command, &[]));
    device.tell("deallocate-too-many-ranges", submit(SubmissionEntry::deallocate(1, NSID, 33), &[(0, 1, 0); 33]));
    device.tell("deallocate-data-pointer", submit(command.with_data(HARM, 0), &[(0, 1, 0)]));
    let none = SubmissionEntry { dword11: 0.into(), ..command };
    device.tell("deallocate-without-attribute", submit(none, &[(0, 1, 0)]));
    let hints = [1, 2, 3, ATTRIBUTE_DEALLOCATE | 1].map(|bits| SubmissionEntry { dword11: bits.into(), ..command });
    device.tell_all("deallocate-other-attributes", hints.map(|command| submit(command, &[(0, 1, 0)])));
    device.tell("deallocate-foreign-namespace", submit(SubmissionEntry::deallocate(1, FOREIGN_NSID, 1), &[(0, 1, 0)]));
    device.tell("deallocate-broadcast", submit(SubmissionEntry::deallocate(1, BROADCAST_NSID, 1), &[(0, 1, 0)]));
}

/// While a command is in flight, which it is until its completion was taken: its identifier, its slot and its queue
/// are in use.
pub fn in_flight(device: &mut Device) -> Result<(), Stop> {
    let read = device.read(9, 0, 1, 0);
    device.tell("allowed-read", device.submit(1, read));
    device.attempt("identifier-in-flight", 1, read);
    let renamed = (1..1024).map(|sequence| SubmissionEntry { identifier: (sequence << 6 | 9).into(), ..read });
    device.attempt_each("slot-in-flight", 1, renamed);
    let both = [read.to_bytes(); 2];
    let twice = both.map(|command| SubmissionEntry { identifier: 10.into(), ..SubmissionEntry::from_bytes(command) });
    let submission = device.means.registers.submit(1, &twice.map(SubmissionEntry::to_bytes));
    device.tell("identifier-twice-in-one-submission", Answer::submission(&submission));
    device.attempt("delete-queue-with-commands", 0, SubmissionEntry::delete_submission_queue(1, 1));
    let ends = [9, 10];
    let mut taken = 0;
    while taken < ends.len() {
        taken += device.take(1)?;
        pause();
    }
    device.attempt("abort-what-has-ended", 0, SubmissionEntry::abort(1, 1, 9));
    Ok(())
}

/// A command is changed after it was submitted, where the driver can: in its message. What was submitted is done, and
/// nothing else.
pub fn rewritten(device: &mut Device) -> Result<(), Stop> {
    let window = device.means.data.window;
    let (target, other) = (SCRATCH / 2, SCRATCH / 2 + 4096);
    pattern::fill(&window, SALT, target, 8192)?;
    let honest = device.read(20, 0, 8, target);
    let accepted = device.submit(1, honest);
    // Each of these writes the message anew, at once, where the first one was.
    for sequence in 1..64 {
        let changed = device.read(sequence << 6 | 20, 8, 8, other);
        device.submit(1, changed);
    }
    device.tell("rewritten-command", accepted);
    let status = device.ended(1, 20)?;
    let is_read = pattern::wrong(&window, SALT, target, 4096)? > 0;
    let is_other_whole = pattern::wrong(&window, SALT, other, 4096)? == 0;
    let as_submitted = status.is_success() && is_read && is_other_whole;
    device.tell("rewritten-command-seen", Answer::word(if as_submitted { "as-submitted" } else { "changed" }));
    Ok(())
}

/// As many interrupts as the controller can send, and none of them waited for.
pub fn flood(device: &mut Device) -> Result<(), Stop> {
    let (mut submitted, mut ended) = (0, 0);
    let mut refused = None;
    while ended < FLOOD && refused.is_none() {
        if submitted < FLOOD {
            let slot = (submitted % 64) as u16;
            match device.submit(1, device.read(slot, u64::from(submitted % 1024), 1, u64::from(slot) * 512)) {
                Answer::OK => submitted += 1,
                // Its slot is in use: 33.
                answer if answer == Answer::word("invalid").because(33) => {}
                answer => refused = Some(answer),
            }
        }
        ended += device.take(1)? as u32;
    }
    device.tell("interrupt-flood", refused.unwrap_or(Answer::OK));
    Ok(())
}
