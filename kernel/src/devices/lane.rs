//! Which lane the commands of a device take that an IOMMU was seen to hold, and handing it over.
//!
//! *Brokered* is every lane that nothing speaks against less. *Direct*: the driver has the registers mapped, and rings of
//! its own in the memory that is the broker's on the other lane. The IOMMU does not read commands, so this is for a grant
//! of the whole device only; and a page of registers is mapped only if nothing else is in it.
//!
//! The kernel keeps bus mastering, the MSI-X table, configuration space, and its own mapping of the registers, by which it
//! stops the device when its driver has stopped.

use abi::layout::{DIRECT_REGISTERS, DIRECT_STRIDE, PAGE_BYTES};
use abi::package::Limit;
use broker::Device;

use super::confinement::Holder;
use crate::platform::pci::bar::MemoryBar;

/// Bytes of rings that are zeroed in one entry of the kernel.
const ZEROED_AT_ONCE: u32 = 0x2000;
/// Time between two looks whether the IOMMU has forgotten, in nanoseconds.
const LOOK_AGAIN: u64 = 100_000;
/// Longest time for it, in nanoseconds.
const PATIENCE: u64 = 1_000_000_000;

/// Why a device has the lane that it has: one word for the log each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// Direct: the grant is the whole device.
    #[error("whole-device")]
    WholeDevice,
    /// Brokered: somebody has to read commands.
    #[error("grant-limited")]
    GrantLimited,
    /// Brokered: its broker knows of no driver that could.
    #[error("no-direct-driver")]
    NoDirectDriver,
    /// Brokered: something else is in a page of the registers that a driver needs, the MSI-X table or another BAR, or the
    /// registers do not begin on a page.
    #[error("register-page-shared")]
    RegisterPageShared,
    /// Brokered: the registers or rings that it needs are more than a task has room for.
    #[error("too-large")]
    TooLarge,
}

/// Bytes of a BAR, whole pages from its first on, in which there is nothing but its registers. `reserved` are ranges of it
/// that hold the MSI-X table and pending bits, `others` where other BARs of the machine begin.
pub(super) fn own_pages(bar: MemoryBar, reserved: &[(u32, u32)], others: impl Iterator<Item = u64>) -> u32 {
    if !bar.address.is_multiple_of(PAGE_BYTES) {
        return 0;
    }
    let inside = others.filter_map(|other| other.checked_sub(bar.address).filter(|offset| *offset < bar.bytes));
    let first = reserved.iter().map(|(first, _)| u64::from(*first)).chain(inside).min();
    let end = first.unwrap_or(bar.bytes).min(bar.bytes).min(u32::MAX.into());
    (end - end % PAGE_BYTES) as u32
}

/// What speaks for and against the direct lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    /// What the charter grants.
    pub limits: &'a [Limit],
    /// See [`own_pages`].
    pub own_pages: u32,
    /// Bytes of registers that a driver needs; `None` if there is none that could.
    pub needed: Option<u32>,
    /// Bytes of memory for rings.
    pub ring_bytes: u32,
}

/// The bytes of registers to be mapped for the direct lane, of a device that is held; or why it is brokered.
pub(super) fn choose(facts: &Facts<'_>) -> Result<u32, Reason> {
    if !facts.limits.iter().any(Limit::is_whole_device) {
        return Err(Reason::GrantLimited);
    }
    let needed = facts.needed.ok_or(Reason::NoDirectDriver)?;
    let bytes = needed.checked_next_multiple_of(PAGE_BYTES as u32).ok_or(Reason::TooLarge)?;
    let (registers_max, rings_max) = (DIRECT_STRIDE - DIRECT_REGISTERS, DIRECT_REGISTERS);
    if u64::from(bytes) > registers_max || u64::from(facts.ring_bytes) > rings_max {
        return Err(Reason::TooLarge);
    }
    if bytes > facts.own_pages {
        return Err(Reason::RegisterPageShared);
    }
    Ok(bytes)
}

/// How far handing a device over has come that has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandOver {
    /// Nothing was done.
    Begin,
    /// The IOMMU was told to forget what it remembers, and to let nothing of before be on its way; it has until then, in
    /// nanoseconds.
    Forgetting(u64),
    /// The rings, in which its driver's earlier life may have left something, are zero up to here.
    Zeroing(u32),
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Come again at this time, in nanoseconds.
    Again(u64),
    /// Bus mastering and interrupts are on, the driver may use it.
    Done,
    /// The IOMMU did not forget in its time.
    Failed,
}

impl HandOver {
    /// Has the IOMMU forget what it remembers, and let nothing of before be on its way: it is done once it has. The bus
    /// mastering of the device is off.
    pub(super) fn drain(&mut self, holder: &mut impl Holder, now: u64) -> Step {
        match *self {
            Self::Begin | Self::Zeroing(_) => {
                holder.forget();
                *self = Self::Forgetting(now.saturating_add(PATIENCE));
                Step::Again(now)
            }
            Self::Forgetting(_) if holder.is_settled() => Step::Done,
            Self::Forgetting(end) if now >= end => Step::Failed,
            Self::Forgetting(_) => Step::Again(now.saturating_add(LOOK_AGAIN)),
        }
    }

    /// Goes on, with the device stopped. Begins anew after it was done.
    pub(super) fn go_on(
        &mut self,
        device: &mut impl Device,
        ring_bytes: u32,
        holder: &mut impl Holder,
        now: u64,
    ) -> Step {
        match *self {
            Self::Begin | Self::Forgetting(_) => match self.drain(holder, now) {
                Step::Done => {
                    *self = Self::Zeroing(0);
                    Step::Again(now)
                }
                other => other,
            },
            Self::Zeroing(from) if from < ring_bytes => {
                const ZEROES: [u8; 512] = [0; 512];
                let end = (from + ZEROED_AT_ONCE).min(ring_bytes);
                for offset in (from..end).step_by(ZEROES.len()) {
                    device.write_hidden(offset, &ZEROES);
                }
                *self = Self::Zeroing(end);
                Step::Again(now)
            }
            Self::Zeroing(_) => {
                *self = Self::Begin;
                // Before the driver can enable the device: what it would send earlier may be lost.
                device.set_interrupts(true);
                device.set_bus_mastering(true);
                Step::Done
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FACTS: Facts<'_> =
        Facts { limits: &[Limit::WHOLE_DEVICE], own_pages: 0x2000, needed: Some(0x1018), ring_bytes: 0x3_0000 };

    #[test]
    fn each_thing_that_speaks_against_the_direct_lane_has_its_reason() {
        assert_eq!(choose(&FACTS), Ok(0x2000));
        let limited = [
            Limit { namespace: Some(1), ..Limit::WHOLE_DEVICE },
            Limit { first_block: 1, ..Limit::WHOLE_DEVICE },
            Limit { blocks: Some(u64::MAX), ..Limit::WHOLE_DEVICE },
            Limit { writable: false, ..Limit::WHOLE_DEVICE },
        ];
        for limit in limited {
            assert_eq!(choose(&Facts { limits: &[limit], ..FACTS }), Err(Reason::GrantLimited), "{limit:?}");
        }
        assert_eq!(choose(&Facts { limits: &limited, ..FACTS }), Err(Reason::GrantLimited), "not even all of them");
        assert_eq!(choose(&Facts { limits: &[], ..FACTS }), Err(Reason::GrantLimited));
        assert_eq!(choose(&Facts { limits: &[limited[3], Limit::WHOLE_DEVICE], ..FACTS }), Ok(0x2000));
        assert_eq!(choose(&Facts { needed: None, ..FACTS }), Err(Reason::NoDirectDriver));
        assert_eq!(choose(&Facts { own_pages: 0x1000, ..FACTS }), Err(Reason::RegisterPageShared));
        assert_eq!(choose(&Facts { own_pages: 0, ..FACTS }), Err(Reason::RegisterPageShared));
        for needed in [0x1_0001, u32::MAX] {
            let facts = Facts { needed: Some(needed), own_pages: 0xffff_f000, ..FACTS };
            assert_eq!(choose(&facts), Err(Reason::TooLarge), "{needed:#x}");
        }
        assert_eq!(choose(&Facts { ring_bytes: 0x3_1000, ..FACTS }), Err(Reason::TooLarge));
    }

    #[test]
    fn pages_of_which_anything_else_is_in_are_not_the_drivers() {
        let bar = MemoryBar { address: 0xfebf_0000, bytes: 0x4000 };
        let own = |reserved: &[(u32, u32)], others: &[u64]| own_pages(bar, reserved, others.iter().copied());
        assert_eq!(own(&[], &[]), 0x4000);
        // QEMU's controller: table and pending bits behind the doorbells.
        assert_eq!(own(&[(0x2000, 0x410), (0x3000, 8)], &[]), 0x2000);
        assert_eq!(own(&[(0x3000, 8), (0x1ff0, 0x10)], &[]), 0x1000);
        assert_eq!(own(&[(0x800, 0x10)], &[]), 0);
        assert_eq!(own(&[], &[0xfebe_ffff, 0xfebf_4000, 0x1000]), 0x4000);
        assert_eq!(own(&[], &[0xfebf_1800]), 0x1000);
        assert_eq!(own(&[], &[0xfebf_0000]), 0, "another BAR at the same place");
        let small = MemoryBar { address: 0xfebf_0400, bytes: 0x400 };
        assert_eq!(own_pages(small, &[], [].into_iter()), 0);
        let short = MemoryBar { address: 0xfebf_0000, bytes: 0x800 };
        assert_eq!(own_pages(short, &[], [].into_iter()), 0, "the rest of its page is not its own");
    }
}
