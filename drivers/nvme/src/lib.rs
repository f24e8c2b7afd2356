//! The NVMe driver: an untrusted task that reads and flushes NVMe namespaces for its clients.
//!
//! It decides what is sent to the controller and when; the kernel's NVMe broker decides what the controller may see.
//! So this half holds no physical address, maps no register and no data, and can do no harm that its grants do not
//! allow. (On the direct lane it maps registers and rings, and an IOMMU decides what the controller may reach.) It speaks [`protocol::nvme`] to its clients.
//!
//! Grants, by name: `registers` (the controller), `admin` and `completion` (its interrupts: vector 0 and that of the
//! I/O queue), `data` (the DMA region that transfers lie in), `requests` (where clients call), `client` (whom to
//! signal when transfers have ended; optional), `log`. Settings: `timeout_seconds`, how long a command may take (240:
//! on Azure the host itself tries for 120 s, and Linux guests wait as long), and `transfers`, the tasks that may exchange
//! transfers (any client, if it is not given).
//!
//! - [`hardware`]: what the driver needs of its surroundings; [`machine`]: what it has there on the machine.
//! - [`direct`]: the direct lane, behind an IOMMU, with rings of its own.
//! - [`bring_up`]: from any state of the controller to one that takes I/O commands.
//! - [`admin`], [`identify`]: single admin commands, and what Identify returns.
//! - [`transfers`], [`part`], [`io`], [`slots`]: transfers, cut into commands; the queue; the commands in flight.
//! - [`check`], [`limits`]: what makes sense, and how it is cut; [`batch`]: what is submitted together.
//! - [`driver`]: all of it together; [`trouble`]: why a controller does not work.
#![no_std]
#![forbid(unsafe_code)]

pub mod admin;
pub mod batch;
pub mod bring_up;
pub mod check;
pub mod direct;
pub mod driver;
pub mod hardware;
pub mod identify;
pub mod io;
pub mod limits;
pub mod machine;
pub mod part;
mod place;
pub mod slots;
pub mod transfers;
pub mod trouble;

pub use driver::{AnswerRoom, Driver, Exchange, Interrupts, Settings, State};
pub use hardware::{Hardware, Submission};
