//! Its own device: what commands and registers can do with it, nobody forbids on this lane. What they reach for beyond
//! its memory, the IOMMU blocks.

use hostile::{Answer, pattern};
use nvme_spec::SubmissionEntry;
use nvme_spec::admin::feature::{HOST_MEMORY_BUFFER, TIMESTAMP};
use nvme_spec::admin::{
    ASYNCHRONOUS_EVENT_REQUEST, CREATE_COMPLETION_QUEUE, CREATE_SUBMISSION_QUEUE, DELETE_COMPLETION_QUEUE,
    DELETE_SUBMISSION_QUEUE, DOORBELL_BUFFER_CONFIG,
};
use nvme_spec::nvm::{BlockRange, WRITE};
use nvme_spec::registers::{ACQ, AQA, ASQ, BPMBL, BPRSEL, CC, CMBMSC, DOORBELLS, INTMC, INTMS, NSSR, NSSR_RESET};
use task::Stop;

use super::controller::{BRIEFLY, OWN_PAGE, On, PATIENTLY};
use super::{Hostile, SALT, VECTOR, identify};

/// Persistent memory region control and its address (base 2.0, 3.1.3.22 and following).
const PMRCTL: u32 = 0xe04;
const PMRMSCL: u32 = 0xe14;
/// Low memory, where kernel and tasks lie.
const KERNEL: u32 = 0x70_0000;
/// Doorbells behind those of the queues that there are: of two more pairs.
const FOREIGN_DOORBELLS: [u32; 4] = [DOORBELLS + 16, DOORBELLS + 20, DOORBELLS + 24, DOORBELLS + 28];
/// Admin opcodes that change queues, or end only when something happens, or are tried on their own.
const LEFT_OUT: [u8; 6] = [
    DELETE_SUBMISSION_QUEUE,
    CREATE_SUBMISSION_QUEUE,
    DELETE_COMPLETION_QUEUE,
    CREATE_COMPLETION_QUEUE,
    ASYNCHRONOUS_EVENT_REQUEST,
    DOORBELL_BUFFER_CONFIG,
];
/// Namespaces: the one that the other lane grants a part of, and the one that it does not.
const NSID: u32 = 2;
const OTHER_NSID: u32 = 3;
/// Entries of the MSI-X table that are others', or nobody's. QEMU's controller has 65.
const FOREIGN_VECTORS: [u16; 3] = [2, 7, 64];
/// How many interrupts a flood asks for.
const FLOOD: u32 = 4096;

/// What the controller reaches for because of each opcode, and of features that hold addresses.
pub fn opcodes(hostile: &mut Hostile) -> Result<(), Stop> {
    let reach = |hostile: &mut Hostile, name, on, address: u64, commands: &mut dyn Iterator<Item = SubmissionEntry>| {
        let ran = hostile.controller.run(on, commands, PATIENTLY)?;
        hostile.reached_for(name, address, ran);
        Ok::<_, Stop>(())
    };
    let at = |page: u64| u64::from(KERNEL) + page * super::PAGE;
    let with = |opcode, page| SubmissionEntry::new(opcode, 0, NSID).with_data(at(page), 0);
    let admin = (0..=u8::MAX).filter(|opcode| !LEFT_OUT.contains(opcode));
    reach(hostile, "admin-opcodes", On::Admin, at(0), &mut admin.map(|opcode| with(opcode, 0)))?;
    let io = 0..=u8::MAX;
    reach(hostile, "io-opcodes", On::Io, at(1), &mut io.map(|opcode| with(opcode, 1)))?;
    let set = SubmissionEntry::set_feature(0, TIMESTAMP, 0).with_data(at(2), 0);
    reach(hostile, "set-timestamp", On::Admin, at(2), &mut [set].into_iter())?;
    let get = SubmissionEntry::get_feature(0, TIMESTAMP).with_data(at(3), 0);
    reach(hostile, "get-timestamp", On::Admin, at(3), &mut [get].into_iter())?;
    let buffer = SubmissionEntry {
        dword12: 1.into(),
        dword13: KERNEL.into(),
        dword15: 1.into(),
        ..SubmissionEntry::set_feature(0, HOST_MEMORY_BUFFER, 1)
    };
    hostile.controller.run(On::Admin, [buffer], PATIENTLY)?;
    hostile.still_its_own("host-memory-buffer")?;

    // From then on the controller takes doorbells from there, and finds zero: it goes through the rings once more, which
    // hold nothing but zeros, because it was just reset.
    hostile.reset()?;
    hostile.controller.create_io_queues(VECTOR)?;
    let shadow = SubmissionEntry::new(DOORBELL_BUFFER_CONFIG, 0, 0).with_data(at(4), at(5));
    let ran = hostile.controller.run(On::Admin, [shadow], BRIEFLY)?;
    hostile.controller.run(On::Io, [SubmissionEntry::flush(0, NSID)], BRIEFLY)?;
    hostile.reached_for("doorbell-buffer", at(4), ran);
    hostile.reset()
}

/// Registers that hold addresses, reset, or ring; the controller is on. After each it still reaches its own page.
pub fn registers(hostile: &mut Hostile) -> Result<(), Stop> {
    for (name, writes) in [
        ("register-intms", &[(INTMS, u32::MAX)][..]),
        ("register-intmc", &[(INTMC, u32::MAX)]),
        ("register-nssr", &[(NSSR, NSSR_RESET)]),
        ("register-cmbmsc", &[(CMBMSC + 4, 0), (CMBMSC, KERNEL | 3)]),
        ("register-bprsel", &[(BPMBL + 4, 0), (BPMBL, KERNEL), (BPRSEL, 1)]),
        ("register-pmrctl", &[(PMRMSCL + 4, 0), (PMRMSCL, KERNEL | 2), (PMRCTL, 1)]),
        ("register-aqa", &[(AQA, 0x0fff_0fff)]),
        ("register-asq", &[(ASQ, KERNEL), (ASQ + 4, 0)]),
        ("register-acq", &[(ACQ, KERNEL), (ACQ + 4, 0)]),
        ("doorbell-foreign-queue", &FOREIGN_DOORBELLS.map(|doorbell| (doorbell, 1))),
        ("doorbell-beyond-the-ring", &[(DOORBELLS, 0xffff), (DOORBELLS + 4, 0xffff), (DOORBELLS + 8, 0xffff_ffff)]),
    ] {
        for (register, value) in writes {
            hostile.controller.registers().write_u32(*register, *value);
        }
        hostile.still_its_own(name)?;
    }
    hostile.reset()
}

/// Each register that is mapped is written, but for the one that resets the controller and those that must then be right;
/// doorbells of queues that do not exist among them.
pub fn every_register(hostile: &mut Hostile, name: &str) {
    let registers = hostile.controller.registers();
    for offset in (0..registers.bytes()).step_by(4) {
        let is_kept = offset == CC || (ASQ..ACQ + 8).contains(&offset);
        if !is_kept && !(DOORBELLS..DOORBELLS + 8).contains(&offset) {
            registers.write_u32(offset, u32::MAX);
        }
    }
    hostile.tell(name, Answer::word("written"));
}

/// Completions on entries of the MSI-X table that are not granted: they are masked, and the table is not mapped.
pub fn foreign_vectors(hostile: &mut Hostile) -> Result<(), Stop> {
    let mut ended = 0;
    for vector in FOREIGN_VECTORS {
        hostile.controller.create_io_queues(vector)?;
        ended += hostile.controller.run(On::Io, [SubmissionEntry::flush(0, NSID)], PATIENTLY)?.ended;
        hostile.reset()?;
    }
    let all = ended as usize == FOREIGN_VECTORS.len();
    hostile.tell("vector-not-granted", Answer::word(if all { "ended" } else { "lost" }));
    Ok(())
}

/// Commands that are changed after they were submitted: the controller does one or the other.
pub fn rewritten(hostile: &mut Hostile) -> Result<(), Stop> {
    let own = identify(hostile.controller.rings_at() + OWN_PAGE, 0);
    let mut ended = 0;
    for round in 0..64 {
        let at = hostile.controller.push(On::Admin, own)?;
        hostile.controller.submit(On::Admin);
        hostile.controller.put(at, identify(u64::from(KERNEL) + (16 + round) * super::PAGE, 0))?;
        ended += hostile.controller.take(On::Admin, 1, PATIENTLY)?;
    }
    hostile.tell("rewritten-command", Answer::word(if ended == 64 { "ended" } else { "lost" }));
    Ok(())
}

/// As many interrupts as the controller can send, and none of them waited for.
pub fn flood(hostile: &mut Hostile) -> Result<(), Stop> {
    let region = hostile.region;
    let reads = (0..FLOOD).map(|number| {
        let range = BlockRange { first: u64::from(number % 1024), count: 1 };
        SubmissionEntry::read(0, NSID, range).with_data(region + u64::from(number % 64) * 512, 0)
    });
    let ran = hostile.controller.run(On::Io, reads, PATIENTLY)?;
    hostile.tell("interrupt-flood", Answer::word(if ran.ended == FLOOD { "ok" } else { "lost" }));
    Ok(())
}

/// A namespace that the other lane's grant does not name: here the whole device is granted. Its first block becomes the
/// beginning of the region's pattern.
pub fn other_namespace(hostile: &mut Hostile) -> Result<(), Stop> {
    pattern::fill(&hostile.window, SALT, 0, 512)?;
    let range = BlockRange { first: 0, count: 1 };
    let write = SubmissionEntry::on_blocks(WRITE, 0, OTHER_NSID, range).with_data(hostile.region, 0);
    let ran = hostile.controller.run(On::Io, [write], PATIENTLY)?;
    hostile.tell("foreign-namespace", Answer::word(if ran.ended == 1 { "ok" } else { "lost" }));
    Ok(())
}
