//! Registers: those that hold addresses, those that reset, doorbells, the MSI-X table in the same BAR, and every other.

use abi::system_call::Number;
use hostile::driver::ENABLE;
use hostile::{Answer, Tally};
use nvme_spec::SubmissionEntry;
use nvme_spec::identify::Structure;
use nvme_spec::registers::{
    ACQ, AQA, ASQ, BPMBL, BPRSEL, CAP, CC, CMBLOC, CMBMSC, CSTS, DOORBELLS, INTMC, INTMS, NSSR, NSSR_RESET, VS,
};
use task::Stop;

use super::device::Device;

/// Persistent memory region control and its address (base 2.0, 3.1.3.22 and following).
const PMRCTL: u32 = 0xe04;
const PMRMSCL: u32 = 0xe14;
/// QEMU's controller has its MSI-X table there in the same BAR.
const MSIX_TABLE: u32 = 0x2000;
/// Bytes of the BAR, as QEMU has it.
const BAR_BYTES: u64 = 0x4000;
/// An address that would do harm: the local APIC's, which makes an interrupt of a write.
const HARM: u64 = 0xfee0_0000;

/// Each register that holds an address or has an effect of its own: its name, and its width in bytes.
const REGISTERS: [(&str, u32, u64); 18] = [
    ("intms", INTMS, 4),
    ("intmc", INTMC, 4),
    ("nssr", NSSR, 4),
    ("aqa", AQA, 4),
    ("asq", ASQ, 8),
    ("acq", ACQ, 8),
    ("cmbloc", CMBLOC, 4),
    ("bprsel", BPRSEL, 4),
    ("bpmbl", BPMBL, 8),
    ("cmbmsc", CMBMSC, 8),
    ("pmrctl", PMRCTL, 4),
    ("pmrmscl", PMRMSCL, 4),
    ("admin-tail", DOORBELLS, 4),
    ("admin-head", DOORBELLS + 4, 4),
    ("own-tail", DOORBELLS + 8, 4),
    ("foreign-tail", DOORBELLS + 24, 4),
    ("msix-address", MSIX_TABLE, 8),
    ("msix-data", MSIX_TABLE + 8, 4),
];

/// Before the controller is enabled.
pub fn controller_off(device: &Device) {
    every_register(device, "off");
    let shutdown = |bits: u64| Answer::frame(&device.call(Number::DeviceWrite, [CC.into(), 4, bits]));
    device.tell_all("cc-shutdown-while-disabled", [1 << 14, 2 << 14, 1 << 14 | 1].map(shutdown));
    device.attempt("submit-while-disabled", 0, SubmissionEntry::identify(1, Structure::Controller, 0));
    device.tell("complete-while-disabled", Answer::frame(&device.call(Number::DeviceComplete, [0, 0, 0])));
    device.tell("collect-while-disabled", Answer::frame(&device.call(Number::DeviceCollect, [0, 1, 0])));
}

/// After it was enabled.
pub fn controller_on(device: &Device) {
    every_register(device, "on");
    for (name, register, bytes) in REGISTERS {
        let read = device.call(Number::DeviceRead, [register.into(), bytes, 0]);
        let value = if register == NSSR { NSSR_RESET.into() } else { HARM };
        let write = device.call(Number::DeviceWrite, [register.into(), bytes, value]);
        let mut line = heapless::String::<32>::new();
        // Every name is short enough.
        let _ = core::fmt::Write::write_fmt(&mut line, format_args!("register-{name}"));
        device.tell_all(&line, [&read, &write].map(Answer::frame));
    }
    for (name, register) in [("cap", CAP), ("vs", VS), ("csts", CSTS)] {
        let mut line = heapless::String::<32>::new();
        let _ = core::fmt::Write::write_fmt(&mut line, format_args!("write-{name}"));
        device.tell(&line, Answer::frame(&device.call(Number::DeviceWrite, [register.into(), 4, !0])));
    }
    // All bits but EN and SHN are the broker's: the register reads as it wrote it.
    let others = !(3 << 14) & u64::from(u32::MAX);
    let write = Answer::frame(&device.call(Number::DeviceWrite, [CC.into(), 4, others]));
    device.tell("cc-other-fields", write);
    let is_authored = device.means.registers.read_u32(CC) == Ok(ENABLE);
    device.tell("cc-other-fields-seen", Answer::word(if is_authored { "none" } else { "some" }));
    device.tell("cc-shutdown-reserved", Answer::frame(&device.call(Number::DeviceWrite, [CC.into(), 4, 3 << 14 | 1])));
    let widths = [0, 1, 2, 8, 16, 255].map(|bytes| device.call(Number::DeviceWrite, [CC.into(), bytes, 0]));
    device.tell_all("cc-other-width", widths.iter().map(Answer::frame));
    device.tell("cc-beyond-32-bits", Answer::frame(&device.call(Number::DeviceWrite, [CC.into(), 4, 1 << 32])));
    let far = [1 << 32, (1 << 32) + u64::from(CC), 1 << 63, u64::MAX - 3];
    let reads = far.iter().map(|offset| Answer::frame(&device.call(Number::DeviceRead, [*offset, 4, 0])));
    device.tell_all("read-beyond-32-bits", reads);
    let writes = far.iter().map(|offset| Answer::frame(&device.call(Number::DeviceWrite, [*offset, 4, 0])));
    device.tell_all("write-beyond-32-bits", writes);
    let widths = [256, 1 << 32, u64::MAX].map(|bytes| device.call(Number::DeviceRead, [CSTS.into(), bytes, 0]));
    device.tell_all("read-wide", widths.iter().map(Answer::frame));
}

/// Writes every register but CC, and reads every one but those on the list, at every offset of the BAR and after it.
fn every_register(device: &Device, state: &str) {
    let (mut reads, mut writes) = (Tally::default(), Tally::default());
    let near = (0..BAR_BYTES + 64).step_by(4);
    for offset in near.chain([u64::from(u32::MAX) - 7, u64::from(u32::MAX) - 3]) {
        let listed = [CAP, VS, CC, CSTS].map(u64::from).contains(&offset);
        for bytes in [4, 8] {
            if !listed {
                reads.add(Answer::frame(&device.call(Number::DeviceRead, [offset, bytes, 0])));
            }
            if offset != u64::from(CC) {
                writes.add(Answer::frame(&device.call(Number::DeviceWrite, [offset, bytes, !0])));
            }
        }
    }
    let off = state == "off";
    reads.tell(device.means.log, if off { "read-every-register-off" } else { "read-every-register-on" });
    writes.tell(device.means.log, if off { "write-every-register-off" } else { "write-every-register-on" });
}

/// What a controller that was told to shut down takes: nothing.
pub fn shut_down(device: &Device) -> Result<(), Stop> {
    // With it comes what else is in CC: nothing of that is the driver's either.
    device.means.registers.write_u32(CC, !(3 << 14) | 1 << 14)?;
    let is_authored = device.means.registers.read_u32(CC) == Ok(ENABLE | 1 << 14);
    device.tell("cc-other-fields-with-shutdown", Answer::word(if is_authored { "none" } else { "some" }));
    device.attempt("submit-after-shutdown", 0, SubmissionEntry::identify(1, Structure::Controller, 0));
    device.attempt("transfer-after-shutdown", 1, device.read(1, 0, 1, 0));
    Ok(())
}
