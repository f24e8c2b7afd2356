//! Disks with faults between them and the machine: errors, and a record of every write.
//!
//! From the machine to the file: `blkdebug`, which answers some requests with an error; then `blklogwrites`, which
//! records what succeeded ([`crate::write_log`]); then the file. Delays need no layer of their own: QEMU holds requests
//! back on demand ([`crate::qmp::Client::throttle`]).

use std::path::PathBuf;

use crate::machine::escaped;
use crate::nvme::Contents;

/// A disk image with faults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultyDisk {
    /// The image, raw. Changes go to it.
    pub path: PathBuf,
    /// Requests that fail.
    pub errors: Vec<InjectedError>,
    /// Where to record writes.
    pub log: Option<PathBuf>,
}

/// Requests that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InjectedError {
    /// Which kind of request.
    pub request: Request,
    /// Only requests that touch this sector of 512 bytes.
    pub sector: Option<u64>,
    /// Only the first one.
    pub once: bool,
}

/// Kinds of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Read.
    Read,
    /// Write.
    Write,
    /// Write zeroes.
    WriteZeroes,
    /// Discard.
    Discard,
    /// Flush.
    Flush,
}

impl Request {
    const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteZeroes => "write-zeroes",
            Self::Discard => "discard",
            Self::Flush => "flush",
        }
    }
}

impl InjectedError {
    /// Every request of this kind fails.
    pub const fn always(request: Request) -> Self {
        Self { request, sector: None, once: false }
    }

    /// With this only once.
    #[must_use]
    pub const fn once(mut self) -> Self {
        self.once = true;
        self
    }

    /// With this only if it touches this sector of 512 bytes.
    #[must_use]
    pub const fn at(mut self, sector: u64) -> Self {
        self.sector = Some(sector);
        self
    }
}

impl FaultyDisk {
    /// This image, without any fault.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), errors: Vec::new(), log: None }
    }

    /// With these requests failing.
    #[must_use]
    pub fn failing(mut self, errors: impl IntoIterator<Item = InjectedError>) -> Self {
        self.errors.extend(errors);
        self
    }

    /// With its writes recorded in this file.
    #[must_use]
    pub fn recorded(mut self, log: impl Into<PathBuf>) -> Self {
        self.log = Some(log.into());
        self
    }

    /// As what a namespace holds.
    ///
    /// # Panics
    /// If the log cannot be made anew.
    pub fn contents(&self) -> Contents {
        let mut description = String::from("driver=blkdebug,discard=unmap");
        for (index, error) in self.errors.iter().enumerate() {
            // The event `none` stands for every moment.
            description +=
                &format!(",inject-error.{index}.event=none,inject-error.{index}.iotype={}", error.request.name());
            if let Some(sector) = error.sector {
                description += &format!(",inject-error.{index}.sector={sector}");
            }
            if error.once {
                description += &format!(",inject-error.{index}.once=on");
            }
        }
        let mut below = "image".to_owned();
        let file = |node: &str, path: &PathBuf| {
            // What is durable on the host does not matter, and waiting for it takes time.
            format!(
                ",{node}.driver=file,{node}.filename={},{node}.discard=unmap,{node}.cache.no-flush=on",
                escaped(&path.to_string_lossy())
            )
        };
        if let Some(log) = &self.log {
            std::fs::write(log, []).unwrap_or_else(|error| panic!("{}: {error}", log.display()));
            description += ",image.driver=blklogwrites,image.discard=unmap";
            description += &file("image.log", log);
            below += ".file";
        }
        description += &file(&below, &self.path);
        Contents::Drive(description)
    }

    /// QEMU arguments that a machine with a recorded disk needs: one thread does all file accesses, so that the log is
    /// written in order.
    pub fn arguments() -> Vec<String> {
        ["-object", "main-loop,id=files,thread-pool-max=1"].map(Into::into).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_reaches_the_description() {
        let directory = tempfile::tempdir().unwrap();
        let log = directory.path().join("log");
        let disk = FaultyDisk::new("a,b.img")
            .failing([InjectedError::always(Request::Flush), InjectedError::always(Request::WriteZeroes).at(80).once()])
            .recorded(&log);
        let Contents::Drive(description) = disk.contents() else { panic!("a drive") };
        assert_eq!(
            description,
            format!(
                "driver=blkdebug,discard=unmap,inject-error.0.event=none,inject-error.0.iotype=flush,inject-error.1.event=none,\
                 inject-error.1.iotype=write-zeroes,inject-error.1.sector=80,inject-error.1.once=on,\
                 image.driver=blklogwrites,image.discard=unmap,image.log.driver=file,image.log.filename={},\
                 image.log.discard=unmap,image.log.cache.no-flush=on,image.file.driver=file,\
                 image.file.filename=a,,b.img,image.file.discard=unmap,image.file.cache.no-flush=on",
                log.display()
            )
        );
        let Contents::Drive(plain) = FaultyDisk::new("c.img").contents() else { panic!("a drive") };
        assert_eq!(
            plain,
            "driver=blkdebug,discard=unmap,image.driver=file,image.filename=c.img,image.discard=unmap,\
             image.cache.no-flush=on"
        );
    }
}
