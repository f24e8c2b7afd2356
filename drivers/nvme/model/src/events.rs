//! Asynchronous events, Abort, and namespaces that come, change and go while the controller runs.

use std::collections::{BTreeSet, VecDeque};

use nvme_spec::admin::{EVENTS_HEALTH, EVENTS_NAMESPACES, Event, log};
use nvme_spec::identify::NamespaceList;
use nvme_spec::{Status, SubmissionEntry};
use zerocopy::{FromZeros, IntoBytes};

use crate::controller::Controller;
use crate::namespace::Namespace;

/// What the controller keeps of events.
#[derive(Debug, Default)]
pub struct Events {
    /// Requests that wait, and events that wait for one.
    pub(crate) requests: VecDeque<SubmissionEntry>,
    waiting: VecDeque<Event>,
    /// Asynchronous Event Configuration.
    pub(crate) configuration: u32,
    /// Types that are not told of again until their log page was read.
    masked: BTreeSet<u8>,
    /// Namespaces that have changed since the list of them was read.
    changed: BTreeSet<u32>,
}

impl Controller {
    /// A namespace appears, or becomes another one.
    pub fn attach(&mut self, namespace: Namespace) {
        let namespaces = &mut self.identity.namespaces;
        namespaces.retain(|other| other.nsid != namespace.nsid);
        namespaces.push(namespace);
        namespaces.sort_by_key(|namespace| namespace.nsid);
        self.changed(namespace.nsid);
    }

    /// A namespace goes.
    pub fn detach(&mut self, nsid: u32) {
        self.identity.namespaces.retain(|other| other.nsid != nsid);
        self.changed(nsid);
    }

    fn changed(&mut self, nsid: u32) {
        self.events.changed.insert(nsid);
        if self.events.configuration & EVENTS_NAMESPACES != 0 {
            self.report(Event::NAMESPACE_ATTRIBUTE_CHANGED);
        }
    }

    /// A critical warning comes up.
    pub fn warn_of_health(&mut self) {
        if self.events.configuration & EVENTS_HEALTH != 0 {
            self.report(Event::new(1, 1, log::HEALTH));
        }
    }

    /// Reports an event of any kind, as soon as a request waits and its type is not masked.
    pub fn report(&mut self, event: Event) {
        if !self.events.waiting.contains(&event) {
            self.events.waiting.push_back(event);
        }
        self.deliver();
    }

    pub(crate) fn request_event(&mut self, command: &SubmissionEntry) -> Result<(), Status> {
        if self.events.requests.len() > usize::from(self.identity.event_request_limit) {
            return Err(Status::EVENT_LIMIT_EXCEEDED);
        }
        self.events.requests.push_back(*command);
        self.deliver();
        Ok(())
    }

    fn deliver(&mut self) {
        while let Some(place) = self.events.waiting.iter().position(|event| !self.events.masked.contains(&event.kind()))
            && let Some(request) = self.events.requests.pop_front()
        {
            if let Some(event) = self.events.waiting.remove(place) {
                self.events.masked.insert(event.kind());
                self.answer_event(&request, event.0);
            }
        }
    }

    pub(crate) fn get_log_page(&mut self, command: &SubmissionEntry) -> Result<(), Status> {
        let first = command.dword10.get();
        let bytes = ((first >> 16) as usize + 1) * 4;
        let (kind, page) = match first as u8 {
            log::ERRORS => (0, vec![0; 4096]),
            log::HEALTH => {
                let mut page = vec![0; 512];
                page[..6].copy_from_slice(&[1, 0x2a, 0x01, 80, 10, 7]);
                (1, page)
            }
            log::FIRMWARE_SLOTS => (2, vec![0; 512]),
            log::CHANGED_NAMESPACES => {
                let mut list = NamespaceList::new_zeroed();
                for (place, nsid) in list.0.iter_mut().zip(&self.events.changed) {
                    *place = (*nsid).into();
                }
                (2, list.as_bytes().to_vec())
            }
            _ => return Err(Status::LOG_PAGE_INVALID),
        };
        if bytes > page.len() {
            return Err(Status::INVALID_FIELD);
        }
        self.scatter(command, &page[..bytes])?;
        if first & log::RETAIN_EVENT == 0 {
            if first as u8 == log::CHANGED_NAMESPACES {
                self.events.changed.clear();
            }
            self.events.masked.remove(&kind);
            self.deliver();
        }
        Ok(())
    }
}
