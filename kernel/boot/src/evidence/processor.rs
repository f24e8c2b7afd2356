//! CPUID's hypervisor leaves: 0x40000000 and the following belong to the hypervisor by common custom (Intel and AMD keep
//! them free); one that imitates another puts its own at the next multiple of 0x100.

use abi::evidence::{Item, Topic};

use super::unavailable;

/// CPUID leaf 1, ECX: a hypervisor is there.
const HYPERVISOR: u32 = 1 << 31;
/// Where a hypervisor's leaves may begin.
const BASES: [u32; 3] = [0x4000_0000, 0x4000_0100, 0x4000_0200];
/// The hypervisor's name where Hyper-V's interface is offered: leaves 1 to 3 then say which, which build, and what is
/// allowed (Hypervisor Top Level Functional Specification, 2.4).
const HYPERV: &[u8; 12] = b"Microsoft Hv";

/// Adds what the hypervisor's leaves hold. `cpuid` gives `eax`, `ebx`, `ecx`, `edx` of a leaf.
pub fn collect(cpuid: impl Fn(u32) -> [u32; 4], mut add: impl FnMut(Item)) {
    let mut leaf = |leaf: u32| add(Item::Processor { leaf, registers: cpuid(leaf) });
    let [_, _, features, _] = cpuid(1);
    leaf(1);
    if features & HYPERVISOR == 0 {
        add(unavailable(Topic::Processor, None, "CPUID shows no hypervisor"));
        return;
    }
    for base in BASES {
        let [last, name @ ..] = cpuid(base);
        // Beyond its last leaf a processor may answer with any other leaf's values.
        if !is_name(name) || !(last == 0 || (base..base + 0x100).contains(&last)) {
            continue;
        }
        leaf(base);
        if bytes(name) == *HYPERV {
            (1..=3).filter(|more| base + more <= last).for_each(|more| leaf(base + more));
        }
    }
}

/// A hypervisor's name, from `ebx`, `ecx` and `edx` of its first leaf.
fn bytes(name: [u32; 3]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (place, word) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(name) {
        *place = word.to_le_bytes();
    }
    bytes
}

fn is_name(name: [u32; 3]) -> bool {
    let bytes = bytes(name);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    let is_text = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    end >= 3 && bytes[..end].iter().all(is_text) && bytes[end..].iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    extern crate std;
    use std::vec::Vec;

    fn named(last: u32, name: &[u8; 12]) -> [u32; 4] {
        let word = |at: usize| u32::from_le_bytes(*name[at..].first_chunk().unwrap());
        [last, word(0), word(4), word(8)]
    }

    fn leaves(cpuid: impl Fn(u32) -> [u32; 4]) -> Vec<u32> {
        let mut seen = Vec::new();
        collect(cpuid, |item| match item {
            Item::Processor { leaf, .. } => seen.push(leaf),
            other => assert_eq!(other, unavailable(Topic::Processor, None, "CPUID shows no hypervisor")),
        });
        seen
    }

    #[test]
    fn hyperv_tells_more() {
        let cpuid = |leaf| match leaf {
            1 => [0, 0, HYPERVISOR, 0],
            0x4000_0000 => named(0x4000_000c, HYPERV),
            _ => [leaf, 0, 0, 0],
        };
        assert_eq!(leaves(cpuid), [1, 0x4000_0000, 0x4000_0001, 0x4000_0002, 0x4000_0003]);
    }

    #[test]
    fn a_hypervisor_that_imitates_another_is_seen_behind_it() {
        let cpuid = |leaf| match leaf {
            1 => [0, 0, HYPERVISOR, 0],
            0x4000_0000 => named(0x4000_0001, HYPERV),
            0x4000_0100 => named(0x4000_0101, b"KVMKVMKVM\0\0\0"),
            _ => [0; 4],
        };
        assert_eq!(leaves(cpuid), [1, 0x4000_0000, 0x4000_0001, 0x4000_0100]);
    }

    #[test]
    fn what_is_no_hypervisors_leaf_is_left_out() {
        let other = |leaf| match leaf {
            1 => [0, 0, HYPERVISOR, 0],
            0x4000_0000 => named(0x4000_0001, b"TCGTCGTCGTCG"),
            _ => [0x7, 0x340, 0x340, 0],
        };
        assert_eq!(leaves(other), [1, 0x4000_0000]);
        assert_eq!(leaves(|_| named(0x4000_0001, HYPERV)), [1], "the bit in leaf 1 is not set by this name");
    }
}
