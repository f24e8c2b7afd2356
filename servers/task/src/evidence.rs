//! The machine's evidence, as a task that is granted it reads it.

use abi::evidence::EvidenceError;

/// May read what the machine tells of itself.
#[derive(Clone, Copy, Debug)]
pub struct Evidence {
    bytes: &'static [u8],
}

impl Evidence {
    /// As the kernel maps it.
    #[cfg(target_os = "none")]
    pub(crate) fn granted(address: u64, bytes: u64) -> Self {
        let start = core::ptr::with_exposed_provenance(address as usize);
        // SAFETY: the kernel maps so many bytes there, readable, for the whole life of the task; the UEFI application
        // wrote them before the kernel started, and no page table maps them writable.
        Self { bytes: unsafe { core::slice::from_raw_parts(start, bytes as usize) } }
    }

    /// For tests: there is no machine that tells anything.
    #[cfg(not(target_os = "none"))]
    pub(crate) fn granted(_address: u64, _bytes: u64) -> Self {
        Self { bytes: &[] }
    }

    /// For tests: these bytes.
    #[cfg(not(target_os = "none"))]
    pub fn host(bytes: &'static [u8]) -> Self {
        Self { bytes }
    }

    /// What was collected at this boot.
    ///
    /// # Errors
    /// If the UEFI application collected none, or in another form.
    pub fn open(&self) -> Result<abi::evidence::Evidence<'static>, EvidenceError> {
        abi::evidence::Evidence::open(self.bytes)
    }
}
