//! What a task was granted, by name, as types.

use abi::needs::Kind;
use abi::start::{Client, Granted, StartInfo};

use crate::console::Console;
use crate::device::{Device, Interrupt, Registers};
use crate::evidence::Evidence;
use crate::inspect::Inspect;
use crate::ipc::{Call, Receive, Signal};
use crate::log::Log;
use crate::memory::{Dma, Window};
use crate::power::Power;
use crate::supervision::{Kill, Supervise};

/// A grant that a task cannot go on without. The builder finds it first, if the task says what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no grant {name} of kind {kind}", kind = .kind.key())]
pub struct Missing {
    /// The grant's name.
    pub name: &'static str,
    /// Its kind.
    pub kind: Kind,
}

/// What a task finds at its entry.
#[derive(Clone, Debug)]
pub struct Environment {
    start: StartInfo<'static>,
}

impl Environment {
    #[cfg(target_os = "none")]
    pub(crate) fn new(start: StartInfo<'static>) -> Self {
        Self { start }
    }

    /// For tests: the windows in it get memory of their own.
    #[cfg(not(target_os = "none"))]
    pub fn new(start: StartInfo<'static>) -> Self {
        Self { start }
    }

    /// The task's name in the charter.
    pub fn task(&self) -> &'static str {
        self.start.task
    }

    /// The grant of this name and kind.
    ///
    /// # Errors
    /// [`Missing`] if there is none of that kind.
    pub fn grant<G: Grant>(&self, name: &'static str) -> Result<G, Missing> {
        self.optional(name).ok_or(Missing { name, kind: G::KIND })
    }

    /// The grant of this name and kind, if there is one.
    pub fn optional<G: Grant>(&self, name: &str) -> Option<G> {
        self.start.grant(name).and_then(G::from_granted)
    }

    /// Every grant of this kind, whatever its name.
    pub fn all<G: Grant>(&self) -> impl Iterator<Item = G> {
        self.start.grants.iter().filter_map(|grant| G::from_granted(&grant.granted))
    }

    /// Who may call this task's endpoints.
    pub fn clients(&self) -> &[Client<'static>] {
        &self.start.clients
    }

    /// A setting of the charter.
    pub fn setting(&self, key: &str) -> Option<&'static str> {
        self.start.setting(key)
    }
}

/// A type for a kind of grant.
pub trait Grant: Sized {
    /// Which kind.
    const KIND: Kind;
    /// The grant, if it is of this kind.
    fn from_granted(granted: &Granted) -> Option<Self>;
}

macro_rules! grants {
    ($($type:ident: $kind:ident, $pattern:pat => $value:expr;)*) => {$(
        impl Grant for $type {
            const KIND: Kind = Kind::$kind;
            fn from_granted(granted: &Granted) -> Option<Self> {
                match *granted {
                    $pattern => Some($value),
                    _ => None,
                }
            }
        }
    )*};
}

grants! {
    Call: Call, Granted::Call { handle, bits } => Call { handle, bits };
    Receive: Receive, Granted::Receive { handle } => Receive { handle };
    Signal: Signal, Granted::Signal { handle, badge } => Signal { handle, badge };
    Registers: Registers, Granted::Registers { handle } => Registers { handle };
    Interrupt: Interrupt, Granted::Interrupt { vector, bits } => Interrupt { vector, bits };
    Device: DeviceInformation, Granted::DeviceInformation { handle } => Device { handle };
    Dma: Dma, Granted::Dma { region, address, bytes } =>
        Dma { region, window: Window::granted(address, bytes, true, 0) };
    Window: Window, Granted::Window { address, bytes, writable, offset } =>
        Window::granted(address, bytes, writable, offset);
    Log: Log, Granted::Log { handle } => Log { handle };
    Evidence: Evidence, Granted::Evidence { address, bytes } => Evidence::granted(address, bytes);
    Console: Console, Granted::Console { handle, bits } => Console { handle, bits };
    Inspect: Inspect, Granted::Inspect { handle } => Inspect { handle };
    Power: Power, Granted::Power { handle } => Power { handle };
    Supervise: Supervise, Granted::Supervise { handle, task, restart, dependants } =>
        Supervise { handle, task, restart, dependants };
    Kill: Kill, Granted::Kill { handle } => Kill { handle };
}

#[cfg(test)]
mod tests {
    use abi::needs::{Need, decode_all};
    use abi::start::{Grant as Named, StartInfo};
    use heapless::Vec;

    use super::*;

    crate::needs! { disk: call, data: window, completion: interrupt, optional log: log }

    fn environment(grants: &[(&'static str, Granted)]) -> Environment {
        let mut start = StartInfo { task: "test", grants: Vec::new(), clients: Vec::new(), settings: Vec::new() };
        for (name, granted) in grants {
            start.grants.push(Named { name, granted: *granted }).unwrap();
        }
        start.settings.push(("reads", "first+1")).unwrap();
        Environment::new(start)
    }

    const DISK: (&str, Granted) = ("disk", Granted::Call { handle: 1, bits: 4 });
    const DATA: (&str, Granted) =
        ("data", Granted::Window { address: 0x4000_0000, bytes: 4096, writable: true, offset: 0 });
    const COMPLETION: (&str, Granted) = ("completion", Granted::Interrupt { vector: 1, bits: 2 });

    #[test]
    fn grants_are_found_by_name_and_kind() {
        let grants = Grants::find(&environment(&[DATA, DISK, COMPLETION])).unwrap();
        assert_eq!(grants.disk, Call { handle: 1, bits: 4 });
        assert_eq!((grants.data.bytes(), grants.data.is_writable()), (4096, true));
        assert_eq!(grants.completion, Interrupt { vector: 1, bits: 2 });
        assert_eq!(grants.log, None);
        assert_eq!(environment(&[]).setting("reads"), Some("first+1"));
    }

    #[test]
    fn a_missing_grant_is_named() {
        let missing = Grants::find(&environment(&[DISK, DATA])).unwrap_err();
        assert_eq!(missing, Missing { name: "completion", kind: Kind::Interrupt });
        let other_kind = ("disk", Granted::Log { handle: 1 });
        let missing = Grants::find(&environment(&[other_kind, DATA, COMPLETION])).unwrap_err();
        assert_eq!(std::string::ToString::to_string(&missing), "no grant disk of kind call");
    }

    #[test]
    fn the_builder_reads_the_same_list() {
        let found: std::vec::Vec<_> =
            decode_all(CHARTER_NEEDS.as_flattened()).collect::<Option<_>>().expect("all are records");
        let need = |name, kind, optional| Need { kind, optional, name };
        assert_eq!(
            found,
            [
                need("disk", Kind::Call, false),
                need("data", Kind::Window, false),
                need("completion", Kind::Interrupt, false),
                need("log", Kind::Log, true),
            ]
        );
    }
}
