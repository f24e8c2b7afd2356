//! What QEMU traces of its IOMMU, line by line.

/// A request of a device that was blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blocked {
    /// Whose it was: bus, device and function.
    pub requester: u64,
    /// First address of the page.
    pub page: u64,
    /// Whether it was to write.
    pub write: bool,
}

/// The requests that were blocked, in order (QEMU's event `vtd_dmar_fault`).
pub fn blocked(trace: &str) -> impl Iterator<Item = Blocked> {
    trace.lines().filter(|line| line.contains("vtd_dmar_fault ")).map(|line| {
        let number = |key| number(line, key).unwrap_or_else(|| panic!("no {key} in {line}"));
        let write = line.trim_end().ends_with("write 1");
        Blocked { requester: number("sid"), page: number("addr") & !0xfff, write }
    })
}

/// The number after this word in a line.
pub fn number(line: &str, key: &str) -> Option<u64> {
    let digits = line.split(&format!("{key} 0x")).nth(1)?.split(|c: char| !c.is_ascii_hexdigit()).next()?;
    u64::from_str_radix(digits, 16).ok()
}
