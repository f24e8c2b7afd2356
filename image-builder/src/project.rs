//! A project of the user's own, outside Charter's repository: a charter and one task that builds and boots at once.
//!
//! The project reaches Charter through one name in it, `charter`: a link to a checkout, which somebody else replaces by
//! their own or by a submodule. Its `Cargo.toml` takes the crates `task` and `protocol` from there, its `Makefile` kernel,
//! driver, servers and tools. The files are in `project/*.in`, with some words (`@NAME@` …) that stand for what differs.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use crate::charter::values::{Name, ValueError};
use crate::inputs::{self, FileError};
use crate::{output, schema};

/// Path and contents of every file.
const FILES: [(&str, &str); 11] = [
    (".cargo/config.toml", include_str!("project/cargo-config.toml.in")),
    (".gitignore", include_str!("project/gitignore.in")),
    ("Cargo.toml", include_str!("project/Cargo.toml.in")),
    ("Makefile", include_str!("project/Makefile.in")),
    ("README.md", include_str!("project/README.md.in")),
    ("build.rs", include_str!("project/build.rs.in")),
    ("rust-toolchain.toml", include_str!("project/rust-toolchain.toml.in")),
    ("src/lib.rs", include_str!("project/lib.rs.in")),
    ("src/main.rs", include_str!("project/main.rs.in")),
    ("src/partitions.rs", include_str!("project/partitions.rs.in")),
    ("system.toml", include_str!("project/system.toml.in")),
];

/// What in a project leads to Charter.
const LINK: &str = "charter";
/// What a checkout of Charter has, and a project has not.
const TOOLCHAIN: &str = "toolchain.sh";

/// Names that mean something else already: to Rust and cargo, among the crates that a program uses, in the charter of
/// a new project, or in the log.
const TAKEN: &[&str] = &[
    "abi",
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "block",
    "box",
    "break",
    "build",
    "charter",
    "const",
    "continue",
    "core",
    "crate",
    "deps",
    "dma",
    "do",
    "dyn",
    "else",
    "enum",
    "examples",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "heapless",
    "if",
    "impl",
    "in",
    "incremental",
    "kernel",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "nvme",
    "override",
    "priv",
    "proc-macro",
    "protocol",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "task",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Why there is no new project.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// A path without a last part, such as `..`.
    #[error("{} names no folder that could be made", .0.display())]
    Nameless(PathBuf),
    /// A name that no task has.
    #[error("`{name}` cannot be a project's name: {source}; {}", .source.help.as_deref().unwrap_or_default())]
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        source: ValueError,
    },
    /// A name that no Rust package has.
    #[error("`{0}` cannot be a project's name: it is also a Rust package's, which begins with a letter")]
    FirstCharacter(String),
    /// A name that means something else.
    #[error("`{0}` cannot be a project's name: something else has it already")]
    TakenName(String),
    /// There is something at this path.
    #[error("{} is there already, and is left as it is", .0.display())]
    Exists(PathBuf),
    /// Within Charter itself.
    #[error(
        "{} would lie within Charter's own checkout {}: a project of your own lies outside, for example in ../{name}",
        .folder.display(), .charter.display()
    )]
    Inside {
        /// Where the project was to be.
        folder: PathBuf,
        /// Where Charter is.
        charter: PathBuf,
        /// The project's name.
        name: String,
    },
    /// No Charter to take kernel, driver and servers from.
    #[error("{} is no checkout of Charter: it has no {TOOLCHAIN}", .0.display())]
    NoCharter(PathBuf),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
}

/// Makes a project in a folder that is not there yet, of the folder's name, and returns what its link to the checkout
/// of Charter says. The project is there whole, or not at all.
///
/// # Errors
/// If the name is none, the folder is there, `charter` is no checkout, or a file cannot be written.
pub fn create(folder: &Path, charter: &Path) -> Result<PathBuf, ProjectError> {
    let name = name(folder)?;
    if folder.symlink_metadata().is_ok() {
        return Err(ProjectError::Exists(folder.to_owned()));
    }
    let charter = charter.canonicalize().map_err(|source| failed("read", charter, source))?;
    if !charter.join(TOOLCHAIN).is_file() {
        return Err(ProjectError::NoCharter(charter));
    }
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent).map_err(|source| failed("make", parent, source))?;
    let parent = parent.canonicalize().map_err(|source| failed("read", parent, source))?;
    if parent.starts_with(&charter) {
        return Err(ProjectError::Inside { folder: folder.to_owned(), charter, name: name.as_str().to_owned() });
    }
    let link = from_to(&parent.join(name.as_str()), &charter);
    let part = parent.join(format!(".{name}.{}.part", std::process::id()));
    let made = fill(&part, &name, &link, &charter)
        .and_then(|()| fs::rename(&part, folder).map_err(|source| failed("write", folder, source).into()));
    if made.is_err() {
        // The part is of no use; that it cannot be removed either adds nothing to the first error.
        let _ = fs::remove_dir_all(&part);
    }
    made.map(|()| link)
}

/// The checkout that this tool was built from, or that it lies in: where a new project finds Charter unless told.
pub fn own_checkout() -> Option<PathBuf> {
    let program = std::env::current_exe().ok();
    let around = program.iter().flat_map(|program| program.ancestors()).map(Path::to_owned);
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_owned);
    around.chain(built_from).find(|folder| folder.join(TOOLCHAIN).is_file())
}

/// The checkout of Charter that a project's folder leads to, if it is one.
pub fn checkout_of(folder: &Path) -> Option<PathBuf> {
    let checkout = folder.join(LINK);
    checkout.join(TOOLCHAIN).is_file().then_some(checkout)
}

fn name(folder: &Path) -> Result<Name, ProjectError> {
    let last = folder.file_name().ok_or_else(|| ProjectError::Nameless(folder.to_owned()))?.to_string_lossy();
    let name = Name::new(&last).map_err(|source| ProjectError::BadName { name: last.clone().into_owned(), source })?;
    if !last.starts_with(|first: char| first.is_ascii_lowercase()) {
        return Err(ProjectError::FirstCharacter(last.into_owned()));
    }
    if TAKEN.contains(&&*last) {
        return Err(ProjectError::TakenName(last.into_owned()));
    }
    Ok(name)
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> FileError {
    FileError { action, path: path.to_owned(), source }
}

/// Writes everything to a folder.
fn fill(folder: &Path, name: &Name, link: &Path, charter: &Path) -> Result<(), ProjectError> {
    let words = [
        ("@NAME@", name.as_str().to_owned()),
        ("@CRATE@", name.as_str().replace('-', "_")),
        ("@RUST_VERSION@", env!("CARGO_PKG_RUST_VERSION").to_owned()),
    ];
    for (path, contents) in FILES {
        let contents = words.iter().fold(contents.to_owned(), |text, (word, value)| text.replace(word, value));
        output::write(&folder.join(path), contents.as_bytes())?;
    }
    output::write(&folder.join("charter.schema.json"), format!("{:#}\n", schema::schema()).as_bytes())?;
    // The versions that Charter itself is tested with; cargo removes what the project does not use.
    output::write(&folder.join("Cargo.lock"), &inputs::read(&charter.join("Cargo.lock"))?)?;
    let place = folder.join(LINK);
    symbolic_link(link, &place).map_err(|source| failed("link", &place, source))?;
    Ok(())
}

#[cfg(unix)]
fn symbolic_link(to: &Path, at: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(to, at)
}

#[cfg(not(unix))]
fn symbolic_link(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// What leads from one folder to another, both absolute: relative if they have more than the root in common.
fn from_to(from: &Path, to: &Path) -> PathBuf {
    let common = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    if from.components().take(common).all(|part| !matches!(part, Component::Normal(_))) {
        return to.to_owned();
    }
    let up = from.components().skip(common).map(|_| Component::ParentDir);
    up.chain(to.components().skip(common)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_relative_where_the_two_are_near() {
        for (from, to, expected) in [
            ("/home/me/hello", "/home/me/charter", "../charter"),
            ("/home/me/work/hello", "/home/me/charter", "../../charter"),
            ("/home/me/hello", "/home/me/src/charter", "../src/charter"),
            ("/tmp/hello", "/home/me/charter", "/home/me/charter"),
        ] {
            assert_eq!(from_to(from.as_ref(), to.as_ref()), Path::new(expected), "{from} to {to}");
        }
    }

    #[test]
    fn the_names_that_are_taken_are_in_order_and_no_others_are_refused() {
        assert!(TAKEN.is_sorted());
        assert!(name(Path::new("some/where/my-task2")).is_ok());
        for (wrong, expected) in [
            ("Hello", "'H' is not allowed in a name"),
            ("two words", "' ' is not allowed"),
            ("nineteen-times-three-is-fifty7", "30 characters, at most 28 fit"),
            ("2hello", "begins with a letter"),
            ("-hello", "begins with a letter"),
            ("nvme", "something else has it already"),
            ("match", "something else has it already"),
            ("..", "names no folder"),
        ] {
            let error = name(Path::new(wrong)).unwrap_err().to_string();
            assert!(error.contains(expected), "{wrong}: {error}");
        }
    }
}
