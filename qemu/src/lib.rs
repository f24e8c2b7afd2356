//! The one place that knows QEMU: how it is started, what a machine consists of, and how to talk to it.
//!
//! - [`firmware`]: where OVMF lies on this computer, and the two ways of giving it to QEMU;
//! - [`machine`]: a typed description of a virtual machine, and QEMU's command line for it;
//! - [`nvme`]: its NVMe controllers and namespaces;
//! - [`process`]: a running QEMU, its serial output as it comes, bounded in time;
//! - [`serial`]: the one parser of the serial log;
//! - [`outcome`]: what a log line means for a run: complete, failed, or go on;
//! - [`qmp`]: QEMU's control socket, and guest memory read from outside;
//! - [`faults`], [`removal`]: disks that fail, devices that vanish;
//! - [`write_log`], [`power_loss`]: what a disk was told, and what it may hold after its power was cut;
//! - [`storage`]: scenarios in which disks are written while something goes wrong;
//! - [`random`]: numbers that follow from a seed;
//! - [`guest`]: a guest's page tables and memory, read from outside;
//! - [`disk`]: disk images with known contents;
//! - [`harness`]: "boot this charter with these devices", for system tests.
#![forbid(unsafe_code)]

pub mod disk;
pub mod faults;
pub mod firmware;
pub mod guest;
pub mod harness;
pub mod lane;
pub mod machine;
pub mod nvme;
pub mod outcome;
pub mod power_loss;
pub mod process;
pub mod qmp;
pub mod random;
pub mod removal;
pub mod serial;
pub mod storage;
pub mod write_log;
