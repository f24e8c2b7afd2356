//! The IPC buffer, by copy: no reference to it ever exists, because the kernel writes it too.

use abi::layout::IPC_BUFFER_BYTES;

/// Copies bytes into the buffer, from offset `at`.
///
/// # Panics
/// If they do not fit: callers check lengths first.
#[inline]
pub(crate) fn write(at: usize, bytes: &[u8]) {
    assert!(at <= IPC_BUFFER_BYTES && bytes.len() <= IPC_BUFFER_BYTES - at, "beyond the IPC buffer");
    #[cfg(target_os = "none")]
    // SAFETY: the kernel maps IPC_BUFFER_BYTES readable and writable bytes there for the whole life of the task, the
    // range was checked, no reference to them exists, and `bytes` cannot lie in them for the same reason.
    unsafe {
        core::ptr::copy_nonoverlapping(bytes.as_ptr(), pointer().add(at), bytes.len());
    }
    #[cfg(not(target_os = "none"))]
    crate::host::with_buffer(|buffer| buffer[at..at + bytes.len()].copy_from_slice(bytes));
}

/// Copies bytes out of the start of the buffer, and makes them initialized.
///
/// # Panics
/// If there are not so many.
#[inline]
pub(crate) fn read(bytes: &mut [core::mem::MaybeUninit<u8>]) {
    assert!(bytes.len() <= IPC_BUFFER_BYTES, "beyond the IPC buffer");
    #[cfg(target_os = "none")]
    // SAFETY: as for `write`; the destination is a valid slice of bytes for writing.
    unsafe {
        core::ptr::copy_nonoverlapping(pointer(), bytes.as_mut_ptr().cast(), bytes.len());
    }
    #[cfg(not(target_os = "none"))]
    crate::host::with_buffer(|buffer| {
        for (place, byte) in bytes.iter_mut().zip(buffer) {
            place.write(*byte);
        }
    });
}

/// As [`read`], into bytes that are initialized already.
pub(crate) fn read_into(bytes: &mut [u8]) {
    assert!(bytes.len() <= IPC_BUFFER_BYTES, "beyond the IPC buffer");
    #[cfg(target_os = "none")]
    // SAFETY: as for `write`; the destination is a valid slice of bytes for writing.
    unsafe {
        core::ptr::copy_nonoverlapping(pointer(), bytes.as_mut_ptr(), bytes.len());
    }
    #[cfg(not(target_os = "none"))]
    crate::host::with_buffer(|buffer| bytes.copy_from_slice(&buffer[..bytes.len()]));
}

#[cfg(target_os = "none")]
#[inline(always)]
fn pointer() -> *mut u8 {
    core::ptr::with_exposed_provenance_mut(abi::layout::IPC_BUFFER as usize)
}
