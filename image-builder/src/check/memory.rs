//! Does every window lie in its region, apart from those of other tasks?

use crate::charter::values::{Access, Bytes, Name};
use crate::charter::{Charter, Disk, GrantKind, Region, Span, Task};
use crate::problem::{Kind, Problem, Problems};

/// A window of a task.
struct Window<'a> {
    task: &'a Task,
    region: &'a Name,
    start: u64,
    end: u64,
    /// Whether the task, or the device on the task's behalf, writes to it.
    written: bool,
    span: Span,
}

pub fn check(charter: &Charter, problems: &Problems) {
    let mut windows: Vec<Window<'_>> = Vec::new();
    for (task, grant) in charter.grants() {
        let GrantKind::Window { region, offset, size, access } = &grant.kind else { continue };
        let (start, end) = (offset.bytes(), offset.bytes() + size.bytes());
        let span = Span { start: offset.span.start.min(size.span.start), end: offset.span.end.max(size.span.end) };
        if let Some((_, region)) = charter.region(region) {
            inside(region, end, span, problems);
        }
        let written = *access == Access::ReadWrite || carries_a_disk(task, &grant.name.value);
        windows.push(Window { task, region: &region.value, start, end, written, span });
    }
    for (position, window) in windows.iter().enumerate() {
        windows[..position].iter().for_each(|earlier| apart(earlier, window, problems));
    }
}

/// The device writes what a disk reads into the disk's window, whatever the task itself may do.
fn carries_a_disk(task: &Task, window: &Name) -> bool {
    let carries = |disk: &Disk| disk.window.as_ref().is_some_and(|own| own.value == *window);
    task.grants.iter().any(|grant| matches!(&grant.kind, GrantKind::Call { disk: Some(disk), .. } if carries(disk)))
}

fn inside(region: &Region, end: u64, span: Span, problems: &Problems) {
    let Some(size) = region.size.filter(|size| end > size.bytes()) else { return };
    {
        let message = format!("the window is not inside region `{}`", region.name.value);
        problems.add(
            Problem::new(Kind::WindowBeyondRegion, message, span, format!("ends at {}", Bytes(end)))
                .and(size.span, format!("the region has {}", Bytes(size.bytes())))
                .help("make the window smaller, or the region larger"),
        );
    }
}

fn apart(first: &Window<'_>, second: &Window<'_>, problems: &Problems) {
    let overlap = first.region == second.region && first.start < second.end && second.start < first.end;
    if !overlap || first.task.name.value == second.task.name.value || !(first.written || second.written) {
        return;
    }
    let (one, other) = (&first.task.name.value, &second.task.name.value);
    let message = format!("tasks `{one}` and `{other}` share memory of region `{}` that is written", first.region);
    let here = |window: &Window<'_>| {
        format!("task `{}` has it from {} to {}", window.task.name.value, Bytes(window.start), Bytes(window.end))
    };
    problems.add(
        Problem::new(Kind::OverlappingWindows, message, second.span, here(second))
            .and(first.span, here(first))
            .help(format!("give one of them another `offset`, for example \"{}\"", Bytes(first.end))),
    );
}
