//! Commands at random: right ones, and right ones with something changed.

use hostile::driver::Means;
use hostile::random::Random;
use nvme_spec::admin::{QueueCounts, feature, log};
use nvme_spec::identify::Structure;
use nvme_spec::nvm::{BlockRange, COMPARE, DATASET_MANAGEMENT, DatasetRange, READ, VERIFY, WRITE, WRITE_ZEROES};
use nvme_spec::{BROADCAST_NSID, SubmissionEntry};

/// The namespace that is granted, and one that is not.
const NSID: u32 = 2;
const FOREIGN_NSID: u32 = 3;
/// Blocks from 0 on that may be written, and that may be read: `qemu/tests/charters/hostile.toml`.
const WRITABLE: u64 = 1024;
const READABLE: u64 = 5120;
/// First of the blocks where nothing but Read and Flush is listed.
const LISTED: u64 = 8192;
/// Entries of every I/O queue.
const ENTRIES: u32 = 128;
/// How many commands, in hundredths, have something changed.
const CHANGED: u64 = 40;

/// A command for a queue, with this identifier.
pub fn command(random: &mut Random, means: &Means, queue: u16, identifier: u16) -> SubmissionEntry {
    let right = if queue == 0 { admin(random, means, identifier) } else { io(random, means, identifier) };
    if random.percent(CHANGED) { change(random, right) } else { right }
}

fn io(random: &mut Random, means: &Means, identifier: u16) -> SubmissionEntry {
    let opcode =
        random.of(&[READ, READ, READ, READ, WRITE, WRITE, COMPARE, VERIFY, WRITE_ZEROES, DATASET_MANAGEMENT, 0]);
    if opcode == 0 {
        return SubmissionEntry::flush(identifier, NSID);
    }
    if opcode == DATASET_MANAGEMENT {
        let ranges = if random.percent(90) { 1 + random.below(4) } else { random.below(64) };
        let entry = SubmissionEntry::deallocate(identifier, NSID, ranges as usize);
        return if random.percent(90) { entry } else { SubmissionEntry { dword11: 0.into(), ..entry } };
    }
    let count = if random.percent(98) { 1 + random.below(8) } else { 1 + random.below(1024) };
    let blocks = if matches!(opcode, WRITE | WRITE_ZEROES) || random.percent(80) { WRITABLE } else { READABLE };
    let limits = if blocks == READABLE { WRITABLE } else { 0 };
    let first = limits + random.below((blocks - limits).saturating_sub(count).max(1));
    let (first, count) = if random.percent(2) { (LISTED, 1 + random.below(8)) } else { (first, count) };
    let entry = SubmissionEntry::on_blocks(opcode, identifier, NSID, BlockRange { first, count: count as u32 });
    if !matches!(opcode, READ | WRITE | COMPARE) {
        return entry;
    }
    let room = means.data.window.bytes().saturating_sub(count * 512).max(4);
    entry.with_data(random.below(room) & !3, means.data.region.into())
}

/// Four ranges for Dataset Management, most of them right.
pub fn ranges(random: &mut Random) -> [u8; 64] {
    let mut unit = [0; 64];
    for place in unit.chunks_exact_mut(DatasetRange::BYTES) {
        let first = random.below(WRITABLE - 8);
        let first = if random.percent(95) { first } else { random.of(&[WRITABLE, READABLE, u64::MAX, 1 << 40]) };
        let blocks = if random.percent(97) { 1 + random.below(8) as u32 } else { random.of(&[0, u32::MAX]) };
        let attributes = u32::from(random.percent(1));
        place[..4].copy_from_slice(&attributes.to_le_bytes());
        place[4..8].copy_from_slice(&blocks.to_le_bytes());
        place[8..].copy_from_slice(&first.to_le_bytes());
    }
    unit
}

fn admin(random: &mut Random, means: &Means, identifier: u16) -> SubmissionEntry {
    let queue = 1 + random.below(2) as u16;
    match random.below(16) {
        0 => SubmissionEntry::identify(identifier, Structure::Controller, 0),
        1..=3 => SubmissionEntry::identify(identifier, Structure::Namespace, random.of(&[NSID, NSID, FOREIGN_NSID, 0])),
        4 => SubmissionEntry::identify(identifier, Structure::ActiveNamespaces, random.below(4) as u32),
        5 => SubmissionEntry::get_log_page(identifier, log::HEALTH, log::HEALTH_BYTES),
        6 => SubmissionEntry::get_log_page(identifier, log::ERRORS, random.of(&[64, 128, 512, 4096])),
        7 => SubmissionEntry::get_log_page(identifier, random.below(16) as u8, random.of(&[64, 512, 4096])),
        8 => SubmissionEntry::get_feature(identifier, feature::NUMBER_OF_QUEUES),
        9 => SubmissionEntry::get_feature(identifier, random.below(16) as u8),
        10 => SubmissionEntry::set_feature(identifier, feature::VOLATILE_WRITE_CACHE, random.below(3) as u32),
        11 => SubmissionEntry::abort(identifier, queue, random.below(64) as u16),
        12 => {
            let vector = if random.percent(80) { means.vector } else { random.below(70) as u16 };
            SubmissionEntry::create_completion_queue(identifier, queue, ENTRIES, vector)
        }
        13 => SubmissionEntry::create_submission_queue(identifier, queue, ENTRIES, queue),
        // The first queue's commands are mostly in flight.
        14 if random.percent(60) => SubmissionEntry::delete_submission_queue(identifier, queue),
        14 => SubmissionEntry::delete_completion_queue(identifier, 2),
        _ => SubmissionEntry::set_number_of_queues(
            identifier,
            QueueCounts { submission: 1 + random.below(4) as u32, completion: 1 + random.below(4) as u32 },
        ),
    }
}

/// One field becomes another: a bit of it, an edge, or anything.
fn change(random: &mut Random, entry: SubmissionEntry) -> SubmissionEntry {
    let offset = [0, 0xfee0_0000, 1 << 20, u64::MAX - 3, 4096_u64.wrapping_neg(), (1 << 20) - 256, 1 << 63];
    match random.below(13) {
        12 => SubmissionEntry { dword10: (!0).into(), dword11: (!0).into(), ..entry },
        0 => SubmissionEntry { opcode: random.next() as u8, ..entry },
        1 => SubmissionEntry { flags: 1 << random.below(8), ..entry },
        2 => SubmissionEntry { identifier: (random.next() as u16).into(), ..entry },
        3 => SubmissionEntry { nsid: random.of(&[0, 1, FOREIGN_NSID, 77, BROADCAST_NSID]).into(), ..entry },
        4 => SubmissionEntry { metadata_pointer: random.of(&offset).into(), ..entry },
        5 => SubmissionEntry { prp1: random.of(&offset).into(), ..entry },
        6 => SubmissionEntry { prp2: random.of(&[1, 2, 1 << 32, u64::MAX]).into(), ..entry },
        7 => SubmissionEntry { dword10: (random.next() as u32).into(), ..entry },
        8 => SubmissionEntry { dword11: random.of(&[1, 4, 0x1_0001, 0xffff_ffff]).into(), ..entry },
        9 => SubmissionEntry { dword12: (entry.dword12.get() ^ 1 << random.below(32)).into(), ..entry },
        10 => SubmissionEntry { dword10: (entry.dword10.get() ^ 1 << random.below(32)).into(), ..entry },
        _ => {
            let mut bytes = entry.to_bytes();
            bytes[random.below(64) as usize] ^= 1 << random.below(8);
            SubmissionEntry::from_bytes(bytes)
        }
    }
}
