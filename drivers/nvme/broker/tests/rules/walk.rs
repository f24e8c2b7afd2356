//! What a controller touches for a command, derived from the specification and from nothing of the broker.

/// A range of physical memory: first address, bytes.
pub type Range = (u64, u64);

const PAGE: u64 = 4096;

/// Follows the PRP entries of a transfer (base 2.0, 4.1.1). `read` reads a list entry at a physical address.
/// Returns the data's ranges and the list's.
pub fn prp(prp1: u64, prp2: u64, bytes: u64, mut read: impl FnMut(u64) -> u64) -> (Vec<Range>, Vec<Range>) {
    let first = bytes.min(PAGE - prp1 % PAGE);
    let mut data = vec![(prp1, first)];
    let mut lists = Vec::new();
    let mut rest = bytes - first;
    if rest == 0 {
        return (data, lists);
    }
    if rest <= PAGE {
        assert_eq!(prp2 % PAGE, 0, "PRP entry 2 is not on a page");
        data.push((prp2, rest));
        return (data, lists);
    }
    let mut at = prp2;
    assert_eq!(at % 8, 0, "PRP list is not on a quadword");
    while rest > 0 {
        let last_in_page = at % PAGE == PAGE - 8;
        lists.push((at, 8));
        let entry = read(at);
        assert_eq!(entry % PAGE, 0, "PRP list entry is not on a page");
        assert!(!(last_in_page && rest > PAGE), "PRP list is chained");
        data.push((entry, rest.min(PAGE)));
        rest -= rest.min(PAGE);
        at += 8;
    }
    (data, lists)
}

/// Whether `inner` lies in one of `outer`.
pub fn lies_in(inner: Range, outer: &[Range]) -> bool {
    outer.iter().any(|(base, bytes)| inner.0 >= *base && inner.0 + inner.1 <= base + bytes)
}

/// Whether two ranges share a byte.
pub fn overlap(left: Range, right: Range) -> bool {
    left.0 < right.0 + right.1 && right.0 < left.0 + left.1
}

#[test]
fn the_walk_finds_every_page_of_a_list() {
    let (data, lists) = prp(0x1004, 0x9000, 3 * 4096, |at| 0x10_0000 + (at - 0x9000) / 8 * 0x2000);
    assert_eq!(data, [(0x1004, 4092), (0x10_0000, 4096), (0x10_2000, 4096), (0x10_4000, 4)]);
    assert_eq!(lists.len(), 3);
}

#[test]
#[should_panic(expected = "chained")]
fn the_walk_notices_a_chained_list() {
    prp(0x1000, 0x9ff8, 4 * 4096, |_| 0x2000);
}
