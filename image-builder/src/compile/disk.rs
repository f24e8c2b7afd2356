//! What the charter grants a client at a block server.

use protocol::block::{ClientGrant, DiskGrant, Extent, Place};

use super::{CompileError, Numbers};
use crate::charter::{self, Disk, GrantKind};

/// What the charter grants a client by this `call`, as postcard; nothing where it grants no parameters.
pub fn parameters(
    numbers: &Numbers<'_>,
    client: &charter::Task,
    grant: &charter::Grant,
) -> Result<Vec<u8>, CompileError> {
    let GrantKind::Call { endpoint, disk, shutdown } = &grant.kind else { return Ok(Vec::new()) };
    if disk.is_none() && !shutdown {
        return Ok(Vec::new());
    }
    let disk = disk.as_ref().map(|disk| grant_of(numbers, client, disk)).transpose()?;
    // The server tells this client by its own grant that names it, if there is one.
    let server = numbers.charter.receiver(endpoint).map(|(server, _)| server);
    let tells =
        |grant: &&charter::Grant| matches!(&grant.kind, GrantKind::Signal { task } if task.value == client.name.value);
    let signal = server.and_then(|server| server.grants.iter().find(tells)).map(|grant| grant.name.as_str());
    Ok(postcard::to_stdvec(&ClientGrant { disk, shutdown: *shutdown, signal })?)
}

fn grant_of<'a>(numbers: &Numbers<'_>, client: &charter::Task, disk: &'a Disk) -> Result<DiskGrant<'a>, CompileError> {
    let window = match &disk.window {
        None => None,
        Some(name) => {
            let window = client.grants.iter().find(|grant| grant.name.value == name.value).map(|grant| &grant.kind);
            let Some(GrantKind::Window { region, offset, size, .. }) = window else {
                return Err(CompileError::Unchecked("a disk without a window"));
            };
            numbers.region(region)?;
            Some(Place { offset: offset.bytes(), bytes: size.bytes() })
        }
    };
    let extent = match &disk.partition {
        Some(partition) => Extent::Partition((&partition.value).into()),
        None => Extent::Blocks { first_block: disk.blocks.first, blocks: disk.blocks.count },
    };
    Ok(DiskGrant {
        nsid: disk.namespace.get(),
        extent,
        writable: disk.blocks.access.is_writable(),
        window,
        share: disk.share.get(),
    })
}
