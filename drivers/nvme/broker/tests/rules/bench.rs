//! A broker and a controller, and a driver's usual steps.

use abi::Error;
use abi::package::Limit;
use broker::{Broker, Ledger, Progress, Region};
use nvme_broker::{NvmeBroker, Reason};
use nvme_spec::admin::QueueCounts;
use nvme_spec::identify::Structure;
use nvme_spec::registers::{CC, CSTS, ControllerStatus};
use nvme_spec::{CompletionEntry, Status, SubmissionEntry};

use crate::device::{FakeDevice, Namespace};

pub const HIDDEN: u64 = 0x7654_3000;
pub const REGIONS: [Region; 2] = [
    Region { base: 0x0123_4000, bytes: 0x10_0000 },
    // Above 4 GiB.
    Region { base: 0x1_8765_4000, bytes: 0x4000 },
];
pub const WHOLE: Limit = Limit { writable: false, ..Limit::WHOLE_DEVICE };

/// Namespaces of every kind: 1, 2 and 7 are good.
pub const NAMESPACES: [(u32, Namespace); 7] = [
    (1, Namespace { blocks: 1 << 40, block_shift: 9, metadata_bytes: 0, inline: false }),
    (2, Namespace { blocks: 1000, block_shift: 12, metadata_bytes: 0, inline: false }),
    (3, Namespace { blocks: 1000, block_shift: 9, metadata_bytes: 8, inline: true }),
    (4, Namespace { blocks: 1000, block_shift: 12, metadata_bytes: 64, inline: false }),
    (5, Namespace { blocks: 1000, block_shift: 17, metadata_bytes: 0, inline: false }),
    (6, Namespace { blocks: 0, block_shift: 9, metadata_bytes: 0, inline: false }),
    (7, Namespace { blocks: 64, block_shift: 16, metadata_bytes: 0, inline: false }),
];

pub fn ledger(limits: &[Limit]) -> Ledger {
    Ledger {
        regions: REGIONS.into_iter().collect(),
        vectors: [0, 1].into_iter().collect(),
        limits: limits.iter().copied().collect(),
        hidden: HIDDEN,
        register_bytes: 0x4000,
        reserved: [(0x2000, 0x410), (0x3000, 8)].into_iter().collect(),
    }
}

pub struct Bench {
    pub broker: NvmeBroker,
    pub device: FakeDevice,
}

impl Bench {
    /// As the kernel makes it: nothing has been asked yet.
    pub fn cold(ledger: Ledger) -> Self {
        let mut device = FakeDevice::new(ledger.clone(), NvmeBroker::HIDDEN_BYTES);
        device.namespaces = NAMESPACES.into_iter().collect();
        Self { broker: NvmeBroker::new(ledger), device }
    }

    /// Quiesced; the driver's turn.
    pub fn quiesced(ledger: Ledger) -> Self {
        let mut bench = Self::cold(ledger);
        assert_eq!(bench.broker.quiesce(&mut bench.device), Progress::Done);
        bench
    }

    /// Enabled and ready, nothing known.
    pub fn ready(ledger: Ledger) -> Self {
        let mut bench = Self::quiesced(ledger);
        bench.enable();
        bench
    }

    /// Enabled, identified, with one I/O queue pair.
    pub fn running() -> Self {
        Self::running_with(ledger(&[WHOLE]))
    }

    pub fn running_with(ledger: Ledger) -> Self {
        let mut bench = Self::ready(ledger);
        bench.identify();
        bench.create_pair(1);
        bench
    }

    pub fn enable(&mut self) {
        assert_eq!(self.write(1), Ok(()));
        assert_eq!(self.status() & 1, 1);
    }

    /// Identifies the controller and every namespace that the grant allows to ask for.
    pub fn identify(&mut self) {
        self.admin(SubmissionEntry::identify(0, Structure::Controller, 0));
        for nsid in self.device.namespaces.keys().copied().collect::<Vec<_>>() {
            let entry = SubmissionEntry::identify(0, Structure::Namespace, nsid);
            match self.submit(0, entry) {
                Ok(()) => assert!(self.run(0)[0].status().is_success()),
                Err((_, reason)) => assert_eq!(reason, Reason::NamespaceNotGranted),
            }
        }
    }

    pub fn create_pair(&mut self, queue: u16) {
        self.admin(SubmissionEntry::set_number_of_queues(0, QueueCounts { submission: 2, completion: 2 }));
        self.admin(SubmissionEntry::create_completion_queue(0, queue, 128, 1));
        self.admin(SubmissionEntry::create_submission_queue(0, queue, 128, queue));
    }

    /// An admin command that must succeed.
    pub fn admin(&mut self, entry: SubmissionEntry) -> CompletionEntry {
        assert_eq!(self.submit(0, entry), Ok(()));
        let completions = self.run(0);
        assert_eq!(completions.len(), 1);
        assert!(completions[0].status().is_success());
        completions[0]
    }

    pub fn write(&mut self, configuration: u32) -> Result<(), (Error, Reason)> {
        let refused = self.broker.write(&mut self.device, CC, 4, configuration.into());
        refused.map_err(|refusal| (refusal.error, refusal.because))
    }

    pub fn status(&mut self) -> u32 {
        self.broker.read(&mut self.device, CSTS, 4).unwrap() as u32
    }

    pub fn submit(&mut self, queue: u16, entry: SubmissionEntry) -> Result<(), (Error, Reason)> {
        let submitted = self.broker.submit(&mut self.device, queue, &[entry.to_bytes()]);
        match submitted.refused {
            Some(refusal) => {
                assert_eq!(submitted.accepted, 0);
                Err((refusal.error, refusal.because))
            }
            None => {
                assert_eq!(submitted.accepted, 1, "no room");
                Ok(())
            }
        }
    }

    /// The reason for which a command is refused.
    pub fn refused(&mut self, queue: u16, entry: SubmissionEntry) -> Reason {
        self.submit(queue, entry).expect_err("it was accepted").1
    }

    /// Has the controller fetch and end everything, successfully, and takes the completions of one queue.
    pub fn run(&mut self, queue: u16) -> Vec<CompletionEntry> {
        self.device.fetch();
        while !self.device.in_flight.is_empty() {
            self.device.finish(0, Status::SUCCESS);
        }
        self.complete(queue)
    }

    pub fn complete(&mut self, queue: u16) -> Vec<CompletionEntry> {
        let mut entries = [[0; 16]; 256];
        let count = self.broker.complete(&mut self.device, queue, &mut entries).unwrap();
        entries[..count].iter().map(|entry| CompletionEntry::from_bytes(*entry)).collect()
    }

    /// Has the controller fetch what was submitted, and returns the last command as it sees it.
    pub fn seen(&mut self) -> SubmissionEntry {
        assert!(self.device.fetch() > 0);
        self.device.in_flight.last().unwrap().entry
    }
}

pub const READY: u32 = ControllerStatus::READY.bits();
