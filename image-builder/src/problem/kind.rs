//! The kinds of mistake, each with the code under which a message shows it and `docs/charter.md` explains it.

/// A kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Not TOML.
    Syntax,
    /// A version that this builder does not know.
    Version,
    /// A key that means nothing here.
    UnknownKey,
    /// A key that must be there.
    MissingKey,
    /// A value of another type.
    WrongType,
    /// A word that is not among those that are possible.
    BadValue,
    /// A number that is too small or too large.
    OutOfRange,
    /// A name with characters that no name has, or too long.
    BadName,
    /// Not a size, or one that is impossible.
    BadSize,
    /// Not a multiple of the page.
    Misaligned,
    /// Not a PCI address.
    BadPciAddress,
    /// A grant that grants nothing, or two things at once.
    BadGrant,
    /// A selector that every device matches.
    BadSelector,
    /// No device of this name.
    UnknownDevice,
    /// No region of this name.
    UnknownRegion,
    /// No task of this name.
    UnknownTask,
    /// Nobody receives on this endpoint.
    UnknownEndpoint,
    /// The task has no window of this name.
    UnknownWindow,
    /// No broker of this name.
    UnknownBroker,
    /// No program of this name was found.
    UnknownProgram,
    /// A file that is no program of this system.
    BadProgram,
    /// Something that only one may hold, granted twice.
    DuplicateGrant,
    /// Two devices that may be the same function.
    AmbiguousDevice,
    /// A device that could write to any memory: nothing checks its commands.
    UncheckedDevice,
    /// A region whose device somebody else drives.
    ForeignRegion,
    /// Memory of two tasks that overlaps, and is written through one of them.
    OverlappingWindows,
    /// A window that is not inside its region.
    WindowBeyondRegion,
    /// A disk whose data cannot pass through the window that is named.
    DiskWindow,
    /// A disk that the device's limits do not allow.
    DiskBeyondLimits,
    /// A call to a priority that is not higher.
    CallAgainstPriority,
    /// A component name of the kernel's own.
    ReservedName,
    /// More than fit.
    TooMany,
    /// Something that a program asks for and is not granted.
    NeedNotGranted,
    /// A grant of another kind than its program asks for.
    GrantOfAnotherKind,
    /// A grant that its program does not ask for.
    GrantNotNeeded,
    /// A device or region that nobody uses.
    Unused,
    /// Something that takes more bytes than the charter allows it.
    OverBudget,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 37] = [
        Self::Syntax,
        Self::Version,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::BadValue,
        Self::OutOfRange,
        Self::BadName,
        Self::BadSize,
        Self::Misaligned,
        Self::BadPciAddress,
        Self::BadGrant,
        Self::BadSelector,
        Self::UnknownDevice,
        Self::UnknownRegion,
        Self::UnknownTask,
        Self::UnknownEndpoint,
        Self::UnknownWindow,
        Self::UnknownBroker,
        Self::UnknownProgram,
        Self::BadProgram,
        Self::DuplicateGrant,
        Self::AmbiguousDevice,
        Self::UncheckedDevice,
        Self::ForeignRegion,
        Self::OverlappingWindows,
        Self::WindowBeyondRegion,
        Self::DiskWindow,
        Self::DiskBeyondLimits,
        Self::CallAgainstPriority,
        Self::ReservedName,
        Self::TooMany,
        Self::NeedNotGranted,
        Self::GrantOfAnotherKind,
        Self::GrantNotNeeded,
        Self::Unused,
        Self::OverBudget,
    ];

    /// The code that messages and documentation use.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Syntax => "syntax",
            Self::Version => "version",
            Self::UnknownKey => "unknown-key",
            Self::MissingKey => "missing-key",
            Self::WrongType => "wrong-type",
            Self::BadValue => "bad-value",
            Self::OutOfRange => "out-of-range",
            Self::BadName => "bad-name",
            Self::BadSize => "bad-size",
            Self::Misaligned => "misaligned",
            Self::BadPciAddress => "bad-pci-address",
            Self::BadGrant => "bad-grant",
            Self::BadSelector => "bad-selector",
            Self::UnknownDevice => "unknown-device",
            Self::UnknownRegion => "unknown-region",
            Self::UnknownTask => "unknown-task",
            Self::UnknownEndpoint => "unknown-endpoint",
            Self::UnknownWindow => "unknown-window",
            Self::UnknownBroker => "unknown-broker",
            Self::UnknownProgram => "unknown-program",
            Self::BadProgram => "bad-program",
            Self::DuplicateGrant => "duplicate-grant",
            Self::AmbiguousDevice => "ambiguous-device",
            Self::UncheckedDevice => "unchecked-device",
            Self::ForeignRegion => "foreign-region",
            Self::OverlappingWindows => "overlapping-windows",
            Self::WindowBeyondRegion => "window-beyond-region",
            Self::DiskWindow => "disk-window",
            Self::DiskBeyondLimits => "disk-beyond-limits",
            Self::CallAgainstPriority => "call-against-priority",
            Self::ReservedName => "reserved-name",
            Self::TooMany => "too-many",
            Self::NeedNotGranted => "need-not-granted",
            Self::GrantOfAnotherKind => "grant-of-another-kind",
            Self::GrantNotNeeded => "grant-not-needed",
            Self::Unused => "unused",
            Self::OverBudget => "over-budget",
        }
    }

    /// Whether a charter with it can still be used.
    pub const fn is_warning(self) -> bool {
        matches!(self, Self::GrantNotNeeded | Self::Unused)
    }
}
