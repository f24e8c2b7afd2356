//! The UEFI application that starts the kernel: the parts that need no firmware, so that they are tested on the host.
//!
//! One PE file carries everything: this application, and as two further sections, packed, the kernel's ELF file and the
//! boot package. The application finds them in its own image ([`image`]), unpacks them ([`packed`](mod@packed)), checks the kernel's
//! segments ([`kernel`]), builds the page tables that [`abi::handoff`] describes ([`paging`], [`layout`]), turns
//! firmware's memory map into the kernel's ([`memory`]), collects evidence of what the machine is ([`evidence`]), and
//! leaves firmware. What talks to firmware and to the processor is the binary beside this library.
#![no_std]
#![forbid(unsafe_code)]

pub mod evidence;
pub mod image;
pub mod kernel;
pub mod layout;
pub mod memory;
pub mod paging;

/// Bytes of a page, as an index type.
pub const PAGE: usize = abi::layout::PAGE_BYTES as usize;
