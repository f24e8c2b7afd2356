//! The kernel's features that are for tests only. A kernel that has one says so in its file ([`MARK`]), so that the image
//! builder refuses it for a product, and in the log of each boot. There are two, and no product depends on them.

/// What a kernel's file holds for each such feature that it has: this, the feature's name, and a zero.
pub const MARK: &str = "charter kernel features: ";
/// Makes faults in tasks ([`crate::faults`]).
pub const TEST_FAULTS: &str = "test-faults";
/// Does without one of its checks, which the machine names.
pub const TEST_MUTANTS: &str = "test-mutants";
/// The entry of QEMU's firmware configuration that names the check.
pub const SWITCHED_OFF: &str = "opt/charter/switched-off";

/// Checks, where a kernel is compiled, that its mark is of this feature.
///
/// # Panics
/// If it is not.
pub const fn check_mark(mark: &[u8], feature: &str) {
    let (start, name) = (MARK.as_bytes(), feature.as_bytes());
    assert!(mark.len() == start.len() + name.len() + 1 && mark[mark.len() - 1] == 0);
    let mut at = 0;
    while at + 1 < mark.len() {
        assert!(mark[at] == if at < start.len() { start[at] } else { name[at - start.len()] });
        at += 1;
    }
}
