//! What an image is: read back from its bytes alone, raw image, VHD or EFI file.
//!
//! Everything that is said of grants comes from the boot package, which is what the kernel enforces; the charter's text
//! that lies beside it is compared with that, not believed.

use std::fmt;
use std::io::{Cursor, Read};

use abi::handoff;
use abi::package::{self, Package};
use object::read::pe::PeFile64;
use object::{Object, ObjectSection};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::authority::Authority;
use crate::charter::values::Bytes;
use crate::efi::CHARTER_SECTION;
use crate::packed::{self, UnpackError};
use crate::problem::Problems;
use crate::signature::{self, Signature};
use crate::symbols;

/// Where firmware looks for the EFI file.
const EFI_PATH: &str = "EFI/BOOT/BOOTX64.EFI";
const SECTOR_BYTES: u64 = 512;
const MIB: usize = 1 << 20;

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// Neither an EFI file nor a disk image.
    #[error("neither an EFI file nor a disk image with a GUID partition table")]
    Unknown(#[source] gpt::GptError),
    /// No EFI system partition in it.
    #[error("no EFI system partition in this image")]
    NoPartition,
    /// The EFI file could not be read from the partition.
    #[error("cannot read \\EFI\\BOOT\\BOOTX64.EFI")]
    NoFile(#[source] std::io::Error),
    /// Not a PE file.
    #[error("not a PE file")]
    NotPe(#[source] object::Error),
    /// Its signatures cannot be read.
    #[error(transparent)]
    Signature(#[from] signature::SignatureError),
    /// A section cannot be unpacked.
    #[error("section {name} cannot be unpacked")]
    Packed {
        /// Which.
        name: &'static str,
        /// Why.
        source: UnpackError,
    },
    /// A section is missing.
    #[error("no section {0}: not made by this image builder")]
    NoSection(&'static str),
    /// The package cannot be used.
    #[error("the boot package cannot be used")]
    Package(#[from] package::PackageError),
    /// The package contradicts itself.
    #[error(transparent)]
    Authority(#[from] crate::authority::Inconsistent),
}

/// What an image holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    /// The system's name.
    pub system: String,
    /// The system's own version; 0, if its charter gives none.
    pub system_version: u32,
    /// Signatures of the EFI file.
    pub signatures: Vec<Signature>,
    /// Bytes and SHA-256 of its parts: the whole EFI file, then kernel, package and charter.
    pub parts: Vec<Part>,
    /// Features of the kernel that are for tests only; a product has none.
    pub test_features: Vec<String>,
    /// Version of the package's form.
    pub package_version: u32,
    /// Version of the charter's form.
    pub charter_version: u64,
    /// Every task.
    pub tasks: Vec<TaskSize>,
    /// DMA regions, and their bytes.
    pub regions: Vec<(String, u64)>,
    /// What each task may do, from the package.
    pub authority: Authority,
    /// Whether the charter's text gives just this authority; `None` if there is no text.
    pub charter_agrees: Option<bool>,
    /// The text of the charter that it was built from.
    pub charter: Option<String>,
}

/// A part of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Which.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Of these bytes, in hexadecimal.
    pub sha256: String,
}

/// What a task takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TaskSize {
    /// Its name.
    pub name: String,
    /// Its priority.
    pub priority: u8,
    /// Whether `boot complete` waits for it.
    pub required: bool,
    /// Bytes of its program in the image.
    pub image_bytes: u64,
    /// Bytes of its program in memory, in whole pages.
    pub program_bytes: u64,
    /// Bytes of its stack.
    pub stack_bytes: u64,
    /// SHA-256 of its program: of every segment its address, its bytes in memory (both 64 bits, little-endian) and its
    /// contents.
    pub program_sha256: String,
}

/// The EFI file in an image; an EFI file is one itself.
///
/// # Errors
/// If there is none.
pub fn efi_file(image: &[u8]) -> Result<Vec<u8>, InspectError> {
    if image.starts_with(b"MZ") {
        return Ok(image.to_vec());
    }
    file(image, EFI_PATH)?.map_err(InspectError::NoFile)
}

/// The file of symbols in an image; `None` if there is none, as in an EFI file alone.
///
/// # Errors
/// If the image has no partition to look in.
pub fn symbols_file(image: &[u8]) -> Result<Option<Vec<u8>>, InspectError> {
    if image.starts_with(b"MZ") {
        return Ok(None);
    }
    Ok(file(image, symbols::FILE_NAME)?.ok())
}

/// A file in the EFI system partition of a disk image.
fn file(image: &[u8], path: &str) -> Result<std::io::Result<Vec<u8>>, InspectError> {
    // A fixed VHD is a raw image and one more sector.
    let mut disk = image[..image.len() - image.len() % MIB].to_vec();
    let (start, end) = {
        let table = gpt::GptConfig::new().writable(false).open_from_device(Cursor::new(&mut disk[..]));
        let table = table.map_err(InspectError::Unknown)?;
        let found = table.partitions().values().find(|own| own.part_type_guid == gpt::partition_types::EFI);
        let found = found.ok_or(InspectError::NoPartition)?;
        (found.first_lba.saturating_mul(SECTOR_BYTES), found.last_lba.saturating_add(1).saturating_mul(SECTOR_BYTES))
    };
    let partition = usize::try_from(start).ok().zip(usize::try_from(end).ok());
    let partition = partition.and_then(|(start, end)| disk.get_mut(start..end)).ok_or(InspectError::NoPartition)?;
    let system = fatfs::FileSystem::new(Cursor::new(partition), fatfs::FsOptions::new().update_accessed_date(false))
        .map_err(InspectError::NoFile)?;
    let mut contents = Vec::new();
    let read = system.root_dir().open_file(path).and_then(|mut file| file.read_to_end(&mut contents));
    Ok(read.map(|_| contents))
}

/// An image's EFI file, whose sections can be read.
#[derive(Clone, Debug)]
pub struct EfiFile(Vec<u8>);

impl EfiFile {
    /// That of an image; see [`efi_file`].
    ///
    /// # Errors
    /// If there is none.
    pub fn find(image: &[u8]) -> Result<Self, InspectError> {
        efi_file(image).map(Self)
    }

    /// The kernel's ELF file, without what nobody loads.
    ///
    /// # Errors
    /// If it is not there, or damaged.
    pub fn kernel(&self) -> Result<Vec<u8>, InspectError> {
        self.unpacked(handoff::KERNEL_SECTION, handoff::KERNEL_FILE_BYTES_MAX)
    }

    /// The boot package.
    ///
    /// # Errors
    /// If it is not there, or damaged.
    pub fn package(&self) -> Result<Vec<u8>, InspectError> {
        self.unpacked(handoff::PACKAGE_SECTION, handoff::PACKAGE_BYTES_MAX)
    }

    fn unpacked(&self, name: &'static str, limit: u64) -> Result<Vec<u8>, InspectError> {
        packed::unpack(self.section(name)?, limit).map_err(|source| InspectError::Packed { name, source })
    }

    /// What lies in a section, as it is.
    ///
    /// # Errors
    /// If there is none of this name, or this is no PE file.
    pub fn section(&self, name: &'static str) -> Result<&[u8], InspectError> {
        let file = PeFile64::parse(&*self.0).map_err(InspectError::NotPe)?;
        let section = file.section_by_name(name).ok_or(InspectError::NoSection(name))?;
        let data = section.data().map_err(InspectError::NotPe)?;
        Ok(&data[..data.len().min(section.size() as usize)])
    }
}

/// Reads an image.
///
/// # Errors
/// The first thing that makes it none of this image builder's.
pub fn inspect(image: &[u8]) -> Result<Inspection, InspectError> {
    let efi = EfiFile::find(image)?;
    let (kernel, packed) = (efi.kernel()?, efi.package()?);
    let charter = efi.section(CHARTER_SECTION).ok();
    let package = Package::open(&packed)?;
    let authority = Authority::try_from(&package)?;
    let mut parts = vec![part("EFI file", &efi.0), part("kernel", &kernel), part("package", &packed)];
    parts.extend(charter.map(|charter| part("charter", charter)));
    let text = charter.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    let agrees = text.as_ref().map(|text| {
        crate::manifest::read(text, &Problems::default()).is_some_and(|charter| Authority::from(&charter) == authority)
    });
    Ok(Inspection {
        system: package.contents().name.into(),
        system_version: package.contents().system_version,
        signatures: signature::signatures(&efi.0)?,
        parts,
        test_features: crate::executable::test_features(&kernel),
        package_version: package::VERSION,
        charter_version: crate::manifest::VERSION,
        tasks: package.tasks().map(|own| task(&own)).collect(),
        regions: package.regions().map(|region| (region.name.into(), region.bytes)).collect(),
        authority,
        charter_agrees: agrees,
        charter: text,
    })
}

fn task(task: &package::Task<'_>) -> TaskSize {
    let mut digest = Sha256::new();
    for segment in &task.segments {
        digest.update(segment.address.to_le_bytes());
        digest.update(segment.bytes.to_le_bytes());
        digest.update(segment.data);
    }
    let pages = |bytes: u64| bytes.next_multiple_of(abi::layout::PAGE_BYTES);
    TaskSize {
        name: task.name.into(),
        priority: task.priority,
        required: task.required,
        image_bytes: task.segments.iter().map(|segment| segment.data.len() as u64).sum(),
        program_bytes: task.segments.iter().map(|segment| pages(segment.bytes)).sum(),
        stack_bytes: task.stack_bytes,
        program_sha256: hexadecimal(&digest.finalize()),
    }
}

fn part(name: &str, bytes: &[u8]) -> Part {
    Part { name: name.into(), bytes: bytes.len() as u64, sha256: hexadecimal(&Sha256::digest(bytes)) }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "system `{}`: charter version {}, package version {}",
            self.system, self.charter_version, self.package_version
        )?;
        if self.system_version != 0 {
            writeln!(f, "  version {}", self.system_version)?;
        }
        if !self.test_features.is_empty() {
            writeln!(f, "  FOR TESTS ONLY: the kernel has {}", self.test_features.join(", "))?;
        }
        if self.signatures.is_empty() {
            writeln!(f, "  not signed")?;
        }
        for signature in &self.signatures {
            let of = if signature.is_of_this_file { "" } else { ", CHANGED AFTER SIGNING" };
            writeln!(f, "  signed{of}, certificate {}", signature.certificates.join(", "))?;
        }
        for part in &self.parts {
            writeln!(f, "  {:9} {:>9} bytes  sha256 {}", part.name, part.bytes, part.sha256)?;
        }
        for (name, bytes) in &self.regions {
            writeln!(f, "region `{name}`: {}", Bytes(*bytes))?;
        }
        for task in &self.tasks {
            writeln!(f, "task `{}`{}", task.name, if task.required { "" } else { ", not required" })?;
            writeln!(
                f,
                "  program of {} bytes, {} in memory, {} of stack\n  sha256 {}",
                task.image_bytes,
                Bytes(task.program_bytes),
                Bytes(task.stack_bytes),
                task.program_sha256
            )?;
            self.authority.of(&task.name).iter().try_for_each(|right| writeln!(f, "  · {right}"))?;
        }
        f.write_str(match self.charter_agrees {
            None => "no charter's text in this image",
            Some(true) => "the charter in this image grants just this",
            Some(false) => "the charter in this image grants something else",
        })
    }
}
