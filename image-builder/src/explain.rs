//! Where in the source a task of an image crashed, and who had called that: from the log of the boot and the image
//! alone.
//!
//! | question | module |
//! |---|---|
//! | what does the log say of crashes, and of which image? | [`log`] |
//! | what does a copy of the machine's memory say of them? | [`log_of`] |
//! | which of the words on the stack are return addresses? | `unwind` |
//! | what function, file and line is an address of? | `resolve` |
//!
//! The kernel's line gives registers and those words of the stack that lie in the program's code; unwind tables in the
//! image's [symbols](crate::symbols) tell which of them matter.

pub mod log;
mod memory;
mod resolve;
mod unwind;

use std::fmt;

use abi::package::{self, Access, Package};
use serde::Serialize;

use crate::inspect::{self, EfiFile, InspectError};
use crate::symbols::{self, Symbols, SymbolsError};
use log::Crash;
pub use memory::log_of;
use resolve::Resolver;

/// Why a crash cannot be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The log tells of none.
    #[error("no crash in this log: it has no line `kernel: task stopped …` or `crash: previous boot …`")]
    NoCrash,
    /// A line of a crash is not whole.
    #[error(transparent)]
    Line(#[from] log::LineError),
    /// The image cannot be read.
    #[error("the image cannot be read")]
    Image(#[from] InspectError),
    /// Its package cannot be read.
    #[error("the image's boot package cannot be read")]
    Package(#[from] package::PackageError),
    /// Every crash is one of another image.
    #[error("the log is of another image: it says package={log:#010x}, this image is package={image:#010x}")]
    OtherImage {
        /// What the log says.
        log: u32,
        /// What the image is.
        image: u32,
    },
    /// There are no symbols in it.
    #[error("no symbols in this image: \\{} lies beside the EFI file in a raw image or VHD", symbols::FILE_NAME)]
    NoSymbols,
    /// The symbols cannot be read.
    #[error("\\{} cannot be read", symbols::FILE_NAME)]
    Symbols(#[from] SymbolsError),
    /// The symbols are not those of the package.
    #[error("\\{} is of another image: its SHA-256 is not the one in the boot package", symbols::FILE_NAME)]
    OtherSymbols,
    /// A task that is not in the image.
    #[error("the image has no task `{0}`")]
    NoTask(String),
}

/// A crash and where it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// What the log says.
    #[serde(flatten)]
    pub crash: Crash,
    /// The program that the task ran.
    pub program: String,
    /// Whether the log says that it is of this image; a piece of a log may not.
    pub is_of_this_image: bool,
    /// Who was in which function, from the innermost out.
    pub frames: Vec<Frame>,
}

/// An address in the backtrace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Frame {
    /// The instruction that failed; of callers, the one that the call returns to.
    pub address: u64,
    /// Whether the unwind tables say so. Otherwise it is the next word on the stack that a call can have left.
    pub is_certain: bool,
    /// Functions there, from the innermost, which was inlined into the next, to the outermost.
    pub places: Vec<Place>,
}

/// A function, and where in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Its name, if it is known.
    pub function: Option<String>,
    /// The source file, below the root of its repository or package.
    pub file: Option<String>,
    /// The line in it, from 1.
    pub line: Option<u32>,
}

/// Explains every crash in a log that is of this image. `image` is a raw image or a VHD.
///
/// # Errors
/// If there is no such crash, or the image has nothing to explain it with.
pub fn explain(log: &str, image: &[u8]) -> Result<Vec<Explained>, ExplainError> {
    let crashes = log::crashes(log)?;
    let Some(last) = crashes.last() else { return Err(ExplainError::NoCrash) };
    let efi = EfiFile::find(image)?;
    let packed = efi.package()?;
    let package = Package::open(&packed)?;
    let identity = package::identity(&packed)?;
    let (own, last) = (|crash: &Crash| crash.package.is_none_or(|package| package == identity), last.package);
    if let (false, Some(log)) = (crashes.iter().any(own), last) {
        return Err(ExplainError::OtherImage { log, image: identity });
    }
    let file = inspect::symbols_file(image)?.ok_or(ExplainError::NoSymbols)?;
    if symbols::digest(&file) != package.contents().symbols {
        return Err(ExplainError::OtherSymbols);
    }
    let symbols = Symbols::decode(&file)?;
    crashes.into_iter().filter(own).map(|crash| explain_one(crash, &package, &symbols)).collect()
}

fn explain_one(crash: Crash, package: &Package<'_>, symbols: &Symbols) -> Result<Explained, ExplainError> {
    let no_task = || ExplainError::NoTask(crash.task.clone());
    let task = package.tasks().find(|task| task.name == crash.task).ok_or_else(no_task)?;
    let program = symbols.of_task(&crash.task).ok_or_else(no_task)?;
    let code: Vec<_> = task.segments.iter().filter(|segment| segment.access == Access::ReadExecute).collect();
    let resolver = Resolver::new(program);
    let found = unwind::unwind(&crash, program.section(".debug_frame"), |address, bytes| {
        code.iter().find_map(|segment| {
            let start = usize::try_from(address.checked_sub(segment.address)?).ok()?;
            segment.data.get(start..start.checked_add(bytes)?)
        })
    });
    let frames = found.into_iter().map(|found| Frame {
        address: found.address,
        is_certain: found.is_certain,
        places: resolver.places(found.lookup),
    });
    let (program, is_of_this_image) = (program.name.clone(), crash.package.is_some());
    Ok(Explained { program, is_of_this_image, frames: frames.collect(), crash })
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let crash = &self.crash;
        write!(f, "task `{}`", crash.task)?;
        if crash.task != self.program {
            write!(f, ", program `{}`", self.program)?;
        }
        if let Some(generation) = crash.generation {
            write!(f, ", generation {generation}")?;
        }
        write!(f, " stopped: {}", crash.cause)?;
        for (key, value) in &crash.details {
            write!(f, ", {key} {value}")?;
        }
        writeln!(f, "\n  last system call: {}", crash.last_call)?;
        if !self.is_of_this_image {
            writeln!(
                f,
                "  this piece of a log does not say of which image it is: what follows holds if it is of this one"
            )?;
        }
        for (number, frame) in self.frames.iter().enumerate() {
            let doubt = if frame.is_certain { "" } else { "  (perhaps)" };
            for (depth, place) in frame.places.iter().enumerate() {
                match depth {
                    0 => write!(f, "  {number:2} {:#x} {place}{doubt}", frame.address)?,
                    _ => write!(f, "     inlined into {place}")?,
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.function.as_deref().unwrap_or("in no known function"))?;
        match (&self.file, self.line) {
            (Some(file), Some(line)) => write!(f, "\n          at {file}:{line}"),
            (Some(file), None) => write!(f, "\n          at {file}"),
            (None, _) => Ok(()),
        }
    }
}
