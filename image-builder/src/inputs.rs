//! The files that go into an image besides the charter: kernel, UEFI application and the tasks' programs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::charter::values::ProgramName;

/// Where builds put what runs on the machine, below the workspace.
const BARE: &str = "target/bare";

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The kernel's ELF file.
    pub kernel: PathBuf,
    /// The UEFI application, an unsigned PE file.
    pub boot: PathBuf,
    /// Folders with the tasks' ELF files; the first one that has a program counts.
    pub programs: Vec<PathBuf>,
}

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", .path.display())]
pub struct FileError {
    /// What was to be done with it.
    pub action: &'static str,
    /// Which file.
    pub path: PathBuf,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl Inputs {
    /// The places where `make` puts these files: below `target/bare` of the workspace that the manifest lies in, or
    /// else the current directory; the innermost folder that has a `target/bare`.
    pub fn default_for(manifest: &Path) -> Self {
        let absolute = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned());
        let current = std::env::current_dir().unwrap_or_default();
        let folder = absolute.parent().unwrap_or(&current);
        let root = folder.ancestors().chain(current.ancestors()).find(|folder| folder.join(BARE).is_dir());
        let root = root.unwrap_or(&current);
        let shown = root.strip_prefix(&current).unwrap_or(root).join(BARE);
        let programs = shown.join("x86_64-unknown-none/release");
        Self {
            kernel: programs.join("kernel"),
            boot: shown.join("x86_64-unknown-uefi/release/boot.efi"),
            programs: vec![programs],
        }
    }
}

/// Reads a file whole.
///
/// # Errors
/// If that fails, naming the file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    std::fs::read(path).map_err(|source| FileError { action: "read", path: path.to_owned(), source })
}

/// The files of programs, and where they were looked for.
#[derive(Clone, Debug, Default)]
pub struct Programs {
    folders: String,
    files: BTreeMap<ProgramName, (PathBuf, Vec<u8>)>,
}

impl Programs {
    /// Programs that are in memory already; `folder` is what messages say of where they are.
    pub fn in_memory(folder: &str, files: impl IntoIterator<Item = (ProgramName, Vec<u8>)>) -> Self {
        let place = |name: &ProgramName| Path::new(folder).join(name.as_str());
        let files = files.into_iter().map(|(name, bytes)| (name.clone(), (place(&name), bytes)));
        Self { folders: folder.to_owned(), files: files.collect() }
    }

    /// Looks for programs in `folders`.
    ///
    /// # Errors
    /// If there is a file but it cannot be read. That there is none is not an error here.
    pub fn find<'a>(names: impl IntoIterator<Item = &'a ProgramName>, folders: &[PathBuf]) -> Result<Self, FileError> {
        let shown: Vec<_> = folders.iter().map(|folder| folder.display().to_string()).collect();
        let mut programs = Self { folders: shown.join(", "), ..Self::default() };
        for name in names {
            let path = folders.iter().map(|folder| folder.join(name.as_str())).find(|path| path.is_file());
            if let Some(path) = path.filter(|_| !programs.files.contains_key(name)) {
                let bytes = read(&path)?;
                programs.files.insert(name.clone(), (path, bytes));
            }
        }
        Ok(programs)
    }

    /// The file of a program: where it was, and its bytes.
    pub fn get(&self, name: &ProgramName) -> Option<(&Path, &[u8])> {
        self.files.get(name).map(|(path, bytes)| (path.as_path(), bytes.as_slice()))
    }

    /// The folders that were looked in, for messages.
    pub fn folders(&self) -> &str {
        &self.folders
    }
}
