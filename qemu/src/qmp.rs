//! QEMU's control socket: the QEMU Machine Protocol, and guest memory read from outside through it.
//!
//! One JSON object a line. QEMU greets; the client negotiates (`qmp_capabilities`); then each command is answered with
//! `return` or `error`, with events in between, which are kept.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// A connection to a running QEMU.
pub struct Client {
    stream: BufReader<UnixStream>,
    events: Vec<Value>,
}

/// Why a command has no answer.
#[derive(Debug, thiserror::Error)]
pub enum QmpError {
    /// The socket cannot be used.
    #[error("QMP: {0}")]
    Socket(#[from] io::Error),
    /// QEMU closed the socket.
    #[error("QMP: QEMU has ended")]
    Closed,
    /// What came is not of the protocol.
    #[error("QMP: unexpected answer `{0}`")]
    Unexpected(String),
    /// QEMU refused the command.
    #[error("QMP: {command}: {reason}")]
    Refused {
        /// The command.
        command: String,
        /// QEMU's words.
        reason: String,
    },
}

/// Longest wait for one answer.
const ANSWER_TIME: Duration = Duration::from_secs(30);

impl Client {
    /// Connects, waiting at most `wait` for QEMU to make the socket.
    ///
    /// # Errors
    /// If the socket does not appear, or does not speak the protocol.
    pub fn connect(path: &Path, wait: Duration) -> Result<Self, QmpError> {
        let end = Instant::now() + wait;
        let stream = loop {
            match UnixStream::connect(path) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() >= end => return Err(error.into()),
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_read_timeout(Some(ANSWER_TIME))?;
        let mut client = Self { stream: BufReader::new(stream), events: Vec::new() };
        let greeting = client.receive()?;
        if greeting.get("QMP").is_none() {
            return Err(QmpError::Unexpected(greeting.to_string()));
        }
        client.execute("qmp_capabilities", json!({}))?;
        Ok(client)
    }

    /// Runs a command and returns its result.
    ///
    /// # Errors
    /// If QEMU refuses it or is gone.
    pub fn execute(&mut self, command: &str, arguments: Value) -> Result<Value, QmpError> {
        let mut line = json!({ "execute": command, "arguments": arguments }).to_string();
        line.push('\n');
        self.stream.get_mut().write_all(line.as_bytes())?;
        loop {
            let mut answer = self.receive()?;
            if let Some(value) = answer.get_mut("return") {
                return Ok(value.take());
            }
            if let Some(error) = answer.get("error") {
                let reason = error["desc"].as_str().unwrap_or("no reason given").to_owned();
                return Err(QmpError::Refused { command: command.into(), reason });
            }
            if answer.get("event").is_none() {
                return Err(QmpError::Unexpected(answer.to_string()));
            }
            self.events.push(answer);
        }
    }

    /// The machine's state: `running`, `prelaunch`, `paused`, …
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn status(&mut self) -> Result<String, QmpError> {
        let answer = self.execute("query-status", json!({}))?;
        answer["status"].as_str().map(Into::into).ok_or_else(|| QmpError::Unexpected(answer.to_string()))
    }

    /// Stops the machine's processors; `resume` lets them go on.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn pause(&mut self) -> Result<(), QmpError> {
        self.execute("stop", json!({})).map(drop)
    }

    /// Lets the machine go on.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn resume(&mut self) -> Result<(), QmpError> {
        self.execute("cont", json!({})).map(drop)
    }

    /// Ends QEMU.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn quit(&mut self) -> Result<(), QmpError> {
        match self.execute("quit", json!({})) {
            // It may be gone before it has answered.
            Ok(_) | Err(QmpError::Closed) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Asks for a device to be unplugged; for a PCI device on a root port the guest must agree. [`crate::removal`] does
    /// not ask.
    ///
    /// # Errors
    /// If there is no such device.
    pub fn unplug(&mut self, identifier: &str) -> Result<(), QmpError> {
        self.execute("device_del", json!({ "id": identifier })).map(drop)
    }

    /// Lets a drive read and write at most so many bytes a second; `None` takes the limit away and lets everything go
    /// on that it held back. Flushes are not held back. QEMU also lets everything go when the controller is reset.
    ///
    /// # Errors
    /// If there is no such drive.
    pub fn throttle(&mut self, drive: &str, bytes_a_second: Option<u64>) -> Result<(), QmpError> {
        let mut limits = json!({ "device": drive, "bps": bytes_a_second.unwrap_or(0) });
        for key in ["bps_rd", "bps_wr", "iops", "iops_rd", "iops_wr"] {
            limits[key] = json!(0);
        }
        self.execute("block_set_io_throttle", limits).map(drop)
    }

    /// Reads 32 bits of a PCI function's configuration space through ports 0xCF8 and 0xCFC. `function` holds bus, device
    /// and function from bit 16, 11 and 8 on; `register` is a multiple of 4, here and below.
    pub(crate) fn read_config(&mut self, function: u32, register: u8) -> Result<u32, QmpError> {
        self.select_config(function, register)?;
        let text = self.monitor("i /w 0xcfc")?;
        let value = text.split_once("= 0x").and_then(|(_, digits)| u32::from_str_radix(digits.trim(), 16).ok());
        value.ok_or(QmpError::Unexpected(text))
    }

    /// Writes 16 bits of a function's configuration space.
    pub(crate) fn write_config(&mut self, function: u32, register: u8, value: u16) -> Result<(), QmpError> {
        self.select_config(function, register)?;
        self.monitor(&format!("o /h 0xcfc {value:#x}")).map(drop)
    }

    /// Writes 32 bits of a function's configuration space.
    pub(crate) fn write_config_long(&mut self, function: u32, register: u8, value: u32) -> Result<(), QmpError> {
        self.select_config(function, register)?;
        self.monitor(&format!("o /w 0xcfc {value:#x}")).map(drop)
    }

    fn select_config(&mut self, function: u32, register: u8) -> Result<(), QmpError> {
        let address = 1 << 31 | function | u32::from(register);
        self.monitor(&format!("o /w 0xcf8 {address:#x}")).map(drop)
    }

    /// Runs a command of the human monitor and returns its text.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn monitor(&mut self, command: &str) -> Result<String, QmpError> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        answer.as_str().map(Into::into).ok_or_else(|| QmpError::Unexpected(answer.to_string()))
    }

    /// Reads guest memory at a physical address. Reading device registers this way has their side effects.
    ///
    /// # Errors
    /// If QEMU does not answer, or no temporary file can be made.
    pub fn read_memory(&mut self, address: u64, bytes: u64) -> Result<Vec<u8>, QmpError> {
        let file = tempfile::NamedTempFile::new()?;
        let path = file.path().to_str().ok_or_else(|| io::Error::other("temporary path is not UTF-8"))?;
        self.execute("pmemsave", json!({ "val": address, "size": bytes, "filename": path }))?;
        let memory = fs::read(file.path())?;
        if memory.len() as u64 == bytes {
            Ok(memory)
        } else {
            Err(QmpError::Unexpected(format!("{} bytes of memory instead of {bytes}", memory.len())))
        }
    }

    /// Reads 32-bit words at a physical address with accesses of that width: device registers.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn read_words(&mut self, address: u64, words: usize) -> Result<Vec<u32>, QmpError> {
        let text = self.monitor(&format!("xp /{words}wx {address:#x}"))?;
        parse_dump(&text).filter(|values| values.len() == words).ok_or(QmpError::Unexpected(text))
    }

    /// A control register or other value of `info registers` of the first processor, such as `CR3`.
    ///
    /// # Errors
    /// If QEMU does not answer or has no such register.
    pub fn register(&mut self, name: &str) -> Result<u64, QmpError> {
        let text = self.monitor("info registers")?;
        parse_register(&text, name).ok_or(QmpError::Unexpected(text))
    }

    /// Takes the events that came so far.
    pub fn take_events(&mut self) -> Vec<Value> {
        std::mem::take(&mut self.events)
    }

    fn receive(&mut self) -> Result<Value, QmpError> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(QmpError::Closed);
        }
        serde_json::from_str(&line).map_err(|_| QmpError::Unexpected(line))
    }
}

/// The words of `00000000fe000000: 0x00000001 0x…` lines.
fn parse_dump(text: &str) -> Option<Vec<u32>> {
    let mut values = Vec::new();
    for line in text.lines() {
        let (_, words) = line.split_once(':')?;
        for word in words.split_whitespace() {
            values.push(u32::from_str_radix(word.strip_prefix("0x")?, 16).ok()?);
        }
    }
    Some(values)
}

fn parse_register(text: &str, name: &str) -> Option<u64> {
    text.split_whitespace().find_map(|word| {
        let (register, value) = word.split_once('=')?;
        if register == name { u64::from_str_radix(value, 16).ok() } else { None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_dumps_and_registers_are_read() {
        let dump = "00000000fe000000: 0x00000001 0xffffffff\r\n00000000fe000008: 0x00000010\r\n";
        assert_eq!(parse_dump(dump), Some(vec![1, u32::MAX, 16]));
        assert_eq!(parse_dump("Cannot access memory"), None);
        let registers = "EAX=00000000 CR0=80010033 CR2=0000000000000000 CR3=000000000007f000 CR4=00000668";
        assert_eq!(parse_register(registers, "CR3"), Some(0x7f000));
        assert_eq!(parse_register(registers, "CR8"), None);
    }
}
