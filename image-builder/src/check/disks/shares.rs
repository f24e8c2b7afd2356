//! What several clients of a block server share: its queue, and the blocks that are written.

use protocol::block::REQUESTS_MAX;

use crate::charter::{Charter, Disk, Grant, GrantKind, Task};
use crate::problem::{Kind, Problem, Problems};

pub fn check(charter: &Charter, problems: &Problems) {
    for server in &charter.tasks {
        let disks: Vec<_> = disks_of(charter, server).collect();
        written_once(&disks, problems);
        let mut total = 0_u32;
        for (_, grant, disk) in &disks {
            let before = total;
            total += u32::from(disk.share.get());
            if before <= REQUESTS_MAX.into() && total > REQUESTS_MAX.into() {
                let message = format!("the clients of task `{}` share more than its queue", server.name.value);
                let here = format!("with this one {total} requests, at most {REQUESTS_MAX} fit");
                problems.add(
                    Problem::new(Kind::OverShared, message, grant.name.span, here)
                        .help("give clients a smaller `queue_share`; where none is given, it is 8"),
                );
            }
        }
    }
}

/// Every disk at this server, with its client.
fn disks_of<'a>(charter: &'a Charter, server: &'a Task) -> impl Iterator<Item = (&'a Task, &'a Grant, &'a Disk)> {
    charter.grants().filter_map(move |(task, grant)| match &grant.kind {
        GrantKind::Call { endpoint, disk: Some(disk), .. } => {
            let is_its = charter.receiver(endpoint).is_some_and(|(own, _)| own.name.value == server.name.value);
            is_its.then_some((task, grant, disk))
        }
        _ => None,
    })
}

/// Two tasks that write the same blocks overwrite each other's.
fn written_once(disks: &[(&Task, &Grant, &Disk)], problems: &Problems) {
    let mut written = disks.iter().filter(|(.., disk)| disk.blocks.access.is_writable());
    while let Some((task, grant, disk)) = written.next() {
        for (other, others, _) in
            written.clone().filter(|(other, _, own)| other.name.value != task.name.value && own.surely_overlaps(disk))
        {
            let (one, two) = (&task.name.value, &other.name.value);
            let message = format!("tasks `{one}` and `{two}` may write the same blocks");
            problems.add(
                Problem::new(Kind::OverlappingDisks, message, grant.name.span, "this disk")
                    .and(others.name.span, "and this one have blocks in common")
                    .help("give each its own blocks or partition, or let one of them only read"),
            );
        }
    }
}
