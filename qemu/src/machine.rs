//! A typed description of a virtual machine, and QEMU's command line for it.
//!
//! Nothing but what is described is in the machine: QEMU's default devices are off.

use std::fmt;
use std::num::NonZeroU8;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::firmware::Firmware;
use crate::nvme::Controller;

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Chipset.
    pub board: Board,
    /// Processors.
    pub cpus: NonZeroU8,
    /// Processor model, by QEMU's name.
    pub cpu_model: String,
    /// Memory.
    pub memory: Memory,
    /// What executes the instructions.
    pub accelerator: Accelerator,
    /// Count instructions instead of real time.
    pub instruction_count: Option<InstructionCount>,
    /// Firmware.
    pub firmware: Firmware,
    /// NVMe controllers.
    pub controllers: Vec<Controller>,
    /// A disk to boot from that is not on an NVMe controller.
    pub boot_disk: Option<BootDisk>,
    /// An IOMMU between devices and memory.
    pub iommu: Option<Iommu>,
    /// SMBIOS values, as QEMU's `-smbios` takes them.
    pub smbios: Vec<String>,
    /// Trace events to write to a file.
    pub trace: Option<Trace>,
    /// Whether it has a serial port. Without one there is no log: what happened shows on the control socket.
    pub serial_port: bool,
    /// Further QEMU arguments, for what has no type here.
    pub further: Vec<String>,
}

/// A chipset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Board {
    /// PCI Express: configuration space through ECAM.
    #[default]
    Q35,
    /// PCI: configuration space through ports 0xCF8 and 0xCFC only.
    Pc,
}

/// An IOMMU; only q35 has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iommu {
    /// Whether it remaps interrupts as well.
    pub interrupt_remapping: bool,
    /// Whether it remembers what is not there, too.
    pub caching_mode: bool,
    /// How many bits an address has that it translates: 39 or 48.
    pub address_bits: u8,
}

impl Default for Iommu {
    /// As QEMU has it, with interrupt remapping.
    fn default() -> Self {
        Self { interrupt_remapping: true, caching_mode: false, address_bits: 39 }
    }
}

/// What executes the guest's instructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accelerator {
    /// QEMU's translator: works everywhere, repeatable.
    #[default]
    Tcg,
    /// The host's processor, through Linux.
    Kvm,
}

/// Instruction counting: the virtual clock advances by 2^`shift` ns an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionCount {
    /// Exponent, 0 to 10.
    pub shift: u8,
    /// Whether a halted processor waits in real time; otherwise the clock jumps to the next timer.
    pub sleep: bool,
}

/// A disk that the machine boots from when the image is on no NVMe controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootDisk {
    /// The image; changes are not kept.
    pub path: PathBuf,
    /// How it is attached.
    pub bus: BootBus,
}

/// How a boot disk is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum BootBus {
    /// AHCI on q35, IDE on pc.
    Ide,
    /// A virtio block device.
    Virtio,
}

/// Trace events to write to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Names of events; `*` stands for any characters.
    pub events: Vec<String>,
    /// The file, overwritten.
    pub file: PathBuf,
}

/// An amount of memory, whole MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Memory {
    mebibytes: u32,
}

impl Memory {
    /// So many MiB.
    pub const fn mebibytes(mebibytes: u32) -> Self {
        Self { mebibytes }
    }

    /// In bytes.
    pub const fn bytes(self) -> u64 {
        (self.mebibytes as u64) << 20
    }
}

/// Text that is no amount of memory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no amount of memory: a number and M or G, at least 64M, for example 256M")]
pub struct NotMemory(String);

impl FromStr for Memory {
    type Err = NotMemory;

    fn from_str(text: &str) -> Result<Self, NotMemory> {
        let error = || NotMemory(text.to_owned());
        let (number, factor) = if let Some(number) = text.strip_suffix(['M', 'm']) {
            (number, 1)
        } else {
            (text.strip_suffix(['G', 'g']).ok_or_else(error)?, 1024)
        };
        let mebibytes = number.parse::<u32>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(error)?;
        if mebibytes < 64 { Err(error()) } else { Ok(Self { mebibytes }) }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}M", self.mebibytes)
    }
}

/// Doubles commas, which end a value in QEMU's options.
pub(crate) fn escaped(value: &str) -> String {
    value.replace(',', ",,")
}

impl Machine {
    /// A q35 machine with one processor, 256 MiB, and nothing to boot from.
    pub fn new(firmware: Firmware) -> Self {
        Self {
            board: Board::Q35,
            cpus: NonZeroU8::MIN,
            cpu_model: "max".into(),
            memory: Memory::mebibytes(256),
            accelerator: Accelerator::Tcg,
            instruction_count: None,
            firmware,
            controllers: Vec::new(),
            boot_disk: None,
            iommu: None,
            smbios: Vec::new(),
            trace: None,
            serial_port: true,
            further: Vec::new(),
        }
    }

    /// QEMU's arguments. The serial port is on standard output; `control` is the QMP socket that QEMU makes.
    pub fn arguments(&self, control: &Path) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-no-reboot"].map(Into::into).into();
        let mut push = |option: &str, value: String| arguments.extend([option.to_owned(), value]);
        push("-machine", if self.board == Board::Q35 { "q35" } else { "pc" }.into());
        push("-accel", if self.accelerator == Accelerator::Tcg { "tcg" } else { "kvm" }.into());
        push("-cpu", self.cpu_model.clone());
        push("-smp", self.cpus.to_string());
        push("-m", self.memory.to_string());
        if let Some(InstructionCount { shift, sleep }) = self.instruction_count {
            push("-icount", format!("shift={shift},sleep={}", if sleep { "on" } else { "off" }));
        }
        match &self.firmware {
            Firmware::Single(file) => push("-bios", file.to_string_lossy().into_owned()),
            Firmware::Split { code, variables } => {
                let path = |path: &Path| escaped(&path.to_string_lossy());
                push("-drive", format!("if=pflash,unit=0,format=raw,readonly=on,file={}", path(code)));
                push("-drive", format!("if=pflash,unit=1,format=raw,snapshot=on,file={}", path(variables)));
            }
        }
        if self.serial_port {
            push("-chardev", "stdio,id=serial,signal=off".into());
            push("-serial", "chardev:serial".into());
        } else {
            push("-serial", "none".into());
        }
        push("-qmp", format!("unix:{},server=on,wait=off", escaped(&control.to_string_lossy())));
        if let Some(disk) = &self.boot_disk {
            let path = escaped(&disk.path.to_string_lossy());
            push("-drive", format!("if=none,id=boot,format=raw,snapshot=on,file={path}"));
            let device = match disk.bus {
                BootBus::Ide => "ide-hd,bus=ide.0",
                BootBus::Virtio => "virtio-blk-pci",
            };
            push("-device", format!("{device},drive=boot,bootindex=0"));
        }
        if let Some(iommu) = &self.iommu {
            let switch = |on: bool| if on { "on" } else { "off" };
            let device = format!(
                "intel-iommu,intremap={},caching-mode={},aw-bits={}",
                switch(iommu.interrupt_remapping),
                switch(iommu.caching_mode),
                iommu.address_bits
            );
            push("-device", device);
        }
        for value in &self.smbios {
            push("-smbios", value.clone());
        }
        if let Some(trace) = &self.trace {
            for event in &trace.events {
                push("-trace", format!("enable={event}"));
            }
            push("-D", trace.file.to_string_lossy().into_owned());
        }
        for (index, controller) in self.controllers.iter().enumerate() {
            arguments.extend(controller.arguments(index));
        }
        arguments.extend(self.further.iter().cloned());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::Namespace;

    fn single() -> Firmware {
        Firmware::Single("OVMF.fd".into())
    }

    #[test]
    fn the_ordinary_machine() {
        let mut machine = Machine::new(single());
        machine.controllers.push(Controller::new("charter").with(Namespace::file(1, "a,b.img").bootable()));
        assert_eq!(
            machine.arguments(Path::new("/tmp/qmp")).join(" "),
            "-nodefaults -no-user-config -display none -vga none -no-reboot -machine q35 -accel tcg -cpu max -smp 1 \
             -m 256M -bios OVMF.fd -chardev stdio,id=serial,signal=off -serial chardev:serial \
             -qmp unix:/tmp/qmp,server=on,wait=off -device nvme,id=nvme0,serial=charter \
             -drive if=none,id=nvme0-ns1,format=raw,file=a,,b.img,snapshot=on \
             -device nvme-ns,bus=nvme0,drive=nvme0-ns1,nsid=1,logical_block_size=512,physical_block_size=4096,\
             bootindex=0"
        );
    }

    #[test]
    fn every_part_reaches_the_command_line() {
        let machine = Machine {
            board: Board::Pc,
            cpus: NonZeroU8::new(4).unwrap(),
            cpu_model: "qemu64".into(),
            memory: "8G".parse().unwrap(),
            accelerator: Accelerator::Kvm,
            instruction_count: Some(InstructionCount { shift: 6, sleep: false }),
            boot_disk: Some(BootDisk { path: "boot.img".into(), bus: BootBus::Ide }),
            iommu: Some(Iommu { interrupt_remapping: false, caching_mode: true, address_bits: 48 }),
            smbios: vec!["type=3,asset=x".into()],
            trace: Some(Trace { events: vec!["pci_nvme_*".into()], file: "trace.log".into() }),
            serial_port: false,
            further: vec!["-S".into()],
            ..Machine::new(Firmware::Split { code: "CODE.fd".into(), variables: "VARS.fd".into() })
        };
        let line = machine.arguments(Path::new("qmp")).join(" ");
        for part in [
            "-machine pc -accel kvm -cpu qemu64 -smp 4 -m 8192M -icount shift=6,sleep=off",
            "-drive if=pflash,unit=0,format=raw,readonly=on,file=CODE.fd",
            "-drive if=pflash,unit=1,format=raw,snapshot=on,file=VARS.fd",
            "-drive if=none,id=boot,format=raw,snapshot=on,file=boot.img -device ide-hd,bus=ide.0,drive=boot,bootindex=0",
            "-serial none",
            "-device intel-iommu,intremap=off,caching-mode=on,aw-bits=48",
            "-smbios type=3,asset=x",
            "-trace enable=pci_nvme_* -D trace.log",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(line.ends_with(" -S"));
    }

    #[test]
    fn memory_is_read_as_it_is_written() {
        assert_eq!("256M".parse(), Ok(Memory::mebibytes(256)));
        assert_eq!("8G".parse::<Memory>().unwrap().bytes(), 8 << 30);
        for text in ["", "256", "M", "1K", "0M", "32M", "-1G", "9999999G"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
    }
}
