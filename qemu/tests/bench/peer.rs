//! The same reads in Linux, in the same QEMU, in the same run: `make bench PEER=linux`.
//!
//! Instructions are counted with a device that answers after 2 ms, as for Charter's own rows; Linux runs in real time,
//! because under `-icount` it would count its clock's ticks. Reads a second are measured in real time, with a device that
//! answers at once and nothing counted; everything is on one processor then (`taskset`), because with two, QEMU 7.2's
//! NVMe device misses doorbells that Linux writes to memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use qemu::harness::{Bench, bare_directory, root};
use qemu::nvme::{Contents, Namespace};
use qemu::serial::Event;

use crate::counter::{Counter, Counts};

/// Reads of a row that are counted, and that are timed.
const COUNTED: u32 = 640;
const TIMED: u32 = 20_000;
/// A device that moves nothing, and answers at once.
const AT_ONCE: &str = "driver=null-co,size=1G";

/// What one read costs.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Guest instructions, of tasks and kernel together.
    pub instructions: f64,
    /// Writes to device registers.
    pub mmio_writes: f64,
}

/// What Linux was measured at, by row.
pub struct Linux {
    /// Counted.
    pub costs: BTreeMap<String, Cost>,
    /// Reads a second.
    pub rates: BTreeMap<String, f64>,
}

/// Measures Linux. `scratch` is a folder for files.
pub fn linux(device: &str, scratch: &Path) -> Linux {
    let folder = bare_directory().join("peer");
    let setup = root().join("qemu/bench/peer-setup");
    let status = Command::new(&setup).arg(&folder).status().expect("a shell");
    assert!(status.success(), "{} failed", setup.display());
    let initrd = scratch.join("initrd");
    let program = fs::read(folder.join("init")).expect("the program was compiled");
    fs::write(&initrd, archive(&[("dev", None), ("sys", None), ("init", Some(&program))])).expect("a file is written");
    let run = |reads: u32, device: &str, further: &[String]| -> Vec<Event> {
        let output = Command::new("timeout")
            .args(["300", "qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-cpu", "max", "-m", "512"])
            .args(["-nodefaults", "-no-reboot", "-display", "none", "-serial", "stdio"])
            .arg("-kernel")
            .arg(folder.join("vmlinuz"))
            .arg("-initrd")
            .arg(&initrd)
            .args(["-append", &format!("console=ttyS0 quiet panic=-1 reads={reads}")])
            .args(["-drive", &format!("if=none,id=disk,{device}"), "-device", "nvme,serial=peer,drive=disk"])
            .args(further)
            .stdin(Stdio::null())
            .output()
            .expect("QEMU is started");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter_map(|line| Event::parse(line.trim()).ok());
        let events: Vec<_> = lines.filter(|event| event.is("peer", "row") || event.is("peer", "done")).collect();
        assert!(events.iter().any(|event| event.is("peer", "done")), "Linux did not come to its end:\n{text}");
        events.into_iter().filter(|event| event.is("peer", "row")).collect()
    };
    let number = |row: &Event, key: &str| row.number(key).expect("a row is complete") as f64;
    let name = |row: &Event| row.get("name").expect("a row has a name").to_owned();

    let counter = Counter::build(scratch.join("peer-count"));
    let rows = run(COUNTED, device, &counter.arguments());
    let counted = counter.rows();
    assert_eq!(rows.len(), counted.len(), "every row has its marks");
    let cost = |(row, counts): (&Event, &Counts)| {
        let reads = number(row, "reads");
        let instructions = (counts.user + counts.kernel) as f64 / reads;
        (name(row), Cost { instructions, mmio_writes: counts.mmio_writes as f64 / reads })
    };
    let costs = rows.iter().zip(&counted).map(cost).collect();
    let rates = rates(&run(TIMED, AT_ONCE, &[]));
    Linux { costs, rates }
}

/// Charter's reads a second, by row.
pub fn charter_rates() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(root().join("qemu/bench/reads.toml")).expect("the charter is read");
    let bench =
        Bench::from_text(&text.replace("[tasks.bench]\n", "[tasks.bench]\nsettings = { measure = \"rates\" }\n"));
    let disk = Namespace { contents: Contents::Drive(AT_ONCE.into()), ..Namespace::file(2, "") };
    let log = bench.boot(&bench.machine([disk])).complete();
    let rows: Vec<Event> = log.all("bench", "rate").cloned().collect();
    rates(&rows)
}

fn rates(rows: &[Event]) -> BTreeMap<String, f64> {
    let rate = |row: &Event| {
        let number = |key| row.number(key).expect("a row is complete") as f64;
        let name = row.get("name").expect("a row has a name");
        (name.to_owned(), number("reads") * 1e9 / number("nanoseconds"))
    };
    rows.iter().map(rate).collect()
}

/// A table of both, with ratios, and the same as JSON.
pub fn show(charter: &BTreeMap<String, Cost>, charter_rates: &BTreeMap<String, f64>, linux: &Linux) {
    println!(
        "{:<22} {:>11} {:>11} {:>6} {:>11} {:>11} {:>11} {:>11} {:>6}",
        "against Linux", "charter", "linux", "ratio", "mmio", "linux mmio", "reads/s", "linux /s", "ratio"
    );
    let mut json = Vec::new();
    for (name, own) in charter {
        let (other, rate, other_rate) = (linux.costs[name], charter_rates[name], linux.rates[name]);
        println!(
            "{name:<22} {:>11.1} {:>11.1} {:>6.2} {:>11.3} {:>11.3} {rate:>11.0} {other_rate:>11.0} {:>6.2}",
            own.instructions,
            other.instructions,
            other.instructions / own.instructions,
            own.mmio_writes,
            other.mmio_writes,
            rate / other_rate
        );
        json.push(serde_json::json!({
            "name": name, "instructions": own.instructions, "linux_instructions": other.instructions,
            "mmio_writes": own.mmio_writes, "linux_mmio_writes": other.mmio_writes,
            "reads_per_second": rate, "linux_reads_per_second": other_rate,
        }));
    }
    let path: PathBuf = bare_directory().join("bench-peer.json");
    fs::write(&path, serde_json::json!({ "bench": "peer", "rows": json }).to_string())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// An initramfs of folders and programs: a cpio archive in the "newc" format, which Linux documents in
/// `Documentation/driver-api/early-userspace/buffer-format.rst`.
fn archive(files: &[(&str, Option<&[u8]>)]) -> Vec<u8> {
    const FOLDER: u32 = 0o040_755;
    const PROGRAM: u32 = 0o100_755;
    let mut archive = Vec::new();
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    for (index, (name, content)) in files.iter().chain([&("TRAILER!!!", None)]).enumerate() {
        let (mode, bytes) = content.map_or((FOLDER, &[][..]), |bytes| (PROGRAM, bytes));
        archive.extend(b"070701");
        let length = bytes.len() as u32;
        // Number, mode, owner, group, links, time, size, four device numbers, bytes of the name, checksum.
        for field in [index as u32, mode, 0, 0, 1, 0, length, 0, 0, 0, 0, name.len() as u32 + 1, 0] {
            archive.extend(format!("{field:08X}").bytes());
        }
        archive.extend(name.bytes().chain([0]));
        pad(&mut archive);
        archive.extend(bytes);
        pad(&mut archive);
    }
    archive
}
