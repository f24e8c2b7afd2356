//! The driver on the direct lane: the same tests as on the brokered one, with rings of its own. What the controller reaches
//! beyond its domain is recorded as an IOMMU would record it, and fails the test.

/// The machine of these tests.
type Machine = nvme_model::Machine<true>;
/// How its lane is called in the log.
const LANE: &str = "direct";

#[path = "driver/bring_up.rs"]
mod bring_up;
#[path = "driver/events.rs"]
mod events;
#[path = "driver/faults.rs"]
mod faults;
#[path = "driver/posts.rs"]
mod posts;
#[path = "driver/random.rs"]
mod random;
#[path = "driver/transfers.rs"]
mod transfers;
#[path = "driver/writes.rs"]
mod writes;
