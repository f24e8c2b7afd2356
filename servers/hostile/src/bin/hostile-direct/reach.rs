//! Memory that is not its own: the controller is told to reach for it, and the IOMMU blocks it.

use nvme_spec::SubmissionEntry;
use nvme_spec::admin::log::HEALTH;
use nvme_spec::nvm::BlockRange;
use task::Stop;

use super::controller::{BRIEFLY, LIST, OWN_PAGE, On, PATIENTLY};
use super::{Hostile, PAGE, VECTOR, identify};

/// The memory that the machine of the test has, in bytes.
const MEMORY: u64 = 256 << 20;
/// Where that machine's device registers may lie, and bytes from there on. The range of interrupts, which IOMMUs treat on
/// their own, is left out, and so are the controller's own, which QEMU's refuses by itself.
const REGISTERS: [(u64, u64); 4] =
    [(0xfe00_0000, 0xe0_0000), (0xfef0_0000, 0x10_0000), (0x8_0000_0000, 0x10_0000), (0xe0_0000_4000, 0xf_c000)];
/// Blocks of a read that needs a PRP list: three pages.
const LONG: u32 = 24;

/// Data before, behind and across the ends of what is its own, and where something else may be.
pub fn data(hostile: &mut Hostile) -> Result<(), Stop> {
    let (region, bytes, rings) = (hostile.region, hostile.bytes, hostile.controller.rings_at());
    for (name, first, second) in [
        ("data-before-region", region - PAGE, 0),
        ("data-behind-region", region + bytes, 0),
        ("data-far-behind-region", region + bytes + (1 << 20), 0),
        ("data-across-region-end", region + bytes - PAGE / 2, region + bytes),
        ("data-before-rings", rings - PAGE, 0),
        ("data-behind-rings", rings + hostile.controller.ring_bytes(), 0),
        ("data-at-page-0", 0, 0),
        ("data-at-kernel", 0x10_0000, 0),
        ("data-at-top-half", 0xffff_ffff_8000_0000, 0),
        ("data-beyond-the-domain", 1 << 47, 0),
    ] {
        let ran = hostile.controller.run(On::Admin, [identify(first, second)], PATIENTLY)?;
        hostile.reached_for(name, if second == 0 { first } else { second }, ran);
    }
    Ok(())
}

/// Every page of memory, and of where registers may be, the other controller's MSI-X table among them: by the addresses
/// that they have without an IOMMU. It is also a storm of what the IOMMU has to record.
pub fn sweep(hostile: &mut Hostile) -> Result<(), Stop> {
    let registers = REGISTERS.map(|(first, bytes)| ("sweep-registers", first, bytes));
    for (name, first, bytes) in [("sweep-memory", 0, MEMORY)].into_iter().chain(registers) {
        let pages = (0..bytes).step_by(PAGE as usize);
        // One word each: QEMU's IOMMU blocks word by word.
        let word = SubmissionEntry::get_log_page(0, HEALTH, 4);
        let commands = pages.map(|offset| word.with_data(first + offset, 0));
        let ran = hostile.controller.run(On::Admin, commands, PATIENTLY)?;
        hostile.reached_for(name, first, ran);
    }
    Ok(())
}

/// PRP lists that are elsewhere, and entries of its own list that lead elsewhere. Each command is waited for: QEMU's
/// controller must not be reset while it moves data page by page.
pub fn lists(hostile: &mut Hostile) -> Result<(), Stop> {
    let (region, bytes, rings) = (hostile.region, hostile.bytes, hostile.controller.rings_at());
    hostile.controller.create_io_queues(VECTOR)?;
    let read = SubmissionEntry::read(0, 2, BlockRange { first: 0, count: LONG });
    for (name, list) in [
        ("list-behind-region", region + bytes),
        ("list-at-page-0", 0),
        ("list-at-kernel", 0x20_0000),
        ("list-before-rings", rings - PAGE),
    ] {
        let ran = hostile.controller.run(On::Io, [read.with_data(region, list)], PATIENTLY)?;
        hostile.reached_for(name, list, ran);
    }
    for (name, target) in [("entry-behind-region", region + bytes), ("entry-at-kernel", 0x30_0000)] {
        for entry in 0..u64::from(LONG) / 8 {
            hostile.controller.set_word(LIST + entry * 8, target);
        }
        let ran = hostile.controller.run(On::Io, [read.with_data(region, rings + LIST)], PATIENTLY)?;
        hostile.reached_for(name, target, ran);
    }
    Ok(())
}

/// Queues that are elsewhere: the controller fetches commands from there, and puts completions there.
pub fn queues(hostile: &mut Hostile) -> Result<(), Stop> {
    let (behind, rings) = (hostile.region + hostile.bytes + PAGE, hostile.controller.rings_at());
    for (name, submission, completion, address) in [
        ("submission-queue-behind-region", behind, rings + PAGE, behind),
        ("submission-queue-at-kernel", 0x40_0000, rings + PAGE, 0x40_0000),
        ("completion-queue-behind-region", rings, behind, behind),
        ("completion-queue-at-kernel", rings, 0x50_0000, 0x50_0000),
    ] {
        hostile.controller.disable()?;
        hostile.controller.enable_with(submission, completion)?;
        let ran = hostile.controller.run(On::Admin, [identify(rings + OWN_PAGE, 0)], BRIEFLY)?;
        hostile.reached_for(name, address, ran);
    }
    hostile.reset()
}
