//! "Boot this charter with these devices and expect these lines": what system tests are made of.
//!
//! ```no_run
//! use qemu::harness::Bench;
//! use qemu::nvme::Namespace;
//!
//! let bench = Bench::new("reads");                         // builds qemu/tests/charters/reads.toml
//! let disk = bench.disk("data.img", 16 << 20);             // pseudo-random contents
//! let machine = bench.machine([Namespace::file(2, &disk)]); // as Azure: system image, then these
//! let log = bench.boot(&machine).complete();
//! log.check_reads(&[(2, &disk)]);
//! ```
//!
//! Everything here panics with the log's end when the system does not do what is expected. At most two machines run at
//! a time on this computer, whoever starts them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use abi::features::{TEST_FAULTS, TEST_MUTANTS};
use image_builder::Inputs;

use crate::disk;
use crate::firmware::{Firmware, Style};
use crate::lane::Lane;
use crate::machine::Machine;
use crate::nvme::{Controller, Namespace};
use crate::outcome::Outcome;
use crate::process::{Polled, Running};
use crate::serial::Event;

/// Longest run of one machine, if nothing else is said.
pub const LIMIT: Duration = Duration::from_secs(120);
/// Longest run of one machine that does without a check, which may well never get to what is waited for.
const LIMIT_OF_MUTANTS: Duration = Duration::from_secs(60);
/// The variable of the environment that names a check which all machines do without.
pub const SWITCHED_OFF: &str = "SWITCHED_OFF";
/// Most machines at a time.
const MACHINES: usize = 2;
/// How long the log may go on after the line that was waited for.
const SETTLE: Duration = Duration::from_millis(300);

/// A charter's image, and a directory for one test's files.
#[derive(Debug)]
pub struct Bench {
    image: PathBuf,
    directory: Arc<tempfile::TempDir>,
    lane: Lane,
}

impl Bench {
    /// Builds the charter `qemu/tests/charters/NAME.toml`.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn new(name: &str) -> Self {
        Self::build(&root().join(format!("qemu/tests/charters/{name}.toml")))
    }

    /// Builds the charter in this file.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn build(manifest: &Path) -> Self {
        let directory = tempfile::Builder::new().prefix("charter-test-").tempdir().expect("a temporary directory");
        let image = directory.path().join("charter.img");
        build_image(manifest, &image).unwrap_or_else(|error| panic!("{error}"));
        Self { image, directory: Arc::new(directory), lane: Lane::Brokered }
    }

    /// Builds a charter from its text with the kernel that makes faults on purpose.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn with_test_faults(text: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("charter-test-").tempdir().expect("a temporary directory");
        let (manifest, image) = (directory.path().join("system.toml"), directory.path().join("charter.img"));
        fs::write(&manifest, text).expect("the charter is written");
        let inputs = Inputs { kernel: test_kernel(TEST_FAULTS), test_image: true, ..inputs() };
        let build = image_builder::build_file(&manifest, &inputs).unwrap_or_else(|error| panic!("{error}"));
        fs::write(&image, build.image).expect("the image is written");
        Self { image, directory: Arc::new(directory), lane: Lane::Brokered }
    }

    /// Builds a charter from its text.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn from_text(text: &str) -> Self {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().expect("a temporary file");
        fs::write(file.path(), text).expect("the charter is written");
        Self::build(file.path())
    }

    /// Builds a charter from its text, which grants less than the whole of each device, for machines and drivers of this
    /// lane.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn on_lane(lane: Lane, text: &str) -> Self {
        Self::from_text(&lane.charter(text)).for_lane(lane)
    }

    /// The same, for machines and drivers of this lane, for which its charter was made.
    pub fn for_lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// Builds the charter `qemu/tests/charters/NAME.toml` likewise.
    ///
    /// # Panics
    /// If it cannot be built.
    pub fn named_on_lane(lane: Lane, name: &str) -> Self {
        let path = root().join(format!("qemu/tests/charters/{name}.toml"));
        Self::on_lane(lane, &fs::read_to_string(path).expect("the charter is read"))
    }

    /// The system image.
    pub fn image(&self) -> &Path {
        &self.image
    }

    /// A path for a file of this test, removed at its end.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// A disk image of this name with pseudo-random contents, which follow from the name.
    ///
    /// # Panics
    /// If it cannot be written.
    pub fn disk(&self, name: &str, bytes: u64) -> PathBuf {
        let path = self.path(name);
        disk::random(&path, seed(name), bytes).expect("a disk image");
        path
    }

    /// A machine laid out as Azure does: one NVMe controller, whose namespace 1 is the system image, and these
    /// further namespaces.
    pub fn machine(&self, namespaces: impl IntoIterator<Item = Namespace>) -> Machine {
        let mut machine = bare_machine(Style::Any);
        let mut controller = Controller::new("charter-0").with(Namespace::file(1, &self.image).bootable());
        controller.namespaces.extend(namespaces);
        machine.controllers.push(controller);
        self.lane.change(&mut machine);
        machine
    }

    /// Starts a machine.
    ///
    /// # Panics
    /// If QEMU cannot be started.
    pub fn boot(&self, machine: &Machine) -> System {
        self.boot_for(machine, LIMIT)
    }

    /// Starts a machine that may run for `limit`, for systems of which it is known that some never end.
    ///
    /// # Panics
    /// If QEMU cannot be started.
    pub fn boot_for(&self, machine: &Machine, limit: Duration) -> System {
        let slot = take_slot();
        let (mut machine, mut limit) = (machine.clone(), limit);
        if let Some(check) = switched_off() {
            let entry = format!("name={},string={check}", abi::features::SWITCHED_OFF);
            machine.further.extend(["-fw_cfg".into(), entry]);
            limit = limit.min(LIMIT_OF_MUTANTS);
        }
        let running = Running::start(&machine, limit).unwrap_or_else(|error| panic!("{error}"));
        System { running, _directory: Arc::clone(&self.directory), _slot: slot }
    }
}

/// Boots `system.toml` with its data disk on a machine that `change` has changed: it reaches `charter: boot complete`, and
/// everything that it read is right.
///
/// # Panics
/// If it does not boot, or read that.
pub fn boot_default(change: impl FnOnce(&mut Machine)) -> Log {
    let bench = Bench::build(&root().join("system.toml"));
    let disk = bench.disk("disk.img", 16 << 20);
    let mut machine = bench.machine([Namespace::file(2, &disk)]);
    change(&mut machine);
    let log = bench.boot(&machine).complete();
    assert_eq!(log.check_reads(&[(2, &disk)]), 5);
    log
}

/// A machine without any disk.
///
/// # Panics
/// If no firmware of that style is installed.
pub fn bare_machine(style: Style) -> Machine {
    Machine::new(Firmware::find(style).unwrap_or_else(|error| panic!("{error}")))
}

/// The seed of [`Bench::disk`]'s contents for a name.
pub fn seed(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// A started machine.
pub struct System {
    running: Running,
    // The files that it runs from stay, even if the bench goes.
    _directory: Arc<tempfile::TempDir>,
    _slot: File,
}

impl System {
    /// Waits for `charter: boot complete` and a little longer, and ends the machine.
    ///
    /// # Panics
    /// If the system does not come up.
    pub fn complete(mut self) -> Log {
        self.wait_complete();
        self.end()
    }

    /// Waits for `charter: boot complete` and leaves the machine running.
    ///
    /// # Panics
    /// If the system does not come up.
    pub fn wait_complete(&mut self) {
        match self.running.wait_for_outcome(|_| {}) {
            Ok(Outcome::Complete) => {}
            Ok(Outcome::Failed(line)) => self.fail(&format!("the system failed: {line}")),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Waits until the system says that it will not come up, and ends the machine.
    ///
    /// # Panics
    /// If it comes up.
    pub fn incomplete(mut self) -> Log {
        match self.running.wait_for_outcome(|_| {}) {
            Ok(Outcome::Failed(line)) if line.starts_with("charter: boot incomplete") => self.end(),
            Ok(outcome) => self.fail(&format!("expected an incomplete boot: {outcome:?}")),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// Waits for an event, which may have come already.
    ///
    /// # Panics
    /// If it does not come.
    pub fn expect(&mut self, component: &str, event: &str) -> Event {
        self.expect_where(&format!("`{component}: {event}`"), |found| found.is(component, event))
    }

    /// Waits for an event of a task that writes under its own name, which may have come already.
    ///
    /// # Panics
    /// If it does not come, or the task stops first.
    pub fn expect_from(&mut self, task: &str, event: &str) -> Event {
        let is_end = |found: &Event| found.is("kernel", "task stopped") && found.get("task") == Some(task);
        let found = self.expect_where(&format!("`{task}: {event}`"), |found| found.is(task, event) || is_end(found));
        if is_end(&found) {
            self.fail(&format!("{found} while waiting for `{task}: {event}`"));
        }
        found
    }

    /// Waits for an event that `wanted` accepts, which may have come already.
    ///
    /// # Panics
    /// If it does not come, or if the kernel panics first.
    pub fn expect_where(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        if let Some(found) = self.running.events().find(&wanted) {
            return found;
        }
        loop {
            let line = self.running.next_line(what).unwrap_or_else(|error| self.fail(&error.to_string()));
            if line.starts_with("kernel: panic") {
                self.fail(&format!("{line} while waiting for {what}"));
            }
            match Event::parse(&line) {
                Ok(event) if wanted(&event) => return event,
                _ => {}
            }
        }
    }

    /// Waits for an event that comes from now on.
    ///
    /// # Panics
    /// If it does not come.
    pub fn expect_next(&mut self, component: &str, event: &str) -> Event {
        self.expect_next_where(&format!("`{component}: {event}`"), |found| found.is(component, event))
    }

    /// Waits for an event that `wanted` accepts and that comes from now on.
    ///
    /// # Panics
    /// If it does not come.
    pub fn expect_next_where(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        self.running.wait_for(what, wanted).unwrap_or_else(|error| self.fail(&error.to_string()))
    }

    /// Types on the serial port.
    ///
    /// # Panics
    /// If QEMU has ended.
    pub fn type_text(&mut self, text: &str) {
        if let Err(error) = self.running.type_text(text.as_bytes()) {
            self.fail(&format!("nobody to type to: {error}"));
        }
    }

    /// Waits for a line that `wanted` accepts and that comes from now on, whoever wrote it.
    ///
    /// # Panics
    /// If it does not come.
    pub fn expect_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.running.next_line(what).unwrap_or_else(|error| self.fail(&error.to_string()));
            if wanted(&line) {
                return line;
            }
        }
    }

    /// Waits until QEMU ends by itself, as it should; how it ended, and the log.
    ///
    /// # Panics
    /// If it does not.
    pub fn wait_for_end(mut self) -> (std::process::ExitStatus, Log) {
        match self.running.wait_for_end(Duration::from_secs(30)) {
            Ok(status) => (status, Log::new(self.running.log().to_vec())),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// The last event so far that `wanted` accepts, without waiting for one.
    pub fn latest_where(&mut self, wanted: impl Fn(&Event) -> bool) -> Option<Event> {
        while let Polled::Line(_) = self.running.poll(Duration::ZERO) {}
        self.running.log().iter().rev().filter_map(|line| Event::parse(line).ok()).find(wanted)
    }

    /// Kills QEMU at once, see [`Running::kill`].
    pub fn kill(self) -> Log {
        Log::new(self.running.kill())
    }

    /// The running QEMU, for its control socket.
    pub fn running(&mut self) -> &mut Running {
        &mut self.running
    }

    /// Takes in what still comes, and ends the machine.
    ///
    /// # Panics
    /// If QEMU does not end.
    pub fn end(mut self) -> Log {
        self.running.settle(SETTLE, |_| {});
        Log::new(self.running.quit().unwrap_or_else(|error| panic!("{error}")))
    }

    fn fail(&mut self, reason: &str) -> ! {
        self.running.settle(SETTLE, |_| {});
        panic!("{reason}\n--- the whole log:\n{}\n---", self.running.log().join("\n"))
    }
}

/// The log of a machine that has ended.
#[derive(Clone, Debug)]
pub struct Log {
    lines: Vec<String>,
    events: Vec<Event>,
}

impl Log {
    /// Takes a log's lines.
    pub fn new(lines: Vec<String>) -> Self {
        let events = lines.iter().filter_map(|line| Event::parse(line).ok()).collect();
        Self { lines, events }
    }

    /// Every line, firmware's too.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Every event, in order.
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Every event of this kind.
    pub fn all<'a>(&'a self, component: &'a str, event: &'a str) -> impl Iterator<Item = &'a Event> {
        self.events.iter().filter(move |found| found.is(component, event))
    }

    /// The one event of this kind.
    ///
    /// # Panics
    /// If there is none or more than one.
    pub fn one<'a>(&'a self, component: &'a str, event: &'a str) -> &'a Event {
        let found: Vec<_> = self.all(component, event).collect();
        match found[..] {
            [one] => one,
            _ => self.fail(&format!("{} lines `{component}: {event}` instead of one", found.len())),
        }
    }

    /// Checks every logged read against the bytes of the disk files, given by namespace, and returns how many there
    /// were.
    ///
    /// # Panics
    /// If there is no read, a read of another namespace, or one whose hash is not that of the file's bytes.
    pub fn check_reads(&self, disks: &[(u64, &Path)]) -> usize {
        let mut count = 0;
        for read in self.all("block", "read") {
            let number = |key| read.number(key).unwrap_or_else(|error| self.fail(&error.to_string()));
            let nsid = number("nsid");
            let Some((_, path)) = disks.iter().find(|(identifier, _)| *identifier == nsid) else {
                self.fail(&format!("unexpected `{read}`"))
            };
            let block_bytes = number("block_bytes");
            let expected = disk::sha256(path, number("lba") * block_bytes, number("blocks") * block_bytes)
                .unwrap_or_else(|error| self.fail(&format!("`{read}`: {error}")));
            if read.get("sha256") != Some(&expected) {
                self.fail(&format!("`{read}`: the disk's bytes have {expected}"));
            }
            count += 1;
        }
        if count == 0 {
            self.fail("no `block: read` line");
        }
        count
    }

    /// Panics with the whole log.
    pub fn fail(&self, reason: &str) -> ! {
        panic!("{reason}\n--- the whole log:\n{}\n---", self.lines.join("\n"))
    }
}

/// The workspace's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the workspace is where it was built")
}

/// Where kernel and tasks are built, as toolchain.sh decides.
pub fn bare_directory() -> PathBuf {
    root().join(std::env::var_os("BARE_TARGET_DIR").unwrap_or_else(|| "target/bare".into()))
}

/// Brings kernel and tasks up to date, once a test process.
fn build_programs() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let output = Command::new(root().join("toolchain.sh")).arg("build").output().expect("toolchain.sh is started");
        let messages = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "kernel and tasks do not build:\n{messages}");
    });
}

/// Builds a charter into an image file, or says what is wrong with it as the builder does.
///
/// # Errors
/// The builder's message.
pub fn build_image(manifest: &Path, image: &Path) -> Result<(), String> {
    fs::write(image, build(manifest)?.image).map_err(|error| format!("{}: {error}", image.display()))
}

/// Builds a charter in memory, or says what is wrong with it as the builder does.
///
/// # Errors
/// The builder's message.
pub fn build(manifest: &Path) -> Result<image_builder::Build, String> {
    image_builder::build_file(manifest, &inputs()).map_err(|error| error.to_string())
}

/// Kernel, UEFI application and programs, brought up to date.
pub fn inputs() -> Inputs {
    build_programs();
    let bare = bare_directory();
    let programs = bare.join("x86_64-unknown-none/release");
    let test_image = switched_off().is_some();
    Inputs {
        kernel: if test_image { test_kernel(TEST_MUTANTS) } else { programs.join("kernel") },
        boot: bare.join("x86_64-unknown-uefi/release/boot.efi"),
        programs: vec![programs],
        test_image,
    }
}

/// The kernel with this feature, which is for tests ([`abi::features`]), beside the one without.
pub fn test_kernel(feature: &str) -> PathBuf {
    bare_directory().join(format!("x86_64-unknown-none/release/kernel-{feature}"))
}

/// Checks that no image is built with the kernel that has this feature, unless it is said that it is for tests; and that
/// such an image says so.
pub fn check_is_for_tests_only(feature: &str) {
    let charter = root().join("qemu/tests/charters/manners.toml");
    let inputs = Inputs { kernel: test_kernel(feature), test_image: false, ..inputs() };
    let refused = image_builder::build_file(&charter, &inputs).expect_err("built, and not for tests").to_string();
    assert!(refused.contains(&format!("has the feature {feature} and is for tests only")), "{refused}");
    let inputs = Inputs { test_image: true, ..inputs };
    let build = image_builder::build_file(&charter, &inputs).unwrap_or_else(|error| panic!("{error}"));
    let inspection = image_builder::inspect::inspect(&build.image).expect("an image that was built can be inspected");
    assert_eq!(inspection.test_features, [feature]);
    assert!(inspection.to_string().contains(&format!("FOR TESTS ONLY: the kernel has {feature}")));
}

/// The check that every machine of this process does without, if one of them is to be: its tests must notice.
pub fn switched_off() -> Option<String> {
    std::env::var(SWITCHED_OFF).ok().filter(|name| !name.is_empty())
}

/// Waits for one of the places for a running machine. It is free again when the file is closed.
///
/// # Panics
/// If the temporary folder cannot be written.
pub fn take_slot() -> File {
    let directory = std::env::temp_dir();
    loop {
        for index in 0..MACHINES {
            let path = directory.join(format!("charter-machine-{index}.lock"));
            let file = File::options().create(true).append(true).open(&path);
            let file = file.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if file.try_lock().is_ok() {
                return file;
            }
        }
        thread::sleep(Duration::from_millis(20));
    }
}
