//! Is there anything that nobody uses? Only worth saying where nothing is wrong otherwise.

use crate::charter::{Charter, GrantKind};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    let granted = |uses: &dyn Fn(&GrantKind) -> bool| charter.grants().any(|(_, grant)| uses(&grant.kind));
    for device in &charter.devices {
        let name = &device.name.value;
        let uses = |kind: &GrantKind| match kind {
            GrantKind::Registers { device, .. }
            | GrantKind::Interrupt { device, .. }
            | GrantKind::Information { device } => device.value == *name,
            _ => false,
        };
        if !granted(&uses) {
            let message = format!("device `{name}` is granted to nobody");
            problems.add(
                Problem::new(Kind::Unused, message, device.name.span, "no task uses it")
                    .help("remove it, or grant a task its `registers` or `information`"),
            );
        }
    }
    for region in &charter.regions {
        let name = &region.name.value;
        if !granted(&|kind| matches!(kind, GrantKind::Dma { region } if region.value == *name)) {
            let message = format!("region `{name}` has no owner");
            problems.add(
                Problem::new(Kind::Unused, message, region.name.span, "no device is given addresses in it")
                    .help("grant it to the driver with `dma`, or remove it"),
            );
        }
    }
}
