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

/// The programs that were looked for, and their files where there was one.
#[derive(Clone, Debug, Default)]
pub struct Programs(BTreeMap<ProgramName, Option<(PathBuf, Vec<u8>)>>);

impl Programs {
    /// Looks for programs in `folders`.
    ///
    /// # Errors
    /// If there is a file but it cannot be read. That there is none is not an error here.
    pub fn find<'a>(
        names: impl IntoIterator<Item = &'a ProgramName>,
        folders: &[PathBuf],
    ) -> Result<Self, FileError> {
        let mut programs = Self::default();
        for name in names {
            if !programs.0.contains_key(name) {
                let path = folders.iter().map(|folder| folder.join(name.as_str())).find(|path| path.is_file());
                let file = path.map(|path| read(&path).map(|bytes| (path, bytes))).transpose()?;
                programs.0.insert(name.clone(), file);
            }
        }
        Ok(programs)
    }

    /// The file of a program: where it was, and its bytes.
    pub fn get(&self, name: &ProgramName) -> Option<(&Path, &[u8])> {
        let (path, bytes) = self.0.get(name)?.as_ref()?;
        Some((path, bytes))
    }
}
