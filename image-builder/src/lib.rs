//! Builds one bootable image from one charter.
//!
//! `system.toml` names every task of a system and grants each one what it may use. [`build`] reads it, proves it
//! consistent with itself and with what the tasks' programs ask for, and writes it down for the kernel:
//!
//! | step | module |
//! |---|---|
//! | the text becomes a typed model, malformed parts are pointed at | [`manifest`], [`charter`] |
//! | the parts are held against each other and against the programs | [`mod@check`], [`executable`] |
//! | names become numbers, the boot package is written and read back | [`compile`] |
//! | what programs are called inside is kept beside it | [`symbols`] |
//! | UEFI application, kernel and package become one EFI file | [`efi`] |
//! | the EFI file is signed, if that is asked for | [`signing`] |
//! | the EFI file becomes a disk image | [`image`], [`vhd`] |
//! | the disk image becomes a folder to deploy | [`azure`] |
//!
//! What a charter gives to whom can be looked at from either end:
//!
//! | question | module |
//! |---|---|
//! | where does each grant come from? | [`mod@route`] |
//! | what is in this image? | [`mod@inspect`] |
//! | what may each task do, and what changed? | [`authority`], [`difference`] |
//! | is it signed, is it newer? | [`signature`], [`version`] |
//! | where in the source did a task of it crash? | [`explain`] |
//!
//! The same inputs give the same bytes. Beside that, [`classify`](mod@classify) replays a recorded machine, whose
//! [`capture`] a script of the Azure folder makes, and
//! [`project`] makes a project of the user's own.
#![forbid(unsafe_code)]

pub mod authority;
pub mod azure;
pub mod capture;
pub mod charter;
pub mod check;
pub mod classify;
pub mod compile;
pub mod difference;
pub mod efi;
pub mod executable;
pub mod explain;
pub mod graph;
pub mod image;
pub mod inputs;
pub mod inspect;
pub mod manifest;
pub mod matching;
pub mod output;
pub mod packed;
pub mod problem;
pub mod project;
pub mod route;
pub mod schema;
pub mod signature;
pub mod signing;
pub mod sizes;
pub mod symbols;
pub mod version;
pub mod vhd;

use std::path::{Path, PathBuf};

use abi::handoff::{KERNEL_SECTION, PACKAGE_SECTION};

pub use check::Checked;
pub use inputs::Inputs;
use inputs::{FileError, Programs};
use problem::{Problems, Report};

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The charter has mistakes.
    #[error("{0}")]
    Charter(Report),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// The kernel's file cannot be used.
    #[error("{} cannot be used as the kernel", .path.display())]
    Kernel {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: executable::ExecutableError,
    },
    /// The kernel is one for tests.
    #[error(
        "{} has the feature {} and is for tests only: what a task is granted to kill, it can change at will; \
         --test-image builds an image for tests", .path.display(), .features.join(", ")
    )]
    TestKernel {
        /// Which file.
        path: PathBuf,
        /// What it has that no product's kernel has.
        features: Vec<String>,
    },
    /// The UEFI application's file cannot be used.
    #[error("{} cannot be used as the UEFI application", .path.display())]
    Boot {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: efi::EfiError,
    },
    /// The package could not be made.
    #[error(transparent)]
    Package(#[from] compile::CompileError),
    /// Kernel or package could not be packed.
    #[error("cannot pack kernel and boot package")]
    Packing(#[source] std::io::Error),
    /// The symbols could not be written.
    #[error(transparent)]
    Symbols(#[from] symbols::SymbolsError),
    /// The image could not be made.
    #[error(transparent)]
    Image(#[from] image::ImageError),
    /// The image could not become a VHD.
    #[error(transparent)]
    Vhd(#[from] vhd::VhdError),
    /// The EFI file could not be signed.
    #[error(transparent)]
    Signing(#[from] signing::SigningError),
}

/// A charter's text, and what messages call it.
#[derive(Clone, Copy, Debug)]
pub struct Manifest<'a> {
    /// Its path, as the user knows it.
    pub name: &'a str,
    /// Its contents.
    pub text: &'a str,
}

/// What [`build`] makes.
#[derive(Clone, Debug)]
pub struct Build {
    /// The boot package alone.
    pub package: Vec<u8>,
    /// The unified EFI file, with the package in it.
    pub efi: Vec<u8>,
    /// The symbols of everything in it, for [`explain`].
    pub symbols: Vec<u8>,
    /// The disk image, with the EFI file and the symbols in it.
    pub image: Vec<u8>,
    /// What the charter could do better.
    pub warnings: Report,
}

impl Build {
    /// The same, signed: every form of it holds the signed EFI file.
    ///
    /// # Errors
    /// If it cannot be signed.
    pub fn signed(self, signer: &signing::Signer) -> Result<Self, BuildError> {
        let efi = signing::sign(&self.efi, signer)?;
        let image = image::image(&efi, &self.symbols)?;
        Ok(Self { efi, image, ..self })
    }

    /// The smallest fixed VHD that Azure takes and that boots the EFI file.
    ///
    /// # Errors
    /// If the EFI file is too large for any.
    pub fn vhd(&self) -> Result<Vec<u8>, BuildError> {
        Ok(vhd::vhd(image::image_of_at_least(&self.efi, &self.symbols, vhd::DISK_BYTES_MIN)?)?)
    }
}

/// Checks a charter, with the programs that it names.
///
/// The checked charter is there unless the report has errors; the report may hold warnings beside it.
///
/// # Errors
/// If a program's file is there but cannot be read.
pub fn check(manifest: Manifest<'_>, programs: &[PathBuf]) -> Result<(Option<Checked>, Report), FileError> {
    let problems = Problems::default();
    let charter = manifest::read(manifest.text, &problems);
    let names = charter.iter().flat_map(|charter| &charter.tasks).filter_map(|task| task.program.as_ref());
    let files = Programs::find(names.map(|name| &name.value), programs)?;
    Ok(finish(manifest, charter, &files, problems))
}

/// The same, and the charter as far as it could be read, whatever is wrong with it.
///
/// # Errors
/// If a program's file is there but cannot be read.
pub fn examine(manifest: Manifest<'_>, programs: &[PathBuf]) -> Result<Examined, FileError> {
    let problems = Problems::default();
    let charter = manifest::read(manifest.text, &problems);
    let names = charter.iter().flat_map(|charter| &charter.tasks).filter_map(|task| task.program.as_ref());
    let files = Programs::find(names.map(|name| &name.value), programs)?;
    let read = charter.map(|charter| {
        // What is wrong with programs is said by the check below.
        let programs = check::programs(&charter, &files, &Problems::default());
        (charter, programs)
    });
    let (_, report) = finish(manifest, read.as_ref().map(|(charter, _)| charter.clone()), &files, problems);
    Ok(Examined { read, report })
}

/// A charter that may have mistakes, as [`examine`] finds it.
#[derive(Clone, Debug)]
pub struct Examined {
    /// The charter and its programs, as far as they could be read.
    pub read: Option<(charter::Charter, check::Executables)>,
    /// What is wrong with it.
    pub report: Report,
}

/// The same, with programs that are in memory.
pub fn check_with(manifest: Manifest<'_>, programs: &Programs) -> (Option<Checked>, Report) {
    let problems = Problems::default();
    let charter = manifest::read(manifest.text, &problems);
    finish(manifest, charter, programs, problems)
}

fn finish(
    manifest: Manifest<'_>,
    charter: Option<charter::Charter>,
    programs: &Programs,
    problems: Problems,
) -> (Option<Checked>, Report) {
    let checked = charter.and_then(|charter| check::check(charter, programs, &problems));
    (checked, Report::new(manifest.name, manifest.text, problems.into_sorted()))
}

/// Builds everything in memory.
///
/// # Errors
/// The charter's mistakes, or what is wrong with one of the other inputs.
pub fn build(manifest: Manifest<'_>, inputs: &Inputs) -> Result<Build, BuildError> {
    let problems = Problems::default();
    let charter = manifest::read(manifest.text, &problems);
    let names = charter.iter().flat_map(|charter| &charter.tasks).filter_map(|task| task.program.as_ref());
    let programs = Programs::find(names.map(|name| &name.value), &inputs.programs)?;
    let (checked, warnings) = finish(manifest, charter, &programs, problems);
    let Some(checked) = checked else { return Err(BuildError::Charter(warnings)) };
    let kernel_file = inputs::read(&inputs.kernel)?;
    let kernel = executable::read(&kernel_file, executable::Room::Kernel)
        .map_err(|source| BuildError::Kernel { path: inputs.kernel.clone(), source })?;
    let features = executable::test_features(&executable::strip(&kernel));
    if !features.is_empty() && !inputs.test_image {
        return Err(BuildError::TestKernel { path: inputs.kernel.clone(), features });
    }
    let symbols = symbols_of(&checked, &kernel_file, &programs).encode()?;
    let package = compile::package(&checked, symbols::digest(&symbols))?;
    let kernel = executable::strip(&kernel);
    let pack = |contents: &[u8]| packed::pack(contents).map_err(BuildError::Packing);
    let efi = efi::unify(&inputs::read(&inputs.boot)?, &sections(&pack(&kernel)?, &pack(&package)?, manifest))
        .map_err(|source| BuildError::Boot { path: inputs.boot.clone(), source })?;
    if let Some(limit) = &checked.charter().budgets.image {
        let problems = Problems::default();
        let (what, bytes) = (format!("the EFI file has {} bytes", efi.len()), efi.len() as u64);
        check::budgets::within(&what, bytes, limit, None, &problems);
        if problems.has_errors() {
            let report = Report::new(manifest.name, manifest.text, problems.into_sorted());
            return Err(BuildError::Charter(report));
        }
    }
    let image = image::image(&efi, &symbols)?;
    Ok(Build { package, efi, symbols, image, warnings })
}

/// The symbols of the kernel and of every task's program.
fn symbols_of(checked: &Checked, kernel: &[u8], files: &Programs) -> symbols::Symbols {
    let mut all = symbols::Symbols { programs: vec![symbols::Program::read("kernel", kernel)], tasks: Vec::new() };
    for task in &checked.charter().tasks {
        let Some((name, (_, file))) = task.program.as_ref().and_then(|name| Some((name, files.get(name)?))) else {
            continue;
        };
        // A program may be called `kernel` too.
        let known = all.programs.iter().skip(1).position(|program| program.name == name.as_str());
        let index = known.map_or(all.programs.len(), |known| known + 1);
        if known.is_none() {
            all.programs.push(symbols::Program::read(name.as_str(), file));
        }
        all.tasks.push((task.name.as_str().into(), index as u32));
    }
    all
}

/// What the UEFI application carries: what it starts, and the charter's text for those who ask what this is.
fn sections<'a>(kernel: &'a [u8], package: &'a [u8], manifest: Manifest<'a>) -> [(&'static str, &'a [u8]); 3] {
    [(KERNEL_SECTION, kernel), (PACKAGE_SECTION, package), (efi::CHARTER_SECTION, manifest.text.as_bytes())]
}

/// Builds from the manifest at this path, with inputs where `make` puts them.
///
/// # Errors
/// As [`build`], or if the manifest cannot be read.
pub fn build_file(manifest: &Path, inputs: &Inputs) -> Result<Build, BuildError> {
    let text = read_manifest(manifest)?;
    build(Manifest { name: &manifest.display().to_string(), text: &text }, inputs)
}

/// Reads a manifest's text.
///
/// # Errors
/// If the file cannot be read, or is not UTF-8.
pub fn read_manifest(path: &Path) -> Result<String, FileError> {
    std::fs::read_to_string(path).map_err(|source| FileError { action: "read", path: path.to_owned(), source })
}
