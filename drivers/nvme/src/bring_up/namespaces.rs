//! The steps that find the namespaces, and what is told of those that changed.

use nvme_spec::identify::NamespaceList;
use protocol::nvme::Namespace;

use super::*;

impl BringUp {
    /// A controller without active namespace lists: every identifier up to NN is looked at.
    pub(super) fn list_all(&mut self, hardware: &mut impl Hardware) -> Result<Step, Trouble> {
        self.active = self.controller.namespaces_max;
        for nsid in 1..=self.active.min(NAMESPACES_MAX as u32) {
            let _ = self.listed.push(nsid);
        }
        Ok(self.listed_all(hardware))
    }

    pub(super) fn read_list(
        &mut self,
        hardware: &mut impl Hardware,
        above: u32,
        list: u32,
        page: &[u8; PAGE_BYTES],
    ) -> Result<Step, Trouble> {
        let entries = NamespaceList::ref_from_bytes(page).map_err(|_| Trouble::Malformed("namespace-list"))?;
        let mut last = above;
        for nsid in entries.iter() {
            if nsid <= last || nsid == nvme_spec::BROADCAST_NSID {
                return Err(Trouble::Malformed("namespace-list-order"));
            }
            last = nsid;
            self.active += 1;
            // Those without room are counted.
            let _ = self.listed.push(nsid);
        }
        let full = entries.0.iter().all(|nsid| nsid.get() != 0);
        if full && list < LISTS_MAX {
            return Ok(Step::ActiveNamespaces { above: last, list: list + 1 });
        }
        Ok(self.listed_all(hardware))
    }

    /// All lists are read: the controller can be told of.
    fn listed_all(&mut self, hardware: &mut impl Hardware) -> Step {
        let Controller { model, serial, firmware, .. } = &self.controller;
        if !self.rescan {
            hardware.log(format_args!(
                "identify controller model=\"{model}\" serial=\"{serial}\" firmware=\"{firmware}\" namespaces={}",
                self.active
            ));
        }
        let left_out = self.active as usize - self.listed.len();
        if left_out > 0 {
            hardware.log(format_args!("namespaces left out count={left_out} most={NAMESPACES_MAX}"));
        }
        self.namespace_at(hardware, 0)
    }

    /// The step for a place of the list, or what comes after the last.
    pub(super) fn namespace_at(&mut self, hardware: &mut impl Hardware, place: usize) -> Step {
        if place < self.listed.len() {
            return Step::IdentifyNamespace(place);
        }
        self.compare(hardware);
        match self.vectors.first() {
            Some(vector) if !self.rescan => Step::CreateCompletionQueue { queue: 1, vector: *vector },
            _ => Step::Over,
        }
    }

    /// All namespaces are known: what has changed is told, to the log and by a new edition.
    fn compare(&mut self, hardware: &mut impl Hardware) {
        for before in &self.namespaces {
            let nsid = before.told.nsid;
            if self.found.iter().all(|known| known.told.nsid != nsid) {
                hardware.log(format_args!("namespace gone nsid={nsid}"));
            }
        }
        if self.namespaces != self.found || self.edition == 0 {
            self.edition = self.edition.wrapping_add(1).max(1);
        }
        self.namespaces.clone_from(&self.found);
    }

    pub(super) fn add_namespace(&mut self, hardware: &mut impl Hardware, (mut known, why): (Known, Option<Unusable>)) {
        known.told.supports = identify::supports(&known, &self.controller, self.commands);
        known.told.volatile_cache = self.controller.volatile_cache;
        let Namespace { nsid, blocks, block_bytes, .. } = known.told;
        let is_news = !self.namespaces.contains(&known);
        match why {
            _ if !is_news => {}
            None => hardware.log(format_args!("namespace nsid={nsid} blocks={blocks} block_bytes={block_bytes}")),
            Some(why) => {
                hardware.log(format_args!("namespace unusable nsid={nsid} blocks={blocks} {why}"));
            }
        }
        // The list is as long as this one at most.
        let _ = self.found.push(known);
    }
}
