//! Identify through `EFI_NVM_EXPRESS_PASS_THRU_PROTOCOL` (UEFI 2.10, 13.15): firmware's driver sends the command. The
//! `uefi` crate's wrapper needs an allocator, which this application does without.

use core::ptr::NonNull;

use abi::evidence::{Item, Topic};
use abi::system_call::PciAddress;
use boot::PAGE;
use boot::evidence::{identify, unavailable};
use nvme_spec::identify::Structure;
use uefi::Status;
use uefi::proto::unsafe_protocol;
use uefi_raw::protocol::nvme::{
    NvmExpressCommand, NvmExpressCommandCdwValidity, NvmExpressCompletion, NvmExpressPassThruCommandPacket,
    NvmExpressPassThruProtocol, NvmExpressQueueType,
};

/// Most namespaces of a controller that are told of.
const NAMESPACES_MAX: usize = 16;
/// Identify's opcode (NVMe base 2.0, 5.17).
const IDENTIFY: u32 = 0x06;
/// How long a command may take, in units of 100 ns: one second.
const TIMEOUT: u64 = 10_000_000;

/// A controller that firmware has started.
#[repr(transparent)]
#[unsafe_protocol(NvmExpressPassThruProtocol::GUID)]
pub struct PassThru(NvmExpressPassThruProtocol);

/// One page that devices write to. It is never freed: a command that timed out may still write it.
pub struct Buffer {
    page: NonNull<u8>,
}

impl Buffer {
    /// # Safety
    /// The page is nobody else's, for ever.
    pub unsafe fn new(page: NonNull<u8>) -> Self {
        Self { page }
    }
}

/// Adds what the controller and its namespaces say.
pub fn identify(
    protocol: &mut PassThru,
    address: PciAddress,
    buffer: &mut Buffer,
    add: &mut impl FnMut(Item),
) -> Result<(), &'static str> {
    let mut active = [0; NAMESPACES_MAX];
    let (told, count) = namespaces(protocol, buffer, &mut active)?;
    let data = protocol.ask(Structure::Controller, 0, buffer)?;
    add(identify::controller(address, data, count).ok_or("Identify's answer is too short")?);
    for nsid in &active[..told] {
        let data = protocol.ask(Structure::Namespace, *nsid, buffer)?;
        if let Some(item) = identify::namespace(address, *nsid, data) {
            add(item);
        }
    }
    if usize::try_from(count).is_ok_and(|count| count > told) {
        add(unavailable(Topic::Identify, Some(address), "more namespaces than are told of"));
    }
    Ok(())
}

/// Puts active namespaces into `active`, and returns how many it put there and how many there are. A controller without
/// the list (before NVMe 1.1) has its identifiers counted up to the highest
/// one, or to as many as are told of.
fn namespaces(
    protocol: &mut PassThru,
    buffer: &mut Buffer,
    active: &mut [u32; NAMESPACES_MAX],
) -> Result<(usize, u32), &'static str> {
    let mut fill = |found: &mut dyn Iterator<Item = u32>| {
        let (mut told, mut count) = (0, 0);
        for nsid in found {
            count += 1;
            if let Some(place) = active.get_mut(told) {
                *place = nsid;
                told += 1;
            }
        }
        (told, count)
    };
    match protocol.ask(Structure::ActiveNamespaces, 0, buffer) {
        Ok(data) => return Ok(fill(&mut identify::list(data))),
        Err(REFUSED) => {}
        Err(reason) => return Err(reason),
    }
    let data = protocol.ask(Structure::Controller, 0, buffer)?;
    let highest = identify::highest_namespace(data).ok_or("Identify's answer is too short")?;
    Ok(fill(&mut (1..=highest.min(NAMESPACES_MAX as u32))))
}

/// The device, or firmware, does not execute the command.
const REFUSED: &str = "Identify was refused";

impl PassThru {
    /// Sends Identify, and gives what the device answered.
    fn ask<'b>(&mut self, structure: Structure, nsid: u32, buffer: &'b mut Buffer) -> Result<&'b [u8], &'static str> {
        // SAFETY: the page is the buffer's alone, and no command that was sent earlier is still under way: after one
        // that timed out nothing more is asked of this controller; if that one still writes here, later data is wrong
        // and nothing else.
        unsafe { buffer.page.write_bytes(0, PAGE) };
        let command = NvmExpressCommand {
            cdw0: IDENTIFY,
            flags: NvmExpressCommandCdwValidity::CDW_10.bits(),
            nsid,
            cdw10: structure as u32,
            ..Default::default()
        };
        let mut completion = NvmExpressCompletion::default();
        let mut packet = NvmExpressPassThruCommandPacket {
            command_timeout: TIMEOUT,
            transfer_buffer: buffer.page.as_ptr().cast(),
            transfer_length: PAGE as u32,
            meta_data_buffer: core::ptr::null_mut(),
            meta_data_length: 0,
            queue_type: NvmExpressQueueType::ADMIN,
            nvme_cmd: &raw const command,
            nvme_completion: &raw mut completion,
        };
        // SAFETY: the interface is firmware's, and what the packet names lives until it returns; the buffer is a page of
        // its own, which satisfies every alignment that a controller with pages of 4 KiB asks for. Without an event the
        // call returns when the command has ended.
        let status = unsafe { (self.0.pass_thru)(&raw mut self.0, nsid, &raw mut packet, core::ptr::null_mut()) };
        match status {
            // SAFETY: the command has ended, so the device writes the page no more; it was zeroed, so all of it is
            // initialized, and the borrow of the buffer keeps it from being given away again.
            Status::SUCCESS => Ok(unsafe { core::slice::from_raw_parts(buffer.page.as_ptr(), PAGE) }),
            Status::TIMEOUT => Err("Identify timed out"),
            Status::DEVICE_ERROR | Status::UNSUPPORTED | Status::INVALID_PARAMETER => Err(REFUSED),
            _ => Err("firmware could not send Identify"),
        }
    }
}
