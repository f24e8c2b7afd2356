//! A running QEMU: its serial output as it comes, bounded in time, ended whatever happens.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::machine::Machine;
use crate::outcome::Outcome;
use crate::qmp::{self, QmpError};
use crate::serial::{Event, plain};

/// A running QEMU. Dropping it ends it.
pub struct Running {
    child: Child,
    input: Option<ChildStdin>,
    port: Arc<Mutex<Port>>,
    lines: Receiver<String>,
    log: Vec<String>,
    messages: Option<JoinHandle<String>>,
    started: Instant,
    limit: Duration,
    control: PathBuf,
    client: Option<qmp::Client>,
    // Holds the control socket; removed at the end.
    _directory: tempfile::TempDir,
}

/// Why a run did not come to the end that was waited for.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// QEMU could not be started.
    #[error("cannot start {}: {source}; install QEMU (Debian: qemu-system-x86) or name it with --qemu", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// No place for the control socket.
    #[error("cannot make a temporary directory: {0}")]
    Directory(io::Error),
    /// QEMU ended by itself.
    #[error("QEMU ended by itself ({status}) while waiting for {waiting_for}{}{}", indented(.messages), indented(.tail))]
    Exited {
        /// How.
        status: ExitStatus,
        /// What was waited for.
        waiting_for: String,
        /// What QEMU said.
        messages: String,
        /// The last lines of the log.
        tail: String,
    },
    /// The time was up.
    #[error("no {waiting_for} within {} s{}", .limit.as_secs(), indented(.tail))]
    TimedOut {
        /// What was waited for.
        waiting_for: String,
        /// The whole run's limit.
        limit: Duration,
        /// The last lines of the log.
        tail: String,
    },
    /// The system said that it failed.
    #[error("the system failed: {0}")]
    Failed(String),
    /// The control socket did not work.
    #[error(transparent)]
    Control(#[from] QmpError),
}

/// Lines below the message, or nothing.
fn indented(text: &str) -> String {
    text.lines().map(|line| format!("\n  | {line}")).collect()
}

/// What came on the serial port within some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// A whole line, without terminal control sequences.
    Line(String),
    /// Nothing yet.
    Nothing,
    /// QEMU has ended.
    End,
}

const TAIL_LINES: usize = 12;

impl Running {
    /// Starts a machine that may run for `limit`, with the QEMU program that is found by name.
    ///
    /// # Errors
    /// If QEMU cannot be started.
    pub fn start(machine: &Machine, limit: Duration) -> Result<Self, RunError> {
        Self::start_with(OsStr::new(DEFAULT_PROGRAM), machine, limit)
    }

    /// Starts a machine with this QEMU program.
    ///
    /// # Errors
    /// If QEMU cannot be started.
    pub fn start_with(program: &OsStr, machine: &Machine, limit: Duration) -> Result<Self, RunError> {
        // A short path: the name of a socket has at most 107 bytes.
        let directory = tempfile::Builder::new().prefix("charter-").tempdir().map_err(RunError::Directory)?;
        let control = directory.path().join("qmp");
        let mut child = command(program)
            .args(machine.arguments(&control))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|source| RunError::Start { program: program.into(), source })?;
        let (sender, lines) = channel();
        let port = Arc::new(Mutex::new(Port { line: Vec::new(), lines: sender, copy: None }));
        if let Some(output) = child.stdout.take() {
            read_port(output, &port);
        }
        let input = child.stdin.take();
        let messages = child.stderr.take().map(read_messages);
        Ok(Self {
            child,
            input,
            port,
            lines,
            log: Vec::new(),
            messages,
            started: Instant::now(),
            limit,
            control,
            client: None,
            _directory: directory,
        })
    }

    /// QEMU's process identifier.
    pub fn identifier(&self) -> u32 {
        self.child.id()
    }

    /// Every line so far, firmware's too.
    pub fn log(&self) -> &[String] {
        &self.log
    }

    /// Every event so far.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.log.iter().filter_map(|line| Event::parse(line).ok())
    }

    /// Waits at most `wait` for a line.
    pub fn poll(&mut self, wait: Duration) -> Polled {
        match self.lines.recv_timeout(wait) {
            Ok(line) => {
                self.log.push(line.clone());
                Polled::Line(line)
            }
            Err(RecvTimeoutError::Timeout) => Polled::Nothing,
            Err(RecvTimeoutError::Disconnected) => Polled::End,
        }
    }

    /// Types on the machine's serial port.
    ///
    /// # Errors
    /// If QEMU has ended.
    pub fn type_text(&mut self, text: &[u8]) -> io::Result<()> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(text)?;
        input.flush()
    }

    /// The way to type on the machine's serial port, for somebody else; [`Running::type_text`] has none then.
    pub fn take_input(&mut self) -> Option<ChildStdin> {
        self.input.take()
    }

    /// From now on, whatever comes on the serial port is also copied to `copy` as it comes. `missed` is given the lines
    /// that had come and were not polled.
    pub fn copy_to(&mut self, mut copy: Box<dyn Write + Send>, mut missed: impl FnMut(&str)) {
        // A reader that panicked left its last line as it was.
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        for line in self.lines.try_iter() {
            missed(&line);
            self.log.push(line);
        }
        // A terminal that is gone is no reason to end the machine.
        let _ = copy.write_all(&port.line).and_then(|()| copy.flush());
        port.copy = Some(copy);
    }

    /// Waits at most `wait` for QEMU to end by itself, taking in what still comes; how it ended.
    ///
    /// # Errors
    /// If it does not.
    pub fn wait_for_end(&mut self, wait: Duration) -> Result<ExitStatus, RunError> {
        let end = Instant::now() + wait;
        loop {
            match self.poll(end.saturating_duration_since(Instant::now())) {
                Polled::Line(_) => {}
                Polled::Nothing => return Err(self.timed_out("end of QEMU by itself")),
                Polled::End => {
                    return self
                        .child
                        .wait()
                        .map_err(|source| RunError::Start { program: DEFAULT_PROGRAM.into(), source });
                }
            }
        }
    }

    /// Time left of the limit.
    pub fn left(&self) -> Duration {
        self.limit.saturating_sub(self.started.elapsed())
    }

    /// Waits for a line; `waiting_for` says in errors what it was hoped to be.
    ///
    /// # Errors
    /// If QEMU ends or the time is up first.
    pub fn next_line(&mut self, waiting_for: &str) -> Result<String, RunError> {
        match self.poll(self.left()) {
            Polled::Line(line) => Ok(line),
            Polled::Nothing => Err(self.timed_out(waiting_for)),
            Polled::End => Err(self.exited(waiting_for)),
        }
    }

    /// Waits for an event that `wanted` accepts, among those that come from now on.
    ///
    /// # Errors
    /// If QEMU ends or the time is up first.
    pub fn wait_for(&mut self, waiting_for: &str, mut wanted: impl FnMut(&Event) -> bool) -> Result<Event, RunError> {
        loop {
            if let Ok(event) = Event::parse(&self.next_line(waiting_for)?)
                && wanted(&event)
            {
                return Ok(event);
            }
        }
    }

    /// Waits until the boot has succeeded or failed, showing each line to `observe`.
    ///
    /// # Errors
    /// If QEMU ends or the time is up first.
    pub fn wait_for_outcome(&mut self, mut observe: impl FnMut(&str)) -> Result<Outcome, RunError> {
        loop {
            let line = self.next_line("`charter: boot complete` line")?;
            observe(&line);
            if let Some(outcome) = Outcome::of(&line) {
                return Ok(outcome);
            }
        }
    }

    /// Takes in what still comes for so long.
    pub fn settle(&mut self, time: Duration, mut observe: impl FnMut(&str)) {
        let end = Instant::now() + time;
        while let Polled::Line(line) = self.poll(end.saturating_duration_since(Instant::now())) {
            observe(&line);
        }
    }

    /// The error for a run whose time is up.
    pub fn timed_out(&self, waiting_for: &str) -> RunError {
        RunError::TimedOut { waiting_for: waiting_for.into(), limit: self.limit, tail: self.tail() }
    }

    /// The error for a QEMU that has ended. Waits for it, for a moment.
    pub fn exited(&mut self, waiting_for: &str) -> RunError {
        let status = match self.child.wait() {
            Ok(status) => status,
            Err(source) => return RunError::Start { program: DEFAULT_PROGRAM.into(), source },
        };
        let messages = self.messages.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        RunError::Exited { status, waiting_for: waiting_for.into(), messages, tail: self.tail() }
    }

    fn tail(&self) -> String {
        self.log[self.log.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// The control socket, connected at its first use.
    ///
    /// # Errors
    /// If QEMU does not open it.
    pub fn control(&mut self) -> Result<&mut qmp::Client, QmpError> {
        let client = match self.client.take() {
            Some(client) => client,
            None => qmp::Client::connect(&self.control, Duration::from_secs(10))?,
        };
        Ok(self.client.insert(client))
    }

    /// Asks QEMU to quit, waits until it has, and returns the whole log.
    ///
    /// # Errors
    /// If QEMU does not answer.
    pub fn quit(mut self) -> Result<Vec<String>, RunError> {
        self.control()?.quit()?;
        loop {
            match self.poll(Duration::from_secs(10)) {
                Polled::Line(_) => {}
                Polled::End => break,
                Polled::Nothing => return Err(self.timed_out("end of QEMU after quit")),
            }
        }
        Ok(std::mem::take(&mut self.log))
    }
}

impl Running {
    /// Kills QEMU at once, as a crash of its host would end it, and returns the whole log. What it had written to files
    /// is in the host's cache, and stays.
    pub fn kill(mut self) -> Vec<String> {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
        while let Polled::Line(_) = self.poll(Duration::from_secs(10)) {}
        std::mem::take(&mut self.log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Errors mean that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// QEMU's name on the search path.
pub const DEFAULT_PROGRAM: &str = "qemu-system-x86_64";

/// The command that starts `program`. On Linux the kernel ends QEMU when the thread that started it ends, even if it is
/// killed and runs no destructor.
fn command(program: &OsStr) -> Command {
    let guard = ["/usr/bin/setpriv", "/bin/setpriv"].into_iter().find(|path| Path::new(path).exists());
    match guard {
        // Only for a program that exists: otherwise the error would be setpriv's.
        Some(guard) if on_search_path(program) => {
            let mut command = Command::new(guard);
            command.args([OsString::from("--pdeathsig"), "KILL".into(), "--".into(), program.into()]);
            command
        }
        _ => Command::new(program),
    }
}

fn on_search_path(program: &OsStr) -> bool {
    if Path::new(program).components().count() > 1 {
        return Path::new(program).is_file();
    }
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|place| place.join(program).is_file()))
}

/// What has come on the serial port.
struct Port {
    /// The line that has not ended yet.
    line: Vec<u8>,
    lines: Sender<String>,
    copy: Option<Box<dyn Write + Send>>,
}

impl Port {
    fn take(&mut self, bytes: &[u8]) {
        if let Some(copy) = &mut self.copy {
            // A terminal that is gone is no reason to end the machine.
            let _ = copy.write_all(bytes).and_then(|()| copy.flush());
        }
        for byte in bytes {
            self.line.push(*byte);
            if *byte == b'\n' {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        // Nobody takes lines any more when the run is being dropped.
        let _ = self.lines.send(plain(&String::from_utf8_lossy(&self.line)));
        self.line.clear();
    }
}

/// Reads the serial port, on a thread of its own, until QEMU ends.
fn read_port(mut output: ChildStdout, port: &Arc<Mutex<Port>>) {
    let port = Arc::downgrade(port);
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = output.read(&mut bytes) {
            let Some(port) = port.upgrade() else { break };
            port.lock().unwrap_or_else(PoisonError::into_inner).take(&bytes[..count]);
        }
        if let Some(port) = port.upgrade() {
            let mut port = port.lock().unwrap_or_else(PoisonError::into_inner);
            if !port.line.is_empty() {
                port.end_line();
            }
            // Whoever polls sees that QEMU has ended.
            port.lines = channel().0;
        }
    });
}

fn read_messages(mut output: ChildStderr) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // What was read before an error is kept.
        let _ = output.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).trim().to_owned()
    })
}
