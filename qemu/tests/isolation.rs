//! What is mapped, seen from outside: page tables and memory of a running system are read through QEMU and checked
//! against what the charter grants.

use std::collections::BTreeMap;
use std::ops::Range;

use abi::layout::{DIRECT_REGISTERS, DIRECT_START, IPC_BUFFER, STACK_BYTES_MAX, STACK_TOP, USER_END, WINDOW_START};
use broker::Broker;
use nvme_broker::NvmeBroker;
use qemu::guest::{Form, GuestMemory, Mapping, PAGE_BYTES, leaks};
use qemu::harness::{Bench, System, bare_directory, root};
use qemu::lane::Lane;
use qemu::nvme::Namespace;
use qemu::qmp::Client;
use qemu::serial::Event;
use qemu::{disk, harness};

/// Where address spaces are looked for. The kernel takes frames from the lowest memory; that all of them are found is
/// checked against the number of tasks.
const LOW_BYTES: u64 = 64 << 20;

/// Boots the default charter with a disk whose contents cannot be mistaken for an address, and pauses it. DMA memory
/// lies above 4 GiB, so that 32 bits cannot hold one of its addresses by chance.
fn paused(bench: &Bench) -> System {
    paused_on(bench, Lane::Brokered)
}

fn paused_on(bench: &Bench, lane: Lane) -> System {
    let path = bench.path("disk.img");
    disk::sparse(&path, harness::seed("isolation"), 16 << 20, &[0], 512).unwrap();
    let mut machine = bench.machine([Namespace::file(2, &path)]);
    machine.memory = "5G".parse().unwrap();
    lane.change(&mut machine);
    let mut system = bench.boot(&machine);
    system.wait_complete();
    system.running().settle(std::time::Duration::from_millis(300), |_| {});
    system.running().control().unwrap().pause().unwrap();
    system
}

fn tasks_at_boot(system: &mut System) -> u64 {
    system.expect("charter", "boot complete").number("tasks").unwrap()
}

#[test]
fn tasks_map_what_is_granted_and_nothing_is_writable_and_executable() {
    let bench = Bench::build(&root().join("system.toml"));
    let mut system = paused(&bench);
    let tasks = tasks_at_boot(&mut system);
    let control = system.running().control().unwrap();
    let page_table = control.register("CR3").unwrap();
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    assert_eq!(spaces.len() as u64, tasks, "an address space for each task");

    for root in memory.address_spaces(page_table).unwrap() {
        let absent = memory.absent_entries_that_name_a_page(root).unwrap();
        assert!(absent.is_empty(), "entries that are not present are zero: {absent:x?}");
    }

    let mut owners = BTreeMap::<u64, &str>::new();
    for space in &spaces {
        for mapping in &space.mappings {
            assert!(!(mapping.rights.writable && mapping.rights.executable), "{}: {mapping:x?}", space.task);
            let lower_half = mapping.address < 1 << 47;
            assert_eq!(mapping.rights.user, lower_half, "{}: {mapping:x?}", space.task);
            assert!(!lower_half || mapping.address + mapping.bytes <= USER_END, "{}: {mapping:x?}", space.task);
        }
        // But for windows, no page belongs to two tasks.
        for mapping in space.user().filter(|mapping| mapping.address < WINDOW_START) {
            for page in mapping.physical_range().step_by(PAGE_BYTES as usize) {
                if let Some(other) = owners.insert(page, &space.task) {
                    panic!("{page:#x} is mapped into {other} and {}", space.task);
                }
            }
        }
    }
    let windows: BTreeMap<_, u64> =
        spaces.iter().map(|space| (space.task.as_str(), space.windows().map(|window| window.bytes).sum())).collect();
    let granted = [
        ("nvme", 4 << 20),
        ("block", 0),
        ("classify", 0),
        ("reader", 2 << 20),
        ("console", 256 << 10),
        ("supervisor", 0),
    ];
    assert_eq!(windows, BTreeMap::from(granted));

    // The kernel's half maps no memory of tasks but their IPC buffers: there is no direct map.
    let buffers: Vec<_> =
        spaces.iter().flat_map(|space| space.user().find_map(|mapping| mapping.translate(IPC_BUFFER))).collect();
    assert_eq!(buffers.len(), spaces.len());
    let regions: Vec<_> = spaces.iter().flat_map(|space| space.windows().map(Mapping::physical_range)).collect();
    for mapping in spaces[0].mappings.iter().filter(|mapping| !mapping.rights.user) {
        for page in mapping.physical_range().step_by(PAGE_BYTES as usize) {
            let task = owners.get(&page).filter(|_| !buffers.contains(&page));
            assert_eq!(task, None, "the kernel maps {page:#x} in {mapping:x?}");
            assert!(!regions.iter().any(|region| region.contains(&page)), "the kernel maps DMA memory: {mapping:x?}");
        }
    }
}

#[test]
fn no_page_of_a_task_holds_a_physical_address_of_dma_memory_or_rings() {
    let bench = Bench::build(&root().join("system.toml"));
    let mut system = paused(&bench);
    let control = system.running().control().unwrap();
    let page_table = control.register("CR3").unwrap();
    let hidden = hidden_memory(control);
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    assert_eq!(spaces.len(), 6);

    let mut secret = vec![hidden.clone()];
    secret.extend(spaces.iter().flat_map(|space| space.windows().map(Mapping::physical_range)));
    assert!(secret.iter().all(|range| range.start > 1 << 32), "above 4 GiB, as this test wants it: {secret:x?}");

    let mut searched = 0;
    for space in &spaces {
        for mapping in space.user() {
            assert!(!mapping.physical_range().any(|address| hidden.contains(&address)), "rings are mapped");
            let contents = memory.contents(mapping).unwrap();
            searched += contents.len();
            let found = leaks(&without_program(&contents, mapping), &secret);
            assert!(found.is_empty(), "{} at {:#x}: {found:x?}", space.task, mapping.address);

            // The same search finds one that is put there.
            let mut planted = without_program(&contents, mapping);
            let offset = planted.len() - 11;
            for (value, bytes) in [(secret[0].start, 8), (secret[1].start + 0x123, 8), (secret[0].start >> 12, 4)] {
                planted[offset..][..bytes].copy_from_slice(&value.to_le_bytes()[..bytes]);
                let found = leaks(&planted, &secret);
                assert!(
                    found.iter().any(|leak| leak.offset == offset && leak.value == value),
                    "{value:#x}: {found:x?}"
                );
            }
        }
    }
    assert!(searched > 6 << 20, "only {searched} bytes were searched");
    assert!(leaks(&secret[0].start.to_le_bytes(), &secret).iter().all(|leak| leak.form == Form::Address64));
}

#[test]
fn no_register_that_a_driver_reads_holds_a_physical_address() {
    let bench = Bench::new("scan");
    let mut machine = bench.machine([]);
    machine.memory = "5G".parse().unwrap();
    let mut system = bench.boot(&machine);
    for state in ["off", "on"] {
        let done = |event: &Event| event.is("scan", "scan done") && event.get("state") == Some(state);
        let done = system.expect_where(&format!("the end of the scan with the controller {state}"), done);
        // Version, capabilities and status at the least; everything but a few registers is refused.
        assert!((3..64).contains(&done.number("allowed").unwrap()), "{done}");
        assert!(done.number("denied").unwrap() > 1000, "{done}");
        assert_eq!(done.number("other"), Ok(0), "{done}");
    }
    let control = system.running().control().unwrap();
    control.pause().unwrap();
    let page_table = control.register("CR3").unwrap();
    let hidden = hidden_memory(control);
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    let mut secret = vec![hidden.clone()];
    secret.extend(spaces.iter().flat_map(|space| space.windows().map(Mapping::physical_range)));
    assert_eq!(secret.len(), 2, "rings and one region");

    let log = system.end();
    let mut registers = std::collections::BTreeSet::new();
    for line in log.all("scan", "register") {
        let (bytes, value) = (line.number("bytes").unwrap(), line.number("value").unwrap());
        assert_eq!(leaks(&value.to_le_bytes()[..bytes as usize], &secret), [], "{line}");
        registers.insert(line.number("offset").unwrap());
    }
    // CAP, VS and CSTS can be read; ASQ and ACQ, which would give the rings away, cannot (NVMe base 2.0, 3.1.3).
    assert!([0x0, 0x8, 0x1c].iter().all(|register| registers.contains(register)), "{registers:x?}");
    assert!(registers.iter().all(|register| !(0x21..0x38).contains(register)), "{registers:x?}");
    assert!(!leaks(&hidden.start.to_le_bytes(), &secret).is_empty(), "ASQ's value would be noticed");
}

#[test]
fn a_driver_with_its_own_rings_maps_them_and_its_registers_and_learns_no_physical_address() {
    let text = std::fs::read_to_string(root().join("system.toml")).unwrap();
    let bench = Bench::from_text(&Lane::Direct.charter(&text));
    let mut system = paused_on(&bench, Lane::Direct);
    let control = system.running().control().unwrap();
    let page_table = control.register("CR3").unwrap();
    let registers = registers(control);
    let mut memory = GuestMemory::new(control, LOW_BYTES).unwrap();
    let spaces = memory.tasks(page_table).unwrap();
    assert_eq!(spaces.len(), 6);

    // What is mapped directly: memory for rings, and of the controller's registers the pages before its MSI-X table.
    let direct = DIRECT_START..STACK_TOP - STACK_BYTES_MAX;
    let mut rings = None;
    for space in &spaces {
        let found: Vec<_> = space.user().filter(|mapping| direct.contains(&mapping.address)).collect();
        if space.task != "nvme" {
            assert!(found.is_empty(), "{}: {found:x?}", space.task);
            continue;
        }
        let [ring, register] = found[..] else { panic!("{found:x?}") };
        assert!(found.iter().all(|mapping| mapping.rights.writable && !mapping.rights.executable), "{found:x?}");
        assert_eq!((ring.address, ring.bytes), (DIRECT_START, NvmeBroker::HIDDEN_BYTES.into()));
        assert_eq!((register.address, register.bytes), (DIRECT_START + DIRECT_REGISTERS, 0x2000));
        assert_eq!(register.physical, registers);
        rings = Some(ring.physical_range());
    }
    let rings = rings.expect("the driver has rings");
    for mapping in spaces.iter().flat_map(|space| space.user()) {
        let table = registers + 0x2000..registers + 0x4000;
        assert!(!mapping.physical_range().any(|address| table.contains(&address)), "the MSI-X table is mapped");
    }

    // Nothing that a task reads says where memory is, and no client's window covers the rings.
    let mut secret = vec![rings.clone()];
    secret.extend(spaces.iter().flat_map(|space| space.windows().map(Mapping::physical_range)));
    assert!(secret.iter().all(|range| range.start > 1 << 32), "{secret:x?}");
    for space in &spaces {
        assert!(space.windows().all(|window| !rings.contains(&window.physical)), "{}", space.task);
        for mapping in space.user().filter(|mapping| mapping.physical != registers) {
            let contents = memory.contents(mapping).unwrap();
            let found = leaks(&without_program(&contents, mapping), &secret);
            assert!(found.is_empty(), "{} at {:#x}: {found:x?}", space.task, mapping.address);
        }
    }
    let mut read = Vec::new();
    for page in [registers, registers + PAGE_BYTES] {
        for word in control.read_words(page, PAGE_BYTES as usize / 4).unwrap() {
            read.extend_from_slice(&word.to_le_bytes());
        }
    }
    assert_eq!(leaks(&read, &secret), [], "of the registers");
    // The controller was told where its queue is, in its own domain.
    let queue = u64::from_le_bytes(*read[0x28..].first_chunk().unwrap());
    assert!(queue >= 1 << 38, "{queue:#x}");
    system.running().control().unwrap().resume().unwrap();
    let log = system.end();
    let line = log.one("dma", "lane selection");
    assert_eq!((line.get("lane"), line.get("reason")), (Some("direct"), Some("whole-device")));
    Lane::Direct.check(&log);
    assert_eq!(log.check_reads(&[(2, &bench.path("disk.img"))]), 5);
}

/// Where the controller's registers are.
fn registers(control: &mut Client) -> u64 {
    let devices = control.monitor("info pci").unwrap();
    let place = devices.split("1b36:0010").nth(1).and_then(|text| text.split("BAR0: 64 bit memory at 0x").nth(1));
    let place = place.and_then(|text| text.split_whitespace().next()).expect("the controller's BAR");
    u64::from_str_radix(place, 16).unwrap()
}

/// The rings and PRP lists: the device's own register says where its admin queue lies, and the broker how much lies
/// with it.
fn hidden_memory(control: &mut Client) -> Range<u64> {
    let registers = registers(control);
    // ASQ, offset 28h, then ACQ (NVMe base 2.0, 3.1.3.8 and 3.1.3.9).
    let words = control.read_words(registers + 0x28, 4).unwrap();
    let address = |index: usize| u64::from(words[index]) | u64::from(words[index + 1]) << 32;
    let (submission, completion) = (address(0), address(2));
    let hidden = submission..submission + u64::from(NvmeBroker::HIDDEN_BYTES);
    assert!(submission != 0 && hidden.contains(&completion), "{hidden:x?} holds {completion:#x}");
    hidden
}

/// A read-only mapping's contents without those pages that are, byte for byte, in one of the programs' files: they were
/// written before the system ran, so they hold nothing of it, but machine code may look like anything.
fn without_program(contents: &[u8], mapping: &Mapping) -> Vec<u8> {
    let mut rest = contents.to_vec();
    if !mapping.rights.writable {
        for page in rest.chunks_mut(PAGE_BYTES as usize) {
            let end = page.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
            if in_a_program(&page[..end]) {
                page.fill(0);
            }
        }
    }
    rest
}

fn in_a_program(bytes: &[u8]) -> bool {
    ["nvme", "block", "classify", "reader", "console", "supervisor"].iter().any(|program| {
        let path = bare_directory().join("x86_64-unknown-none/release").join(program);
        let file = std::fs::read(&path).expect("the program that is in the image");
        bytes.len() >= 8 && file.windows(bytes.len()).any(|part| part[..8] == bytes[..8] && part == bytes)
    })
}
