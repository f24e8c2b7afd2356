//! What the command line takes.

use std::ffi::OsString;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use qemu::firmware::{Firmware, FirmwareError, Style};
use qemu::machine::{Accelerator, Board, BootBus, BootDisk, Iommu, Machine, Memory};
use qemu::nvme::{Contents, Controller, Namespace};
use qemu::process::DEFAULT_PROGRAM;

/// Starts Charter images in QEMU.
#[derive(Debug, Parser)]
#[command(name = "qemu", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot an image and show its serial log
    ///
    /// The machine is laid out as Azure lays out disks: one NVMe controller, whose namespace 1 is the system image that
    /// it boots from and whose namespace 2 is the data disk. Returns 0 after the line `charter: boot complete`, and 1
    /// with the reason as soon as it is certain that this line will not come.
    #[command(after_help = "Examples:\n  \
        qemu run --image build/charter.img --disk build/disk.img\n  \
        qemu run --image build/charter.img --disk build/disk.img --keep --memory 1G --cpus 4\n  \
        qemu run --image build/charter.img --boot ide        a machine without any NVMe device\n  \
        qemu run --image build/charter.img --show-command    QEMU's command line, without starting it")]
    Run(Box<RunOptions>),
    /// Make the demonstration data disk, if it is not there
    ///
    /// 64 MiB with a GUID partition table and pseudo-random contents that are the same everywhere.
    Disk {
        /// Where
        path: PathBuf,
    },
}

/// Which machine, and for how long.
#[derive(Debug, Args)]
pub struct RunOptions {
    /// The system image
    #[arg(long, value_name = "FILE")]
    pub image: PathBuf,
    /// The data disk: namespace 2 of the NVMe controller
    #[arg(long, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// Keep what the system writes; otherwise both images stay as they are
    #[arg(long)]
    pub write: bool,
    /// Boot from this kind of disk instead of from NVMe
    #[arg(long, value_name = "BUS")]
    pub boot: Option<BootBus>,
    /// Memory
    #[arg(long, default_value = "256M", value_name = "SIZE")]
    pub memory: Memory,
    /// Processors
    #[arg(long, default_value = "1", value_name = "NUMBER")]
    pub cpus: NonZeroU8,
    /// Chipset
    #[arg(long, default_value = "q35", value_name = "CHIPSET")]
    pub machine: Board,
    /// An IOMMU between devices and memory (q35 only)
    #[arg(long, value_name = "IOMMU")]
    pub iommu: Option<IommuKind>,
    /// An IOMMU that does not remap interrupts
    #[arg(long, requires = "iommu")]
    pub no_interrupt_remapping: bool,
    /// An IOMMU that remembers what is not there, too
    #[arg(long, requires = "iommu")]
    pub caching_mode: bool,
    /// How many bits an address has that the IOMMU translates: 39 or 48
    #[arg(long, default_value = "39", value_name = "BITS", requires = "iommu")]
    pub iommu_address_bits: u8,
    /// Seconds until the system must be up
    #[arg(long, default_value = "60", value_name = "SECONDS", value_parser = seconds)]
    pub timeout: Duration,
    /// Leave the system running after it is up, with its console, until Ctrl-C
    #[arg(long)]
    pub keep: bool,
    /// Run on the host's processor (Linux only); otherwise instructions are translated, which works everywhere
    #[arg(long)]
    pub kvm: bool,
    /// OVMF as one file, or its code half; otherwise it is looked for
    #[arg(long, value_name = "FILE")]
    pub firmware: Option<PathBuf>,
    /// OVMF's variables, the other half
    #[arg(long, value_name = "FILE", requires = "firmware")]
    pub firmware_variables: Option<PathBuf>,
    /// Which form of OVMF to look for
    #[arg(long, default_value = "any", value_name = "FORM", conflicts_with = "firmware")]
    pub firmware_style: Style,
    /// The QEMU program
    #[arg(long, default_value = DEFAULT_PROGRAM, value_name = "PROGRAM")]
    pub qemu: OsString,
    /// Show QEMU's command line and start nothing
    #[arg(long)]
    pub show_command: bool,
}

/// Whose IOMMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum IommuKind {
    /// Intel's VT-d.
    Intel,
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u64>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(seconds)),
        _ => Err("a whole number of seconds, at least 1".into()),
    }
}

impl RunOptions {
    /// The machine that is asked for.
    ///
    /// # Errors
    /// If there is no firmware.
    pub fn machine(&self) -> Result<Machine, FirmwareError> {
        let firmware = match &self.firmware {
            Some(file) => Firmware::named(file, self.firmware_variables.as_deref())?,
            None => Firmware::find(self.firmware_style)?,
        };
        let mut machine = Machine::new(firmware);
        machine.board = self.machine;
        machine.cpus = self.cpus;
        machine.iommu = self.iommu.map(|IommuKind::Intel| Iommu {
            interrupt_remapping: !self.no_interrupt_remapping,
            caching_mode: self.caching_mode,
            address_bits: self.iommu_address_bits,
        });
        machine.memory = self.memory;
        if self.kvm {
            machine.accelerator = Accelerator::Kvm;
        }
        let mut namespaces = Vec::new();
        match self.boot {
            Some(bus) => machine.boot_disk = Some(BootDisk { path: self.image.clone(), bus }),
            None => namespaces.push(Namespace::file(1, &self.image).bootable()),
        }
        namespaces.extend(self.disk.as_ref().map(|disk| Namespace::file(2, disk)));
        for namespace in &mut namespaces {
            if let Contents::File { write, .. } = &mut namespace.contents {
                *write = self.write;
            }
        }
        if !namespaces.is_empty() {
            machine.controllers.push(Controller { namespaces, ..Controller::new("charter-0") });
        }
        Ok(machine)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn options(arguments: &[&str]) -> Result<RunOptions, clap::Error> {
        let all = ["qemu", "run", "--image", "a.img"].iter().chain(arguments);
        match Arguments::try_parse_from(all)?.command {
            Command::Run(options) => Ok(*options),
            Command::Disk { .. } => unreachable!("the subcommand is run"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn disks_lie_as_azure_lays_them() {
        let firmware = tempfile::NamedTempFile::new().unwrap();
        let named = firmware.path().to_str().unwrap();
        let machine = options(&["--disk", "b.img", "--firmware", named]).unwrap().machine().unwrap();
        assert_eq!(machine.boot_disk, None);
        let [controller] = &machine.controllers[..] else { panic!("{machine:?}") };
        assert_eq!(controller.namespaces, [Namespace::file(1, "a.img").bootable(), Namespace::file(2, "b.img")]);
    }

    #[test]
    fn without_nvme_disks_there_is_no_controller() {
        let firmware = tempfile::NamedTempFile::new().unwrap();
        let named = firmware.path().to_str().unwrap();
        let machine = options(&["--boot", "ide", "--firmware", named]).unwrap().machine().unwrap();
        assert!(machine.controllers.is_empty());
        assert_eq!(machine.boot_disk, Some(BootDisk { path: "a.img".into(), bus: BootBus::Ide }));
    }

    #[test]
    fn wrong_values_are_refused_with_the_right_ones() {
        for (arguments, words) in [
            (["--memory", "256"], "at least 64M"),
            (["--timeout", "0"], "at least 1"),
            (["--cpus", "0"], "0"),
            (["--machine", "isa"], "q35, pc"),
            (["--boot", "floppy"], "ide, virtio"),
        ] {
            let error = options(&arguments).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
