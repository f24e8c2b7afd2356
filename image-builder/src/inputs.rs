//! The files that go into an image besides the charter: kernel, UEFI application and the tasks' programs.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::charter::values::ProgramName;
use crate::project;

/// Where builds put what runs on the machine, below the workspace, unless `BARE_TARGET_DIR` in the environment says
/// another place (see toolchain.sh).
const BARE: &str = "target/bare";
/// Programs in there.
const PROGRAMS: &str = "x86_64-unknown-none/release";

/// Where the files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The kernel's ELF file.
    pub kernel: PathBuf,
    /// The UEFI application, an unsigned PE file.
    pub boot: PathBuf,
    /// Folders with the tasks' ELF files; the first one that has a program counts.
    pub programs: Vec<PathBuf>,
    /// Whether the kernel may have features that are for tests only.
    pub test_image: bool,
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
    /// The places where `make` puts these files: in the innermost folder around the manifest, or else around the
    /// current directory, that has a `target/bare` or leads to a checkout of Charter as a project of the user's own
    /// does. In a project, the kernel and further programs are in the checkout.
    pub fn default_for(manifest: &Path) -> Self {
        let bare = std::env::var_os("BARE_TARGET_DIR").map_or_else(|| BARE.into(), PathBuf::from);
        let absolute = std::path::absolute(manifest).unwrap_or_else(|_| manifest.to_owned());
        let current = std::env::current_dir().unwrap_or_default();
        let around = absolute.parent().unwrap_or(&current).ancestors().chain(current.ancestors());
        let leads_to_charter = |folder: &Path| project::checkout_of(folder).is_some();
        let root = around.into_iter().find(|folder| folder.join(&bare).is_dir() || leads_to_charter(folder));
        let root = root.unwrap_or(&current);
        let shown = |folder: PathBuf| folder.strip_prefix(&current).map(Path::to_owned).unwrap_or(folder);
        let checkout = project::checkout_of(root);
        let charter = shown(checkout.as_deref().unwrap_or(root).join(bare));
        let own = checkout.map(|_| shown(root.join(BARE)).join(PROGRAMS));
        Self {
            kernel: charter.join(PROGRAMS).join("kernel"),
            boot: charter.join("x86_64-unknown-uefi/release/boot.efi"),
            programs: own.into_iter().chain([charter.join(PROGRAMS)]).collect(),
            test_image: false,
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
