//! The disk that a `call` grant names: which namespace, which part of it, which memory, which share.

use super::grants::blocks;
use super::reader::Table;
use crate::charter::Disk;
use crate::charter::partition::{self, Partition, Share};
use crate::charter::values::{Name, Namespace};
use crate::problem::{Kind, Problem};

/// Keys that say which namespace a disk is of.
const NAMESPACE: [&str; 3] = ["namespace", "lun", "disk"];
/// Keys that say which partition it is.
const PARTITION: [&str; 3] = ["partition", "partition_type", "partition_guid"];
/// Keys that say which blocks it is.
const BLOCKS: [&str; 2] = ["first_block", "blocks"];
/// The others.
const OTHERS: [&str; 3] = ["access", "window", "queue_share"];

/// Reads the disk of a `call` grant, if its keys name one. The outer `None` if they are malformed.
pub fn disk(table: &mut Table<'_>) -> Option<Option<Disk>> {
    let keys = || NAMESPACE.iter().chain(&PARTITION).chain(&BLOCKS).chain(&OTHERS);
    let is_disk = keys().any(|key| table.has(key));
    let disk = if is_disk { read(table).map(Some) } else { Some(None) };
    keys().for_each(|key| table.allow(key));
    disk
}

fn read(table: &mut Table<'_>) -> Option<Disk> {
    let is_one = at_most_one(table, &NAMESPACE) & at_most_one(table, &PARTITION) & no_blocks_of_a_partition(table);
    let namespace = match NAMESPACE.into_iter().find(|key| table.has(key)) {
        Some("lun") => table.optional("lun", |value| value.number(partition::lun)),
        Some("disk") => table.optional("disk", |value| value.text(partition::system_disk)),
        _ => table.required("namespace", "namespace = 1", |value| value.number(Namespace::new)),
    };
    let named = PARTITION.into_iter().find(|key| table.has(key));
    let partition = match named {
        Some("partition_type") => table.optional("partition_type", |value| value.text(Partition::kind)),
        Some("partition_guid") => table.optional("partition_guid", |value| value.text(Partition::guid)),
        _ => table.optional("partition", |value| value.text(Partition::name)),
    };
    let (blocks, window) = (blocks(table), table.optional("window", |value| value.text(Name::new)));
    let share = table.optional("queue_share", |value| value.number(Share::new));
    if !is_one || (named.is_some() && partition.is_none()) || (table.has("window") && window.is_none()) {
        return None;
    }
    let share = share.map_or(Share::default(), |share| share.value);
    Some(Disk { namespace: namespace?, blocks: blocks?, partition, window, share })
}

fn at_most_one(table: &Table<'_>, keys: &[&str]) -> bool {
    let mut named = table.keys().filter(|own| keys.contains(&own.value.as_str()));
    let (Some(first), Some(second)) = (named.next(), named.next()) else { return true };
    two(table, &first, &second, "a disk is of one namespace, and all of it, some blocks, or one partition");
    false
}

fn no_blocks_of_a_partition(table: &Table<'_>) -> bool {
    let find = |keys: &[&str]| table.keys().find(|own| keys.contains(&own.value.as_str()));
    let (Some(partition), Some(blocks)) = (find(&PARTITION), find(&BLOCKS)) else { return true };
    two(table, &partition, &blocks, "a disk is a whole partition; leave the blocks out");
    false
}

type Key = crate::charter::Located<String>;

fn two(table: &Table<'_>, first: &Key, second: &Key, help: &str) {
    let message = format!("{} selects its disk twice", table.subject());
    table.problem(
        Problem::new(Kind::TwoSelectors, message, first.span, format!("by `{}` here", first.value))
            .and(second.span, format!("and by `{}` here", second.value))
            .help(help),
    );
}
