//! What the log says of the evidence: the classification lines, the evidence itself, contradictions, and the verdict.

use core::fmt;

use abi::evidence::Item;
use heapless::Vec;
use protocol::classify::{Provider, Shape, Verdict};
use task::Quoted;

use crate::controllers::{AzureDisk, CONTROLLERS_MAX, Controller, azure_disks, controllers};
use crate::lines::{self, Cloud};
use crate::recording;
use crate::rules::Rule;
use crate::verdict::{Seen, seen, verdict};

/// Under which component a line is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Component {
    /// The storage's: classification lines.
    Nvme,
    /// The machine's: evidence and verdict.
    Cloud,
}

impl Component {
    /// Its name in the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nvme => "nvme",
            Self::Cloud => "cloud",
        }
    }
}

/// What was found out.
#[derive(Clone, Debug)]
pub struct Findings {
    /// The controllers.
    pub controllers: Vec<Controller, CONTROLLERS_MAX>,
    /// The verdict.
    pub verdict: Verdict,
}

/// Tells everything, line by line, and returns what was found out.
pub fn report(items: &[Item], mut tell: impl FnMut(Component, fmt::Arguments<'_>)) -> Findings {
    let controllers = controllers(items);
    let verdict = verdict(items, &controllers);
    for controller in &controllers {
        for cloud in Cloud::ALL {
            let confirmed = cloud.is_confirmed(items, verdict.provider, controller);
            tell(Component::Nvme, format_args!("{}", lines::Line { controller, cloud, confirmed }));
        }
    }
    for item in items {
        tell(Component::Cloud, format_args!("evidence {}", recording::Line(item)));
    }
    for controller in &controllers {
        for (nsid, disk) in azure_disks(items, controller) {
            tell(Component::Cloud, format_args!("disk device={} nsid={nsid} {}", controller.address, Name(disk)));
        }
    }
    let seen = seen(items);
    let is_contradictory = verdict.provider == Provider::Unknown && !verdict.candidates.is_empty();
    for candidate in verdict.candidates.iter().filter(|_| is_contradictory) {
        let (supporting, against) = (
            Facts(&seen, |rule, who| rule.supports(who), *candidate),
            Facts(&seen, |rule, who| !rule.fits(who), *candidate),
        );
        tell(Component::Cloud, format_args!("contradiction candidate={candidate} for={supporting} against={against}"));
    }
    tell(
        Component::Cloud,
        format_args!(
            "verdict provider={} storage={}{} generation={} confidence={} contradictory={is_contradictory} \
             candidates={} for={} against={} attested=false",
            verdict.provider,
            List(&verdict.storage),
            Possibilities(&verdict.storage),
            verdict.generation,
            verdict.confidence,
            List(&verdict.candidates),
            List(&verdict.supporting),
            List(&verdict.against),
        ),
    );
    Findings { controllers, verdict }
}

/// Names with commas between them, `none` for none.
struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0.iter())
    }
}

/// The facts that stand in this relation to a provider.
struct Facts<'a>(&'a Seen, fn(&Rule, Provider) -> bool, Provider);

impl fmt::Display for Facts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, self.0.iter().filter(|rule| self.1(rule, self.2)).map(|rule| rule.name))
    }
}

fn join<T: fmt::Display>(f: &mut fmt::Formatter<'_>, items: impl Iterator<Item = T>) -> fmt::Result {
    let mut empty = true;
    for item in items {
        write!(f, "{}{item}", if empty { "" } else { "," })?;
        empty = false;
    }
    if empty { f.write_str("none") } else { Ok(()) }
}

/// Where storage may be that was not seen.
struct Possibilities<'a>(&'a [Shape]);

impl fmt::Display for Possibilities<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [Shape::NoneVisible] => f.write_str(" possibilities=scsi-only-size,nvme-behind-vmbus-vpci"),
            _ => Ok(()),
        }
    }
}

/// Azure's name of a disk, as keys of a line.
struct Name<'a>(AzureDisk<'a>);

impl fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            AzureDisk::Os => f.write_str("name=os"),
            AzureDisk::Lun(lun) => write!(f, "name=lun lun={lun}"),
            AzureDisk::Local { index, name } => {
                f.write_str("name=local")?;
                index.map_or(Ok(()), |index| write!(f, " index={index}"))?;
                name.map_or(Ok(()), |name| write!(f, " label={}", Quoted(name)))
            }
        }
    }
}

impl Findings {
    /// The controller of this number, as other tasks are told of it.
    pub fn controller(&self, number: u16) -> Option<protocol::classify::Controller> {
        let controller = self.controllers.get(usize::from(number))?;
        Some(protocol::classify::Controller {
            address: controller.address,
            identity: (controller.vendor, controller.device),
            shape: controller.shape(),
            bound: controller.bound,
            only_firmware: controller.seen_by == abi::evidence::SeenBy::Firmware,
        })
    }
}
