//! One device and its broker: what state it is in, and who gets through to the broker in which.

use abi::system_call::{DEVICE_COMMAND_BYTES, DEVICE_COMPLETION_BYTES};
use broker::{Broker, Progress, Submitted};

use super::hardware::{Hardware, Parts};
use super::{Because, Refusal};
use crate::log;
use crate::platform::pci::Function;

/// A device's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum State {
    /// No function matched the selector.
    Absent,
    /// A function matched but has no registers that can be used; its bus mastering stays off.
    Unusable,
    /// It is made to stop what firmware left it doing.
    Starting,
    /// Its driver may use it.
    Running,
    /// Its driver has stopped, and it is made to stop as well.
    Stopping,
    /// It has stopped after its driver and knows no address any more.
    Stopped,
    /// It did not stop in its time: neither it nor its regions are used again before power-off.
    Quarantined,
}

impl core::fmt::Display for State {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Absent => "absent",
            Self::Unusable => "unusable",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Quarantined => "quarantined",
        })
    }
}

/// A device with a broker of type `B`.
#[derive(Debug)]
pub(super) struct Unit<B> {
    state: State,
    broker: B,
    parts: Parts,
}

impl<B: Broker> Unit<B>
where
    Because: From<Wrapped<B::Reason>>,
{
    /// A device whose bus mastering is off; it is made to stop first of all.
    pub(super) fn new(broker: B, parts: Parts) -> Self {
        Self { state: State::Starting, broker, parts }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    pub(super) fn is_enabled(&self) -> bool {
        self.state == State::Running && self.broker.is_enabled()
    }

    /// The broker and the device that it may use, if the driver may.
    fn open<'a, F: Function>(&'a mut self, function: &'a mut F) -> Result<(&'a mut B, Hardware<'a, F>), Refusal> {
        match self.state {
            State::Running => Ok((&mut self.broker, Hardware::new(function, &mut self.parts))),
            state => Err(Because::State(state).into()),
        }
    }

    pub(super) fn read(&mut self, function: &mut impl Function, offset: u64, bytes: u64) -> Result<u64, Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.read(&mut device, narrow(offset)?, narrow(bytes)?).map_err(wrap)
    }

    pub(super) fn write(
        &mut self,
        function: &mut impl Function,
        offset: u64,
        bytes: u64,
        value: u64,
    ) -> Result<(), Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.write(&mut device, narrow(offset)?, narrow(bytes)?, value).map_err(wrap)
    }

    pub(super) fn submit(
        &mut self,
        function: &mut impl Function,
        queue: u64,
        commands: &[[u8; DEVICE_COMMAND_BYTES]],
    ) -> Submitted<Because> {
        let outcome = self
            .open(function)
            .and_then(|(broker, mut device)| Ok(broker.submit(&mut device, narrow(queue)?, commands)));
        match outcome {
            Ok(submitted) => Submitted { accepted: submitted.accepted, refused: submitted.refused.map(wrap) },
            Err(refusal) => Submitted { accepted: 0, refused: Some(refusal) },
        }
    }

    /// What the device completed that nobody asked of it is logged: dropped by the broker, it tells of a device that
    /// cannot be trusted. Only the first of each power of two, because a device can do this without end.
    pub(super) fn complete(
        &mut self,
        name: &str,
        function: &mut impl Function,
        queue: u64,
        completions: &mut [[u8; DEVICE_COMPLETION_BYTES]],
    ) -> Result<usize, Refusal> {
        let before = self.broker.anomalies();
        let (broker, mut device) = self.open(function)?;
        let taken = broker.complete(&mut device, narrow(queue)?, completions).map_err(wrap);
        let anomalies = self.broker.anomalies();
        if anomalies.checked_ilog2() != before.checked_ilog2() {
            crate::log!("dma", "completions dropped device={name} count={anomalies}");
        }
        taken
    }

    pub(super) fn collect(
        &mut self,
        function: &mut impl Function,
        queue: u64,
        identifier: u64,
        data: &mut [u8],
    ) -> Result<usize, Refusal> {
        let (broker, mut device) = self.open(function)?;
        broker.collect(&mut device, narrow(queue)?, narrow(identifier)?, data).map_err(wrap)
    }

    /// The driver is gone. A device under quarantine stays there.
    pub(super) fn stop(&mut self) {
        if matches!(self.state, State::Starting | State::Running) {
            self.state = State::Stopping;
        }
    }

    /// Its driver runs again and may use it, if it has stopped: then it knows no address any more.
    pub(super) fn restart(&mut self) {
        if self.state == State::Stopped {
            self.state = State::Running;
        }
    }

    /// The next step of making the device stop, if it is to; when to come again.
    pub(super) fn service(&mut self, name: &str, function: &mut impl Function, now: u64) -> Option<u64> {
        let after = match self.state {
            State::Starting => State::Running,
            State::Stopping => State::Stopped,
            _ => return None,
        };
        match self.broker.quiesce(&mut Hardware::new(function, &mut self.parts)) {
            // A time that has passed already must not keep the kernel from everything else.
            Progress::Again(time) => Some(time.max(now.saturating_add(1))),
            Progress::Done => {
                self.state = after;
                if after == State::Stopped {
                    log!("charter", "device stopped name={name}");
                }
                None
            }
            Progress::Failed => {
                function.set_bus_mastering(false);
                self.state = State::Quarantined;
                log!("charter", "device quarantined name={name} because=\"it did not stop in its time\"");
                None
            }
        }
    }
}

/// A number from a task's register, if it fits where it belongs.
fn narrow<T: TryFrom<u64>>(value: u64) -> Result<T, Refusal> {
    T::try_from(value).map_err(|_| Because::Argument.into())
}

/// A broker's own reason, on its way into [`Because`].
pub(super) struct Wrapped<R>(pub(super) R);

fn wrap<R>(refusal: broker::Refusal<R>) -> Refusal
where
    Because: From<Wrapped<R>>,
{
    broker::Refusal { error: refusal.error, because: Wrapped(refusal.because).into() }
}

#[cfg(test)]
mod tests;
