//! Which disk each client has: at the start, when namespaces have changed, and when a partition table was read.

use heapless::Vec;
use protocol::block::{Completion, Extent, Place};
use protocol::nvme::{Operation, Transfer};

use super::Server;
use crate::client::{Standing, State};
use crate::disk::{Disk, Terms, Unusable, namespace};
use crate::driver::{Driver, Identity, Namespaces};
use crate::note::Note;
use crate::requests::{Origin, SERVER};
use crate::table::{Blocks, Copy, Found, Reading, SCRATCH_BYTES, Step, Wanted};

impl<'g, D: Driver, R> Server<'g, D, R> {
    /// The driver tells of its namespaces for the first time.
    pub(super) fn settle_in(&mut self, namespaces: Namespaces) {
        self.namespaces = namespaces;
        for position in 0..self.clients.len() {
            self.resolve(position);
        }
        for namespace in self.namespaces.clone() {
            self.tell_ready(namespace.nsid);
        }
        self.read_tables();
    }

    /// Says that a namespace is served, if somebody's disk is on it.
    fn tell_ready(&mut self, nsid: u32) {
        let is_granted = self.clients.iter().any(|client| {
            !matches!(client.state, State::Unusable(_)) && client.grant().is_some_and(|grant| grant.nsid == nsid)
        });
        if let (true, Ok(namespace)) = (is_granted, namespace(&self.namespaces, nsid)) {
            let (blocks, block_bytes) = (namespace.blocks, namespace.block_bytes);
            let is_azure = self.controller.as_ref().is_some_and(Identity::is_azure);
            self.note(Note::Ready { nsid, blocks, block_bytes, is_azure });
        }
    }

    /// The driver's namespaces are no longer what they were.
    pub(super) fn refresh(&mut self) {
        // Other disks end what clients have under way: the driver has to tell of them twice.
        match self.driver.namespaces() {
            Ok(told) if told != self.namespaces && self.driver.may_report() => match self.driver.namespaces() {
                Ok(again) if again == told => self.replace(told),
                Ok(_) => self.suspect(super::Doubt::Answer),
                Err(trouble) => self.part(trouble),
            },
            Ok(told) => self.replace(told),
            Err(trouble) => self.part(trouble),
        }
    }

    /// These are the driver's namespaces now.
    pub(super) fn replace(&mut self, namespaces: Namespaces) {
        let old = core::mem::replace(&mut self.namespaces, namespaces);
        let find = |all: &[_], nsid| namespace(all, nsid).ok().copied();
        let mut touched = 0;
        for position in 0..self.clients.len() {
            let Some(nsid) = self.clients[position].grant().map(|grant| grant.nsid) else { continue };
            if find(&old, nsid) != find(&self.namespaces, nsid) {
                self.reading.take_if(|reading| reading.nsid() == nsid);
                touched |= self.change(position);
            }
        }
        for nsid in self.namespaces.iter().map(|namespace| namespace.nsid).collect::<Vec<_, 32>>() {
            if find(&old, nsid) != find(&self.namespaces, nsid) {
                self.tell_ready(nsid);
            }
        }
        self.signal(touched);
        self.read_tables();
    }

    /// A client's disk may be another one now. Returns its bit.
    fn change(&mut self, position: usize) -> u32 {
        let before = self.clients[position].state;
        self.resolve(position);
        let client = &mut self.clients[position];
        if client.state == before && before != State::Pending {
            return 0;
        }
        // What was checked against the old one, and is not with the driver yet, is checked no more.
        self.requests.fail_changed(position);
        if client.standing == Standing::Open {
            client.standing = Standing::Changed;
        }
        if let (Some(grant), task) = (client.grant(), client.named.task) {
            let nsid = grant.nsid;
            self.note(Note::Changed { client: task, nsid });
        }
        1 << position
    }

    /// Finds a client's disk, as far as that can be done without reading.
    fn resolve(&mut self, position: usize) {
        let client = &self.clients[position];
        let shuts_down = client.named.grant.is_some_and(|grant| grant.shutdown);
        let state = match client.grant() {
            // A client that may only shut down misses nothing.
            None if shuts_down => return,
            None => State::Unusable(Unusable::NoGrant),
            Some(grant) => match (namespace(&self.namespaces, grant.nsid), self.terms(position), &grant.extent) {
                (Err(reason), ..) | (Ok(_), Err(reason), _) => State::Unusable(reason),
                (Ok(namespace), Ok(terms), extent) => match Disk::of_extent(namespace, extent, &terms) {
                    Some(disk) => disk.map_or_else(State::Unusable, State::Disk),
                    None if self.memory.scratch().is_some() => State::Pending,
                    None => State::Unusable(Unusable::NoTable),
                },
            },
        };
        self.settle(position, state);
    }

    fn terms(&self, position: usize) -> Result<Terms, Unusable> {
        let client = &self.clients[position];
        let grant = client.grant().ok_or(Unusable::NoGrant)?;
        let (place, is_slot) = client.place.ok_or(Unusable::NoSlot)?;
        Ok(Terms { writable: grant.writable, place, is_slot, share: grant.share })
    }

    /// A client's disk is known, or that it has none.
    fn settle(&mut self, position: usize, mut state: State) {
        let (client, others) = (&self.clients[position], self.clients.iter());
        let task = client.named.task;
        if let State::Disk(disk) = &state {
            let nsid = disk.information().nsid;
            let is_written_too = |other: &crate::client::Client<'g, R>| {
                other.named.task != task
                    && other.disk().is_some_and(|own| own.information().supports.write && own.overlaps(disk))
            };
            if disk.information().supports.write && others.clone().any(is_written_too) {
                state = State::Unusable(Unusable::Overlap { nsid });
            } else if !disk.information().supports.write && client.grant().is_some_and(|grant| grant.writable) {
                self.note(Note::WriteProtected { client: task, nsid });
            }
        }
        if let State::Unusable(reason) = state {
            self.note(Note::Unusable { client: task, reason });
        }
        self.clients[position].state = state;
    }

    /// Begins to read a partition table that some client waits for, unless one is being read.
    pub(super) fn read_tables(&mut self) {
        // What an earlier reading has under way would come into the next one's scratch.
        if self.reading.is_some() || self.requests.under_way(SERVER) || self.power.refuses().is_some() {
            return;
        }
        let pending = |client: &&crate::client::Client<'g, R>| client.state == State::Pending;
        let Some(nsid) = self.clients.iter().find(pending).and_then(|client| client.grant()).map(|grant| grant.nsid)
        else {
            return;
        };
        let mut wanted = Vec::new();
        for (position, client) in self.clients.iter().enumerate().filter(|(_, client)| pending(client)) {
            match client.grant().map(|grant| (grant.nsid, grant.extent)) {
                Some((own, Extent::Partition(partition))) if own == nsid => {
                    // There is room for every client.
                    let _ = wanted.push(Wanted { client: position, partition, found: Found::Nothing });
                }
                _ => {}
            }
        }
        let (Ok(namespace), Some(scratch)) = (namespace(&self.namespaces, nsid), self.memory.scratch()) else { return };
        let (reading, blocks) = Reading::new(namespace, scratch.bytes.min(SCRATCH_BYTES), wanted);
        self.reading = Some(reading);
        self.read(nsid, blocks, scratch);
    }

    fn read(&mut self, nsid: u32, blocks: Blocks, scratch: Place) {
        let Blocks { first_block, blocks } = blocks;
        let transfer =
            Transfer { tag: 0, operation: Operation::Read, nsid, first_block, blocks, offset: scratch.offset };
        // The server's own requests have room besides everybody's.
        let _ = self.requests.admit(SERVER, Origin::Tag(nsid), transfer, scratch.bytes);
    }

    /// A request of the server's own has ended.
    pub(super) fn own_ended(&mut self) {
        while let Some(Completion { outcome, .. }) = { self.requests.ended(SERVER).next() } {
            self.requests.taken(SERVER, 1);
            self.flushed(outcome);
            let (Some(mut reading), Some(scratch)) = (self.reading.take(), self.memory.scratch()) else { continue };
            let step = self.memory.with_scratch(|window| reading.advance(window, outcome.is_ok()));
            let nsid = reading.nsid();
            match step {
                Step::Read(blocks) => {
                    self.reading = Some(reading);
                    self.read(nsid, blocks, scratch);
                }
                Step::Damaged(table, damage, blocks) => {
                    self.note(Note::Damaged { nsid, table, damage });
                    self.reading = Some(reading);
                    self.read(nsid, blocks, scratch);
                }
                Step::Done(table) => self.found(&reading, table),
                Step::Failed(damage) => {
                    let reason = Unusable::Table { nsid, damage };
                    for wanted in reading.wanted() {
                        self.settle(wanted.client, State::Unusable(reason));
                    }
                }
            }
        }
        self.read_tables();
    }

    /// A table was read.
    fn found(&mut self, reading: &Reading<'g>, table: Copy) {
        let nsid = reading.nsid();
        for wanted in reading.wanted() {
            let position = wanted.client;
            let disk = match wanted.found {
                Found::Nothing => Err(Unusable::NoPartition { nsid }),
                Found::Several => Err(Unusable::SeveralPartitions { nsid }),
                Found::Misplaced => Err(Unusable::Misplaced { nsid }),
                Found::One(first, last) => self.terms(position).and_then(|terms| {
                    let blocks = last.checked_sub(first).and_then(|more| more.checked_add(1));
                    Disk::new(namespace(&self.namespaces, nsid)?, first, Some(blocks.unwrap_or(0)), &terms)
                }),
            };
            if let Ok(disk) = &disk {
                let (client, information) = (self.clients[position].named.task, disk.information());
                let (first_block, blocks) = (information.first_block, information.blocks);
                self.note(Note::Partition { client, nsid, first_block, blocks, table });
            }
            self.settle(position, disk.map_or_else(State::Unusable, State::Disk));
        }
    }
}
