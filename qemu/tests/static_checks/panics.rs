//! Which panics a task could reach in the kernel, as far as its machine code shows.
//!
//! The kernel is disassembled, and walked from where a task enters it: system calls, exceptions, interrupts. A function
//! leads to every function that one of its instructions names, as target or as address; and every function whose address
//! lies in the kernel's data counts as reached, because an indirect call may go there. What is left open: an address that
//! is computed in another way, a stack that overflows, a fault of the kernel's own, and a loop that does not end.
//!
//! A panic names the place in the source where it is, so every such place that a reached function names is one. They are
//! in `panics.txt`, by file, each with the reason why they cannot happen; a place more than that fails the test. The
//! compiler proves more or less, as its version goes: the list holds for the one that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind};
use object::{Object, ObjectSection, ObjectSymbol, SectionKind};
use qemu::harness::{bare_directory, root};

use super::segments::programs;

/// Where tasks, interrupts and exceptions come in, and where the kernel goes on afterwards.
const ENTRIES: [&str; 2] = ["entry_system_call", "entry_interrupts"];
/// Where every panic goes; what comes after is the panic's.
const PANICS: &str = "core::panicking::";

/// A place in the source, as a panic tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    line: u32,
    column: u32,
}

/// The kernel's code, by function.
struct Kernel {
    functions: BTreeMap<u64, Function>,
    /// Words of data that are a function's address.
    taken: BTreeSet<u64>,
    /// Data: address and bytes of each section.
    data: Vec<(u64, Vec<u8>)>,
}

#[derive(Default)]
struct Function {
    name: String,
    /// Functions that it leads to.
    leads_to: BTreeSet<u64>,
    /// Every address that it names.
    addresses: BTreeSet<u64>,
    /// Instructions that are there to fault.
    traps: u32,
}

impl Kernel {
    fn read(bytes: &[u8]) -> Self {
        let file = object::File::parse(bytes).unwrap();
        let text = file.section_by_name(".text").expect("code");
        let code = text.data().unwrap();
        let end = text.address() + code.len() as u64;
        let mut starts = BTreeMap::new();
        for symbol in file.symbols().filter(|symbol| (text.address()..end).contains(&symbol.address())) {
            let name = symbol.name().unwrap();
            if !name.is_empty() {
                starts.insert(symbol.address(), format!("{:#}", rustc_demangle::demangle(name)));
            }
        }
        assert_eq!(starts.first_key_value().map(|(address, _)| *address), Some(text.address()), "code without a name");
        let ends = starts.keys().skip(1).copied().chain([end]);
        let functions = starts.iter().zip(ends).map(|((start, name), end)| {
            let bytes = &code[(start - text.address()) as usize..(end - text.address()) as usize];
            (*start, Function::read(name.clone(), bytes, *start, &starts))
        });
        let loaded = file.sections().filter(|section| section.address() != 0 && section.kind() != SectionKind::Text);
        let data: Vec<_> = loaded.map(|section| (section.address(), section.data().unwrap_or(&[]).to_vec())).collect();
        let words = data.iter().flat_map(|(_, bytes)| bytes.chunks_exact(8));
        let words = words.map(|word| u64::from_le_bytes(word.try_into().unwrap()));
        let taken = words.filter(|word| starts.contains_key(word)).collect();
        Self { functions: functions.collect(), taken, data }
    }

    fn named(&self, name: &str) -> u64 {
        let found = self.functions.iter().find(|(_, function)| function.name == name);
        *found.unwrap_or_else(|| panic!("the kernel has no `{name}`")).0
    }

    /// All that can be reached from these, up to where a panic begins.
    fn reached(&self, from: impl IntoIterator<Item = u64>) -> Vec<&Function> {
        let mut reached = BTreeSet::new();
        let mut left: Vec<_> = from.into_iter().collect();
        while let Some(next) = left.pop() {
            let function = &self.functions[&next];
            if !function.name.starts_with(PANICS) && reached.insert(next) {
                left.extend(&function.leads_to);
            }
        }
        reached.iter().map(|address| &self.functions[address]).collect()
    }

    fn bytes(&self, address: u64, length: usize) -> Option<&[u8]> {
        self.data.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(address.checked_sub(*start)?).ok()?;
            bytes.get(offset..offset.checked_add(length)?)
        })
    }

    /// The `core::panic::Location` at an address, if there is one: file, its length, line and column.
    fn place(&self, address: u64) -> Option<Place> {
        let bytes = self.bytes(address, 24)?;
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let length = usize::try_from(word(8)).ok().filter(|length| (4..400).contains(length))?;
        let file = std::str::from_utf8(self.bytes(word(0), length)?).ok()?;
        let (line, column) = (half(16), half(20));
        (file.ends_with(".rs") && line > 0 && column > 0).then(|| Place { file: named(file), line, column })
    }
}

/// A file's name without where a compiler or a registry lies on this machine.
fn named(file: &str) -> String {
    match file.strip_prefix("/registry/").and_then(|rest| rest.split_once('/')) {
        Some((_, package)) => package.to_owned(),
        None => file.to_owned(),
    }
}

impl Function {
    fn read(name: String, bytes: &[u8], start: u64, starts: &BTreeMap<u64, String>) -> Self {
        let mut function = Self { name, ..Self::default() };
        let end = start + bytes.len() as u64;
        let mut goes_on = false;
        for instruction in &mut Decoder::with_ip(64, bytes, start, DecoderOptions::NONE) {
            if matches!(instruction.mnemonic(), Mnemonic::Int3 | Mnemonic::Nop) {
                continue;
            }
            // A branch into the middle of a function counts as one to the function.
            let branch = branch_target(&instruction).and_then(|target| Some(*starts.range(..=target).next_back()?.0));
            function.leads_to.extend(branch);
            function.leads_to.extend(addresses(&instruction).filter(|named| starts.contains_key(named)));
            function.addresses.extend(addresses(&instruction));
            function.traps += u32::from(instruction.code() == Code::Ud2);
            // After a call that never comes back there may be nothing.
            goes_on = matches!(instruction.flow_control(), FlowControl::Next | FlowControl::ConditionalBranch);
        }
        // As the entry code does, from one name to the next.
        if goes_on && starts.contains_key(&end) {
            function.leads_to.insert(end);
        }
        function.leads_to.remove(&start);
        function
    }
}

fn branch_target(instruction: &Instruction) -> Option<u64> {
    (instruction.op0_kind() == OpKind::NearBranch64).then(|| instruction.near_branch_target())
}

/// The addresses that an instruction names, relative to itself or as numbers; numbers that are none are left in.
fn addresses(instruction: &Instruction) -> impl Iterator<Item = u64> {
    (0..instruction.op_count()).filter_map(|operand| match instruction.op_kind(operand) {
        OpKind::Immediate64 | OpKind::Immediate32to64 => Some(instruction.immediate(operand)),
        OpKind::Memory => Some(instruction.memory_displacement64()),
        _ => None,
    })
}

/// What is listed: how many places, by file or function.
struct List {
    compiler: String,
    places: BTreeMap<String, usize>,
}

impl List {
    fn read() -> Self {
        let text = fs::read_to_string(root().join("qemu/tests/static_checks/panics.txt")).unwrap();
        let mut list = Self { compiler: String::new(), places: BTreeMap::new() };
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some(name) = line.strip_prefix("# compiler: ") {
                list.compiler = name.to_owned();
            } else if !line.starts_with('#') {
                let parts: Vec<_> = line.splitn(3, " | ").collect();
                let [count, file, reason] = parts[..] else { panic!("panics.txt: `{line}`") };
                assert!(reason.len() > 20, "panics.txt: no reason in `{line}`");
                assert!(list.places.insert(file.to_owned(), count.parse().unwrap()).is_none(), "{file} is there twice");
            }
        }
        list
    }
}

fn kernel() -> Vec<u8> {
    let path: PathBuf = bare_directory().join("x86_64-unknown-none/release/kernel");
    assert!(programs().contains(&path));
    fs::read(path).unwrap()
}

/// The compiler that toolchain.sh chooses.
fn compiler() -> String {
    let output = std::process::Command::new(root().join("toolchain.sh")).arg("explain").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    text.split("rustc ").nth(1).and_then(|rest| rest.split([',', ' ', '\n']).next()).unwrap_or("?").to_owned()
}

#[test]
fn every_panic_that_a_task_could_reach_is_listed_with_the_reason_why_it_cannot_happen() {
    let kernel = Kernel::read(&kernel());
    let entries = ENTRIES.iter().map(|name| kernel.named(name)).chain(kernel.taken.iter().copied());
    let reached = kernel.reached(entries);
    assert!(reached.len() > 60 && reached.len() < kernel.functions.len(), "{} functions", reached.len());

    let mut found = BTreeMap::<String, BTreeSet<String>>::new();
    for function in &reached {
        let places: Vec<_> = function.addresses.iter().filter_map(|address| kernel.place(*address)).collect();
        let panics = function.leads_to.iter().any(|to| kernel.functions[to].name.starts_with(PANICS));
        // A panic that names no place, or something that is there to fault.
        if (panics && places.is_empty()) || function.traps > 0 {
            found.entry(function.name.clone()).or_default().insert("without a place".into());
        }
        for Place { file, line, column } in places {
            found.entry(file).or_default().insert(format!("{line}:{column} in {}", function.name));
        }
    }
    println!("{} of {} functions are reached", reached.len(), kernel.functions.len());
    let counts: BTreeMap<_, _> = found.iter().map(|(file, places)| (file, distinct(places))).collect();
    for (file, places) in &found {
        println!("{} | {file} | {places:?}", counts[file]);
    }
    assert!(!found.is_empty(), "a kernel without any panic would be news: is it walked?");

    let list = List::read();
    if compiler() != list.compiler {
        println!("not compared: this is rustc {}, and panics.txt is for {}", compiler(), list.compiler);
        return;
    }
    for (file, count) in counts {
        let known = list.places.get(file).copied().unwrap_or(0);
        assert!(count <= known, "{file}: {count} places that may panic, panics.txt has {known}: {:#?}", found[file]);
    }
    for file in list.places.keys() {
        assert!(found.contains_key(file), "panics.txt lists {file}, where nothing panics any more");
    }
}

/// The same place may be in several functions.
fn distinct(places: &BTreeSet<String>) -> usize {
    places.iter().map(|place| place.split(" in ").next()).collect::<BTreeSet<_>>().len()
}

/// The walk itself: it follows calls, jumps and addresses.
#[test]
fn the_walk_follows_calls_jumps_and_addresses() {
    let starts = BTreeMap::from([0x1000, 0x1010, 0x1020].map(|address| (address, String::new())));
    let read = |bytes: &[u8]| {
        let mut code = bytes.to_vec();
        code.resize(16, 0x90);
        Vec::from_iter(Function::read(String::new(), &code, 0x1000, &starts).leads_to)
    };
    // call 1010h; ret
    assert_eq!(read(&[0xe8, 0x0b, 0, 0, 0, 0xc3]), [0x1010]);
    // jmp 1020h
    assert_eq!(read(&[0xe9, 0x1b, 0, 0, 0]), [0x1020]);
    // jne 1024h, in the middle of a function; ret
    assert_eq!(read(&[0x75, 0x22, 0xc3]), [0x1020]);
    // lea rax, [1010h]; jmp rax
    assert_eq!(read(&[0x48, 0x8d, 0x05, 0x09, 0, 0, 0, 0xff, 0xe0]), [0x1010]);
    // mov rax, 1020h; call rax; ret
    assert_eq!(read(&[0x48, 0xb8, 0x20, 0x10, 0, 0, 0, 0, 0, 0, 0xff, 0xd0, 0xc3]), [0x1020]);
    // mov qword ptr [rsp + 8], 1020h; ret
    assert_eq!(read(&[0x48, 0xc7, 0x44, 0x24, 8, 0x20, 0x10, 0, 0, 0xc3]), [0x1020]);
    // xor eax, eax: goes on in what follows
    assert_eq!(read(&[0x31, 0xc0]), [0x1010]);
    // jmp 1000h
    assert!(read(&[0xeb, 0xfe]).is_empty());
    // ud2
    assert_eq!(Function::read(String::new(), &[0x0f, 0x0b], 0x1000, &starts).traps, 1);
}
