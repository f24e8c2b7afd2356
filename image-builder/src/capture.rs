//! What `capture.sh` of an Azure folder keeps of a running machine: its serial log, what Azure says of it, and hashes of
//! both, as a folder or as an archive of one.
//!
//! The hashes tell damage, and files of two captures that were mixed up. They are no signature: who makes a capture can
//! write anything into it.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::inputs::{self, FileError};

/// A capture whose files are whole.
#[derive(Clone, Debug, Serialize)]
pub struct Capture {
    /// What it says of itself: time, system, image version, hash of the VHD and of the two files.
    pub facts: BTreeMap<String, String>,
    /// What Azure says of the machine.
    pub machine: serde_json::Value,
    /// The serial log.
    #[serde(skip)]
    pub serial_log: String,
}

/// Why a capture cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// A file of it.
    #[error(transparent)]
    File(#[from] FileError),
    /// `tar` did not unpack it.
    #[error("{} is no archive of a capture: {reason}", .path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What tar says.
        reason: String,
    },
    /// A fact that every capture has.
    #[error("{} says no {key}", .path.display())]
    Fact {
        /// The file with the facts.
        path: PathBuf,
        /// Which.
        key: &'static str,
    },
    /// A file that is not the one that was captured.
    #[error("{} is not what was captured: its SHA-256 is {found}, capture.txt says {expected}", .path.display())]
    Changed {
        /// Which file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it had.
        expected: String,
    },
    /// What Azure says of the machine is not JSON.
    #[error("{} is not JSON", .path.display())]
    Machine {
        /// The file.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads a capture from its folder, or from the archive that lies beside it. `None` if the path is neither.
///
/// # Errors
/// If a file is missing, or is not the one that was captured.
pub fn read(path: &Path) -> Result<Option<Capture>, CaptureError> {
    if path.is_dir() {
        return folder(path).map(Some);
    }
    if !path.to_string_lossy().ends_with(".tar.gz") {
        return Ok(None);
    }
    let failed = |source| FileError { action: "unpack", path: path.to_owned(), source };
    let unpacked = tempfile::tempdir().map_err(failed)?;
    let tar = Command::new("tar").arg("-xzf").arg(path).arg("-C").arg(unpacked.path()).output().map_err(failed)?;
    if !tar.status.success() {
        let reason = String::from_utf8_lossy(&tar.stderr).trim().to_owned();
        return Err(CaptureError::Archive { path: path.to_owned(), reason });
    }
    let mut inside =
        std::fs::read_dir(unpacked.path()).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    match (inside.pop(), inside.pop()) {
        (Some(one), None) => folder(&one.path()).map(Some),
        _ => Err(CaptureError::Archive { path: path.to_owned(), reason: "it holds not just one folder".into() }),
    }
}

fn folder(folder: &Path) -> Result<Capture, CaptureError> {
    let path = folder.join("capture.txt");
    let text = String::from_utf8_lossy(&inputs::read(&path)?).into_owned();
    let facts: BTreeMap<String, String> =
        text.lines().filter_map(|line| line.split_once('=')).map(|(key, value)| (key.into(), value.into())).collect();
    let captured = |file: &str, key: &'static str| -> Result<Vec<u8>, CaptureError> {
        let bytes = inputs::read(&folder.join(file))?;
        let expected = facts.get(key).ok_or_else(|| CaptureError::Fact { path: path.clone(), key })?;
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if found != *expected {
            return Err(CaptureError::Changed { path: folder.join(file), found, expected: expected.clone() });
        }
        Ok(bytes)
    };
    let serial_log = String::from_utf8_lossy(&captured("serial.log", "serial_log_sha256")?).into_owned();
    let machine = serde_json::from_slice(&captured("machine.json", "machine_sha256")?)
        .map_err(|source| CaptureError::Machine { path: folder.join("machine.json"), source })?;
    Ok(Capture { facts, machine, serial_log })
}
