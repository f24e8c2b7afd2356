//! Turns a checked charter into a boot package.
//!
//! Names become numbers here, always in the manifest's order, so that the same charter gives the same bytes:
//! - tasks and regions are numbered as they are written; endpoints as their `receive` grants are;
//! - devices as they are written, but those with an address or more identifiers first: the kernel gives each device
//!   the first function that matches and is not taken, so the more particular selector must choose first;
//! - badges count from 1 among the `call` grants to one server; they are unique over all of its endpoints;
//! - notification bits count from 0: first the task's interrupts, then the signals of others.

mod disk;
mod task;

use std::collections::HashMap;

use abi::package::{self, Contents, Device, Package, PackageError, Region, Selector};
use heapless::Vec as Bounded;
use serde::Serialize;

use crate::charter::values::Name;
use crate::charter::{self, Charter, GrantKind, Limit, Located};
use crate::check::Checked;

/// Why a checked charter did not become a package. These are faults of this builder, or of a charter of unusual size.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// More than fit, or a name without an item: [`mod@crate::check`] should have said so.
    #[error("the image builder is at fault: the checked charter has {0}")]
    Unchecked(&'static str),
    /// The package is larger than the room for it.
    #[error("the boot package has {bytes} bytes, at most {} fit", abi::handoff::PACKAGE_BYTES_MAX)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The package was read back and refused.
    #[error("the image builder is at fault: the kernel would refuse its package")]
    Refused(#[from] PackageError),
    /// An item could not be encoded.
    #[error("the image builder is at fault: an item could not be encoded")]
    Encoding(#[from] postcard::Error),
}

/// The devices in the order in which the kernel lets them choose.
pub(crate) fn in_order_of_choice(charter: &Charter) -> Vec<&charter::Device> {
    let mut devices: Vec<_> = charter.devices.iter().collect();
    devices.sort_by_key(|device| {
        let identifiers = [device.class.is_some(), device.vendor.is_some(), device.device.is_some()];
        std::cmp::Reverse((device.address.is_some(), identifiers.iter().filter(|given| **given).count()))
    });
    devices
}

/// The numbers that stand for the charter's names.
struct Numbers<'a> {
    charter: &'a Charter,
    endpoints: HashMap<&'a Name, u16>,
    /// Devices in the package's order.
    devices: Vec<&'a charter::Device>,
}

impl<'a> Numbers<'a> {
    fn new(charter: &'a Charter) -> Self {
        let receives = charter.grants().filter_map(|(_, grant)| match &grant.kind {
            GrantKind::Receive { endpoint } => Some(&endpoint.value),
            _ => None,
        });
        let endpoints = receives.enumerate().map(|(number, endpoint)| (endpoint, number as u16)).collect();
        Self { charter, endpoints, devices: in_order_of_choice(charter) }
    }

    fn endpoint(&self, name: &Name) -> Result<u16, CompileError> {
        self.endpoints.get(name).copied().ok_or(CompileError::Unchecked("a call to nobody"))
    }

    fn device(&self, name: &Name) -> Result<u16, CompileError> {
        let position = self.devices.iter().position(|device| device.name.value == *name);
        position.map(|position| position as u16).ok_or(CompileError::Unchecked("an unknown device"))
    }

    fn region(&self, name: &Name) -> Result<(u16, &'a charter::Region), CompileError> {
        let region = self.charter.region(name).ok_or(CompileError::Unchecked("an unknown region"))?;
        Ok((region.0 as u16, region.1))
    }

    fn task(&self, name: &Name) -> Result<u16, CompileError> {
        let task = self.charter.task(name).ok_or(CompileError::Unchecked("an unknown task"))?;
        Ok(task.0 as u16)
    }

    /// The regions that a device is given addresses in, in the order of their numbers in its commands.
    fn device_regions(&self, device: &'a Name) -> impl Iterator<Item = u16> + use<'a> {
        let charter = self.charter;
        charter.grants().filter_map(move |(_, grant)| match &grant.kind {
            GrantKind::Dma { region } => {
                charter.region(region).filter(|(_, region)| region.is_of(device)).map(|(n, _)| n as u16)
            }
            _ => None,
        })
    }
}

/// The boot package of a charter: header, stream, nothing after it. `symbols` is the SHA-256 of the
/// [symbols](crate::symbols) that belong to it.
///
/// # Errors
/// Only if the package would be too large, or this builder is at fault.
pub fn package(checked: &Checked, symbols: [u8; 32]) -> Result<Vec<u8>, CompileError> {
    let charter = checked.charter();
    let numbers = Numbers::new(charter);
    let mut stream = postcard::to_stdvec(&Contents {
        name: charter.name.as_str(),
        system_version: charter.version.get(),
        endpoints: numbers.endpoints.len() as u16,
        devices: charter.devices.len() as u16,
        regions: charter.regions.len() as u16,
        tasks: charter.tasks.len() as u16,
        symbols,
    })?;
    for item in &numbers.devices {
        append(&mut stream, &device(&numbers, item)?)?;
    }
    for region in &charter.regions {
        append(&mut stream, &Region { name: region.name.as_str(), bytes: written(region.size)?.bytes() })?;
    }
    for item in &charter.tasks {
        let program = item.program.as_ref().and_then(|name| checked.program(name));
        let program = program.ok_or(CompileError::Unchecked("a task without a program"))?;
        let start_info = task::start_info(&numbers, item)?;
        append(&mut stream, &task::task(&numbers, item, program, &start_info)?)?;
    }
    let bytes = package::HEADER_BYTES + stream.len();
    if bytes as u64 > abi::handoff::PACKAGE_BYTES_MAX {
        return Err(CompileError::TooLarge { bytes });
    }
    let mut whole = package::header(&stream).to_vec();
    whole.append(&mut stream);
    Package::open(&whole)?;
    Ok(whole)
}

fn append(stream: &mut Vec<u8>, item: &impl Serialize) -> Result<(), CompileError> {
    stream.append(&mut postcard::to_stdvec(item)?);
    Ok(())
}

/// A value that a checked charter has.
fn written<T>(value: Option<Located<T>>) -> Result<T, CompileError> {
    value.map(|located| located.value).ok_or(CompileError::Unchecked("an item that was not read"))
}

/// Collects what is known to fit.
fn bounded<T, const N: usize>(
    items: impl IntoIterator<Item = Result<T, CompileError>>,
    what: &'static str,
) -> Result<Bounded<T, N>, CompileError> {
    let mut bounded = Bounded::new();
    for item in items {
        bounded.push(item?).map_err(|_| CompileError::Unchecked(what))?;
    }
    Ok(bounded)
}

fn device<'a>(numbers: &Numbers<'a>, device: &'a charter::Device) -> Result<Device<'a>, CompileError> {
    let name = &device.name.value;
    let mut vectors: Vec<u16> = numbers
        .charter
        .grants()
        .filter_map(|(_, grant)| match &grant.kind {
            GrantKind::Interrupt { device, vector } if device.value == *name => Some(vector.get()),
            _ => None,
        })
        .collect();
    vectors.sort_unstable();
    let registers = numbers.charter.driver(name).and_then(|(_, grant)| match &grant.kind {
        GrantKind::Registers { bar, limits, .. } => Some((*bar, limits.as_deref())),
        _ => None,
    });
    let (bar, limits) = registers.unwrap_or_default();
    let broker = written(device.broker)?;
    let limits: Vec<_> = match limits {
        None => vec![device.unsaid().packed()],
        Some(limits) => limits.iter().map(Limit::packed).collect(),
    };
    Ok(Device {
        name: name.as_str(),
        selector: Selector {
            class: device.class.map(|class| (class.value.0, class.value.1, class.value.2)),
            vendor: device.vendor.map(|vendor| vendor.value),
            device: device.device.map(|device| device.value),
            address: device.address.map(|address| address.value.get()),
        },
        bar: bar.get(),
        broker: broker.kind(),
        remapping: device.remapping,
        vectors: bounded(vectors.into_iter().map(Ok), "too many vectors")?,
        regions: bounded(numbers.device_regions(name).map(Ok), "too many regions of a device")?,
        limits: bounded(limits.into_iter().map(Ok), "too many limits")?,
    })
}
