//! The first serial port: 115200 baud, 8N1, FIFO on, an interrupt for each byte that comes if somebody wants it.
//!
//! Nothing here waits without a bound: [`Serial::try_send`] sends what the FIFO takes now, and a port that is absent
//! or stands still costs a bounded number of reads.

use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{FifoTriggerLevel, IER};
use uart_16550::{BaudRate, Config, Uart16550};
use x86_64::instructions::port::Port;

/// First port of the first serial port.
const BASE: u16 = 0x3f8;
/// Its line status register, and the bit that says that everything has been sent.
const LINE_STATUS: u16 = BASE + 5;
const TRANSMITTER_EMPTY: u8 = 1 << 6;
/// Reads of a port until it is given up. A read takes about a microsecond, and the sixteen bytes of a FIFO 1.4 ms.
const READS_MAX: u32 = 100_000;

/// The first serial port, if it is there.
#[derive(Debug)]
pub struct Serial {
    port: Option<Uart16550<PioBackend>>,
}

impl Serial {
    /// A port that is not there: everything sent is swallowed.
    pub const fn absent() -> Self {
        Self { port: None }
    }

    /// Looks for the port and sets it up. [`Serial::is_present`] says whether it is there.
    pub fn start() -> Self {
        if !wait_until_sent() {
            return Self::absent();
        }
        // SAFETY: the eight ports from `BASE` on belong to the first serial port on every PC, and the kernel alone
        // uses them, through this one value.
        let Ok(mut port) = (unsafe { Uart16550::new_port(BASE) }) else { return Self::absent() };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            fifo_trigger_level: Some(FifoTriggerLevel::One),
            ..Config::DEFAULT
        };
        // A missing port is found by its scratch register, which does not keep what is written.
        match port.init(config) {
            Ok(()) => Self { port: Some(port) },
            Err(_) => Self::absent(),
        }
    }

    /// Whether there is a port.
    pub fn is_present(&self) -> bool {
        self.port.is_some()
    }

    /// Sends as many of the first bytes as the port takes right now, at most sixteen; returns how many. An absent
    /// port takes all.
    pub fn try_send(&mut self, bytes: &[u8]) -> usize {
        self.port.as_mut().map_or(bytes.len(), |port| port.send_bytes(bytes))
    }

    /// Has the port interrupt when a byte has come. It does so once: [`Serial::receive`] must then take them all.
    pub fn interrupt_on_receive(&mut self) {
        if let Some(port) = &mut self.port {
            port.enable_interrupts(IER::DATA_READY);
        }
    }

    /// Takes what has come; returns how many bytes.
    pub fn receive(&mut self, bytes: &mut [u8]) -> usize {
        self.port.as_mut().map_or(0, |port| port.receive_bytes(bytes))
    }

    /// Sends everything, or as much as goes before the port stands still for a second or so: for a kernel that is
    /// about to halt.
    pub fn send_blocking(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        let mut reads = 0;
        while !rest.is_empty() && reads < READS_MAX {
            let sent = self.try_send(rest);
            rest = rest.get(sent..).unwrap_or_default();
            reads = if sent == 0 { reads + 1 } else { 0 };
        }
    }
}

/// Waits until what firmware sent has left the port; setting it up would cut it off, and waits for it without a
/// bound. Returns whether that came to pass.
fn wait_until_sent() -> bool {
    (0..READS_MAX).any(|_| {
        // SAFETY: reading the line status has no effect but on error bits, and where there is no port all ones are
        // read.
        let status: u8 = unsafe { Port::new(LINE_STATUS).read() };
        status & TRANSMITTER_EMPTY != 0
    })
}
