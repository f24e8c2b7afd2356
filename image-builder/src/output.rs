//! Writes results: whole or not at all, and only where something changed.

use std::fs;
use std::io::Write;
use std::path::Path;

use crate::inputs::FileError;

/// Whether a file was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has new contents.
    Written,
    /// It had these contents already.
    Unchanged,
}

/// Gives the file these contents. Readers see the old ones or the new ones, never a part; a file that has them already
/// keeps its time of change.
///
/// # Errors
/// If the folder or the file cannot be written; the file is as it was then.
pub fn write(path: &Path, contents: &[u8]) -> Result<Outcome, FileError> {
    let failed = |source| FileError { action: "write", path: path.to_owned(), source };
    let same_length =
        fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == contents.len() as u64);
    if same_length && fs::read(path).is_ok_and(|old| old == contents) {
        return Ok(Outcome::Unchanged);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = folder.join(name);
    let written =
        fs::File::create(&part).and_then(|mut file| file.write_all(contents)).and_then(|()| fs::rename(&part, path));
    if let Err(source) = written {
        // The part is of no use; that it cannot be removed either adds nothing to the first error.
        let _ = fs::remove_file(&part);
        return Err(failed(source));
    }
    Ok(Outcome::Written)
}
