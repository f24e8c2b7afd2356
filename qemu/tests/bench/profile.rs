//! Which functions the instructions of a row are spent in: `make profile`.
//!
//! The plugin tells stretches of code, with their first bytes; programs lie at the same addresses, so these bytes tell
//! whose a stretch is, and that program's symbols whose function. Inlined functions count for their callers: for what is in
//! one, there is a table of the stretches beside the bench's other files, to be read along with a disassembly.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use qemu::harness::bare_directory;
use xmas_elf::ElfFile;
use xmas_elf::sections::{SectionData, ShType};

use crate::counter::Stretch;

/// Functions shown for a row.
const SHOWN: usize = 45;

/// A program's code and functions.
struct Program {
    name: String,
    /// Address and bytes of what is loaded.
    segments: Vec<(u64, Vec<u8>)>,
    /// By address: first address after it, and name.
    functions: BTreeMap<u64, (u64, String)>,
}

impl Program {
    fn read(name: &str) -> Self {
        let path = bare_directory().join("x86_64-unknown-none/release").join(name);
        let file = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let elf = ElfFile::new(&file).expect("a program is an ELF file");
        let segments = elf.program_iter().map(|segment| {
            let start = segment.offset() as usize;
            (segment.virtual_addr(), file[start..start + segment.file_size() as usize].to_vec())
        });
        let segments = segments.collect();
        let mut functions = BTreeMap::new();
        for section in elf.section_iter().filter(|section| section.get_type() == Ok(ShType::SymTab)) {
            let Ok(SectionData::SymbolTable64(symbols)) = section.get_data(&elf) else { continue };
            for symbol in symbols {
                use xmas_elf::symbol_table::Entry;
                let (address, name) = (symbol.value(), symbol.get_name(&elf).unwrap_or_default());
                // Labels in assembly have no size: they go on to the next one.
                let end = address + symbol.size();
                functions.insert(address, (end, format!("{:#}", rustc_demangle::demangle(name))));
            }
        }
        Self { name: name.to_owned(), segments, functions }
    }

    fn has(&self, address: u64, code: &[u8]) -> bool {
        self.segments.iter().any(|(start, bytes)| {
            let place = address.checked_sub(*start).and_then(|offset| usize::try_from(offset).ok());
            place.and_then(|place| bytes.get(place..place + code.len())).is_some_and(|own| own == code)
        })
    }

    /// The function at this address, and whether it begins there.
    fn function(&self, address: u64) -> (&str, bool) {
        match self.functions.range(..=address).next_back() {
            Some((begin, (end, name))) if address < *end || end == begin => (name, *begin == address),
            _ => ("?", false),
        }
    }
}

/// Shows what each of these rows is spent in; `iterations` are those of each row.
pub fn show(programs: &[&str], rows: &[(&str, f64, &[Stretch])]) {
    let programs: Vec<_> = programs.iter().map(|name| Program::read(name)).collect();
    for (row, iterations, stretches) in rows {
        let mut functions = BTreeMap::<(&str, &str), (u64, u64)>::new();
        let mut totals = BTreeMap::<&str, u64>::new();
        for stretch in *stretches {
            let program = programs.iter().find(|program| program.has(stretch.address, &stretch.code));
            let (program, (function, begins)) = program
                .map_or(("?", ("?", false)), |program| (program.name.as_str(), program.function(stretch.address)));
            let instructions = stretch.times * stretch.instructions;
            let (spent, calls) = functions.entry((program, function)).or_default();
            *spent += instructions;
            *calls += if begins { stretch.times } else { 0 };
            *totals.entry(program).or_default() += instructions;
        }
        let mut table = String::from("program address instructions times\n");
        for stretch in *stretches {
            let program = programs.iter().find(|program| program.has(stretch.address, &stretch.code));
            let name = program.map_or("?", |program| &program.name);
            let _ = writeln!(table, "{name} {:#x} {} {}", stretch.address, stretch.instructions, stretch.times);
        }
        let path = bare_directory().join(format!("profile-{row}.txt"));
        fs::write(&path, table).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        println!("== {row} ({})", path.display());
        for (program, instructions) in totals {
            println!("{:>10.1}           {program}", instructions as f64 / iterations);
        }
        let mut functions: Vec<_> = functions.into_iter().collect();
        functions.sort_by_key(|(_, (instructions, _))| std::cmp::Reverse(*instructions));
        println!("   instr.     calls  program   function");
        for ((program, function), (instructions, calls)) in functions.into_iter().take(SHOWN) {
            let (instructions, calls) = (instructions as f64 / iterations, calls as f64 / iterations);
            println!("{instructions:>10.1} {calls:>8.2}  {program:<9} {function}");
        }
    }
}
