//! The kinds of mistake, each with the code under which a message shows it and `docs/charter.md` explains it.

/// Makes the type, the list of all, and their codes of one list.
macro_rules! kinds {
    ($($(#[$documentation:meta])* $kind:ident => $code:literal,)*) => {
        /// A kind of mistake.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$documentation])* $kind,)*
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &[Self] = &[$(Self::$kind),*];

            /// The code that messages and documentation use.
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$kind => $code,)*
                }
            }
        }
    };
}

kinds! {
    /// Not TOML.
    Syntax => "syntax",
    /// A key or table that is written twice.
    DuplicateKey => "duplicate-key",
    /// A version that this builder does not know.
    Version => "version",
    /// A key that means nothing here.
    UnknownKey => "unknown-key",
    /// A key that must be there.
    MissingKey => "missing-key",
    /// A charter without a task.
    NoTasks => "no-tasks",
    /// A value of another type.
    WrongType => "wrong-type",
    /// A limit that lists a command which its access does not allow.
    OpcodeBeyondAccess => "opcode-beyond-access",
    /// A word that is not among those that are possible.
    BadValue => "bad-value",
    /// A number that is too small or too large.
    OutOfRange => "out-of-range",
    /// A name with characters that no name has.
    BadName => "bad-name",
    /// A name that is too long.
    LongName => "long-name",
    /// A path where the name of a program belongs.
    ProgramPath => "program-path",
    /// Not a size.
    BadSize => "bad-size",
    /// A size without a unit.
    MissingUnit => "missing-unit",
    /// A size in a unit that is none.
    UnknownUnit => "unknown-unit",
    /// A size of nothing.
    NoMemory => "no-memory",
    /// A size beyond what is possible.
    TooLarge => "too-large",
    /// Not a multiple of the page.
    Misaligned => "misaligned",
    /// Not a time.
    BadDuration => "bad-duration",
    /// Not a PCI address.
    BadPciAddress => "bad-pci-address",
    /// A grant that grants nothing.
    BadGrant => "bad-grant",
    /// A grant of two things at once.
    TwoGrants => "two-grants",
    /// A disk that is selected in two ways.
    TwoSelectors => "two-selectors",
    /// A list of limits that allows nothing.
    NoLimits => "no-limits",
    /// A selector that every device matches.
    BadSelector => "bad-selector",
    /// No device of this name.
    UnknownDevice => "unknown-device",
    /// No region of this name.
    UnknownRegion => "unknown-region",
    /// No task of this name.
    UnknownTask => "unknown-task",
    /// Nobody receives on this endpoint.
    UnknownEndpoint => "unknown-endpoint",
    /// The task has no window of this name.
    UnknownWindow => "unknown-window",
    /// No broker of this name.
    UnknownBroker => "unknown-broker",
    /// No program of this name was found.
    UnknownProgram => "unknown-program",
    /// A program that cannot be loaded for another reason.
    BadProgram => "bad-program",
    /// A program that is no whole ELF file.
    NotElf => "not-elf",
    /// A program for another processor.
    OtherMachine => "other-machine",
    /// A program that is not linked at a fixed address.
    NotFixed => "not-fixed",
    /// A program with memory that is writable and executable.
    WritableCode => "writable-code",
    /// A program with memory where no program lies, or in one page with other memory.
    SegmentPlace => "segment-place",
    /// A program whose first instruction is in no code.
    NoCode => "no-code",
    /// A program whose needs cannot be read.
    BadNeeds => "bad-needs",
    /// The registers of a device, granted twice.
    DuplicateRegisters => "duplicate-registers",
    /// An interrupt that is granted twice.
    DuplicateInterrupt => "duplicate-interrupt",
    /// An endpoint that is received on twice.
    DuplicateReceiver => "duplicate-receiver",
    /// A region that is owned twice.
    DuplicateOwner => "duplicate-owner",
    /// A console that two read.
    DuplicateConsole => "duplicate-console",
    /// A task that two watch over.
    DuplicateSupervisor => "duplicate-supervisor",
    /// A supervisor of a task that is not below it.
    SuperviseAgainstPriority => "supervise-against-priority",
    /// A supervisor that somebody watches over.
    SupervisedSupervisor => "supervised-supervisor",
    /// A supervisor that somebody may stop.
    KilledSupervisor => "killed-supervisor",
    /// Two devices that may be the same function.
    AmbiguousDevice => "ambiguous-device",
    /// A device that can be a function which another device chooses first.
    ShadowedDevice => "shadowed-device",
    /// A device that could write to any memory: nothing checks its commands.
    UncheckedDevice => "unchecked-device",
    /// A region whose device somebody else drives.
    ForeignRegion => "foreign-region",
    /// Memory of two tasks that overlaps, and is written through one of them.
    OverlappingWindows => "overlapping-windows",
    /// A window that is not inside its region.
    WindowBeyondRegion => "window-beyond-region",
    /// A disk whose data cannot pass through the window that is named.
    DiskWindow => "disk-window",
    /// A disk whose driver owns several regions.
    SeveralRegions => "several-regions",
    /// A disk that the device's limits do not allow.
    DiskBeyondLimits => "disk-beyond-limits",
    /// Blocks that two tasks may write.
    OverlappingDisks => "overlapping-disks",
    /// A disk that its server has no memory for.
    NoServerWindow => "no-server-window",
    /// Shares of a queue that add up to more than there is.
    OverShared => "over-shared",
    /// A call to a priority that is not higher.
    CallAgainstPriority => "call-against-priority",
    /// A task that calls itself.
    CallToItself => "call-to-itself",
    /// Tasks that wait for each other in a circle.
    CallCycle => "call-cycle",
    /// A component name of the kernel's own.
    ReservedName => "reserved-name",
    /// A log component of the name of a task that does not write under it.
    NameClash => "name-clash",
    /// More than fit.
    TooMany => "too-many",
    /// Something that a program asks for and is not granted.
    NeedNotGranted => "need-not-granted",
    /// A grant of another kind than its program asks for.
    GrantOfAnotherKind => "grant-of-another-kind",
    /// A grant that its program does not ask for.
    GrantNotNeeded => "grant-not-needed",
    /// A task that may wake itself.
    SignalToItself => "signal-to-itself",
    /// A task that is granted the same thing twice.
    RepeatedGrant => "repeated-grant",
    /// A device that nobody uses.
    UnusedDevice => "unused-device",
    /// A region that nobody owns.
    UnusedRegion => "unused-region",
    /// An endpoint that nobody calls.
    UnusedEndpoint => "unused-endpoint",
    /// A limit that another one covers.
    RedundantLimit => "redundant-limit",
    /// A stack that is not enough for what its program was seen to use.
    StackTooSmall => "stack-too-small",
    /// Something that takes more bytes than the charter allows it.
    OverBudget => "over-budget",
}

impl Kind {
    /// Whether a charter with it can still be used.
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::GrantNotNeeded
                | Self::SignalToItself
                | Self::RepeatedGrant
                | Self::UnusedDevice
                | Self::UnusedRegion
                | Self::UnusedEndpoint
                | Self::RedundantLimit
                | Self::NameClash
                | Self::ShadowedDevice
        )
    }
}
