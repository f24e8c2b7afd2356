//! The driver on the brokered lane: real driver and real broker against the model controller.

/// The machine of these tests.
type Machine = nvme_model::Machine<false>;
/// How its lane is called in the log.
const LANE: &str = "brokered";

#[path = "driver/bring_up.rs"]
mod bring_up;
#[path = "driver/events.rs"]
mod events;
#[path = "driver/faults.rs"]
mod faults;
#[path = "driver/limits.rs"]
mod limits;
#[path = "driver/posts.rs"]
mod posts;
#[path = "driver/random.rs"]
mod random;
#[path = "driver/transfers.rs"]
mod transfers;
#[path = "driver/writes.rs"]
mod writes;
