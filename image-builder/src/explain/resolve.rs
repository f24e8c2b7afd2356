//! What function, file and line an address is of.

use addr2line::Context;
use gimli::{Dwarf, EndianSlice, LittleEndian};

use super::Place;
use crate::symbols::Program;

/// Where toolchain.sh tells the compiler that the repository lies.
const REPOSITORY: &str = "/charter/";

/// Knows the places of one program.
pub struct Resolver<'a> {
    program: &'a Program,
    /// `None` if its debug information is none, or damaged: then there are the linker's names still.
    context: Option<Context<EndianSlice<'a, LittleEndian>>>,
}

impl<'a> Resolver<'a> {
    /// Of this program.
    pub fn new(program: &'a Program) -> Self {
        let section = |id: gimli::SectionId| Ok(EndianSlice::new(program.section(id.name()), LittleEndian));
        let dwarf = Dwarf::load(section);
        let context = dwarf.and_then(Context::from_dwarf).ok();
        Self { program, context }
    }

    /// The functions at an address: the innermost first, then those into which it was inlined. Never empty.
    pub fn places(&self, address: u64) -> Vec<Place> {
        let mut places = self.by_debug_information(address).unwrap_or_default();
        if places.is_empty() {
            places.push(Place::default());
        }
        // The linker knows the whole path of a function, debug information its last part only.
        if let (Some(place), Some(name)) = (places.last_mut(), self.by_linker(address)) {
            place.function = Some(name);
        }
        places
    }

    fn by_debug_information(&self, address: u64) -> Option<Vec<Place>> {
        let mut frames = self.context.as_ref()?.find_frames(address).skip_all_loads().ok()?;
        let mut places = Vec::new();
        while let Ok(Some(frame)) = frames.next() {
            let function = frame.function.as_ref().and_then(|name| name.demangle().ok());
            let location = frame.location.as_ref();
            places.push(Place {
                function: function.map(|name| name.into_owned()),
                file: location.and_then(|own| own.file).map(|file| below_root(file).to_owned()),
                line: location.and_then(|own| own.line).filter(|line| *line != 0),
            });
        }
        Some(places)
    }

    fn by_linker(&self, address: u64) -> Option<String> {
        let next = self.program.functions.partition_point(|(start, ..)| *start <= address);
        let (start, bytes, name) = self.program.functions.get(next.checked_sub(1)?)?;
        // A function of assembly may have no size.
        let is_in = *bytes == 0 || address - start < *bytes;
        is_in.then(|| format!("{:#}", rustc_demangle::demangle(name)))
    }
}

fn below_root(file: &str) -> &str {
    file.strip_prefix(REPOSITORY).unwrap_or(file)
}
