//! Where OVMF (UEFI firmware for virtual machines) lies on this computer, and the two ways of giving it to QEMU.
//!
//! Distributions put it in different places, as one file that holds code and variables, or as a pair. Both are looked
//! for; the single file starts a second or so faster and comes first. Variables are never written back: QEMU keeps
//! changes in a temporary overlay.

use std::path::{Path, PathBuf};

/// Firmware files that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Firmware {
    /// Code and variables in one file, given as `-bios`: the machine sees it as ROM.
    Single(PathBuf),
    /// Code and variables as a pair of flash chips, as real boards have them.
    Split {
        /// The code, read-only.
        code: PathBuf,
        /// The variables to start from.
        variables: PathBuf,
    },
}

/// Which of the two ways is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Style {
    /// Whichever is found, a single file first.
    #[default]
    Any,
    /// One file, `-bios`.
    Single,
    /// A pair of flash chips.
    Split,
}

/// Why there is no firmware to start.
#[derive(Debug, thiserror::Error)]
pub enum FirmwareError {
    /// It is in none of the known places.
    #[error(
        "no OVMF firmware found ({wanted}); install it (Debian: ovmf, Fedora: edk2-ovmf, Arch: edk2-ovmf, Homebrew: \
         qemu) or name it with --firmware"
    )]
    NotFound {
        /// Which way was asked for.
        wanted: &'static str,
    },
    /// A file that the user named does not exist.
    #[error("firmware file {} does not exist", .0.display())]
    Missing(PathBuf),
    /// Only half of a pair.
    #[error("{} is only the code half of a pair; name its variables with --firmware-variables", .0.display())]
    CodeAlone(PathBuf),
}

/// Single files, below the root, in the order of preference.
const SINGLE: &[&str] = &[
    "usr/share/ovmf/OVMF.fd",          // Debian, Ubuntu
    "usr/share/OVMF/OVMF.fd",          // older Ubuntu
    "usr/share/edk2/x64/OVMF.4m.fd",   // Arch
    "usr/share/edk2-ovmf/x64/OVMF.fd", // older Arch
    "usr/share/edk2/ovmf/OVMF.fd",     // older Fedora
];

/// Pairs: code, variables.
const SPLIT: &[(&str, &str)] = &[
    // Debian, Ubuntu
    ("usr/share/OVMF/OVMF_CODE_4M.fd", "usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("usr/share/OVMF/OVMF_CODE.fd", "usr/share/OVMF/OVMF_VARS.fd"),
    // Fedora
    ("usr/share/edk2/ovmf/OVMF_CODE.fd", "usr/share/edk2/ovmf/OVMF_VARS.fd"),
    // Arch
    ("usr/share/edk2/x64/OVMF_CODE.4m.fd", "usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "usr/share/edk2-ovmf/x64/OVMF_VARS.fd"),
    // openSUSE
    ("usr/share/qemu/ovmf-x86_64-4m-code.bin", "usr/share/qemu/ovmf-x86_64-4m-vars.bin"),
    // What QEMU itself brings: Homebrew on Apple silicon and on Intel, MacPorts, own builds
    ("opt/homebrew/share/qemu/edk2-x86_64-code.fd", "opt/homebrew/share/qemu/edk2-i386-vars.fd"),
    ("usr/local/share/qemu/edk2-x86_64-code.fd", "usr/local/share/qemu/edk2-i386-vars.fd"),
    ("opt/local/share/qemu/edk2-x86_64-code.fd", "opt/local/share/qemu/edk2-i386-vars.fd"),
    ("usr/share/qemu/edk2-x86_64-code.fd", "usr/share/qemu/edk2-i386-vars.fd"),
];

impl Firmware {
    /// Looks in the known places of this computer.
    ///
    /// # Errors
    /// If there is none of this style.
    pub fn find(style: Style) -> Result<Self, FirmwareError> {
        Self::find_below(Path::new("/"), style)
    }

    /// Looks in the known places below `root`.
    ///
    /// # Errors
    /// If there is none of this style.
    pub fn find_below(root: &Path, style: Style) -> Result<Self, FirmwareError> {
        let single = || SINGLE.iter().map(|place| root.join(place)).find(|place| place.is_file()).map(Self::Single);
        let split = || {
            SPLIT
                .iter()
                .map(|(code, variables)| (root.join(code), root.join(variables)))
                .find(|(code, variables)| code.is_file() && variables.is_file())
                .map(|(code, variables)| Self::Split { code, variables })
        };
        match style {
            Style::Any => single().or_else(split).ok_or(FirmwareError::NotFound { wanted: "either form" }),
            Style::Single => single().ok_or(FirmwareError::NotFound { wanted: "as a single file" }),
            Style::Split => split().ok_or(FirmwareError::NotFound { wanted: "as a pair of code and variables" }),
        }
    }

    /// The files that a user named.
    ///
    /// # Errors
    /// If one does not exist, or if only the code half of a pair was named.
    pub fn named(file: &Path, variables: Option<&Path>) -> Result<Self, FirmwareError> {
        for path in [Some(file), variables].into_iter().flatten() {
            if !path.is_file() {
                return Err(FirmwareError::Missing(path.to_owned()));
            }
        }
        if let Some(variables) = variables {
            return Ok(Self::Split { code: file.to_owned(), variables: variables.to_owned() });
        }
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        if name.contains("code") {
            Err(FirmwareError::CodeAlone(file.to_owned()))
        } else {
            Ok(Self::Single(file.into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn computer_with(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"firmware").unwrap();
        }
        root
    }

    #[test]
    fn every_known_place_is_found() {
        for place in SINGLE {
            let root = computer_with(&[place]);
            assert_eq!(
                Firmware::find_below(root.path(), Style::Any).unwrap(),
                Firmware::Single(root.path().join(place))
            );
            assert!(Firmware::find_below(root.path(), Style::Split).is_err());
        }
        for (code, variables) in SPLIT {
            let root = computer_with(&[code, variables]);
            let expected = Firmware::Split { code: root.path().join(code), variables: root.path().join(variables) };
            assert_eq!(Firmware::find_below(root.path(), Style::Any).unwrap(), expected);
            assert_eq!(Firmware::find_below(root.path(), Style::Split).unwrap(), expected);
            assert!(Firmware::find_below(root.path(), Style::Single).is_err());
        }
    }

    #[test]
    fn half_a_pair_is_not_firmware() {
        let root = computer_with(&[SPLIT[0].0]);
        let error = Firmware::find_below(root.path(), Style::Any).unwrap_err();
        assert!(error.to_string().contains("--firmware"), "{error}");
    }

    #[test]
    fn named_files_must_exist_and_be_whole() {
        let root = computer_with(&["a.fd", "OVMF_CODE.fd", "OVMF_VARS.fd"]);
        let path = |name: &str| root.path().join(name);
        assert_eq!(Firmware::named(&path("a.fd"), None).unwrap(), Firmware::Single(path("a.fd")));
        assert!(matches!(Firmware::named(&path("b.fd"), None), Err(FirmwareError::Missing(_))));
        assert!(matches!(Firmware::named(&path("OVMF_CODE.fd"), None), Err(FirmwareError::CodeAlone(_))));
        assert!(matches!(
            Firmware::named(&path("OVMF_CODE.fd"), Some(&path("OVMF_VARS.fd"))).unwrap(),
            Firmware::Split { .. }
        ));
    }
}
