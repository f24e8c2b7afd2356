//! `needs!`: one list gives the record that the image builder reads and the types that the task uses, so that they
//! cannot differ.

/// Says what a task needs: `needs! { disk: call, data: window, optional log: log }`.
///
/// Each entry is a grant's name and its kind, by the key that grants it in `system.toml`: `call`, `receive`, `signal`,
/// `registers`, `interrupt`, `information`, `dma`, `window`, `log`, `evidence`, `console`, `inspect`, `power`,
/// `supervise`, `kill`. It makes
/// - the `.charter.needs` section of the program, see [`abi::needs`];
/// - `struct Grants` with a field an entry ([`Call`](crate::Call), …, in an `Option` where it is optional), and
///   `Grants::find(&environment)`, which gives them or names the [`Missing`](crate::Missing) one.
///
/// It belongs into the program (`main.rs`): what lies in a library may be dropped by the linker.
#[macro_export]
macro_rules! needs {
    ($($needs:tt)*) => {
        $crate::__needs! { [] [] [] $($needs)* }
    };
}

/// Says how many bytes of its stack a program was seen to use: `stack!(13_112)`, beside [`needs!`].
///
/// The image builder demands a quarter more of the charter, in whole pages. A program that does not say it gets the
/// stack that the charter says, unchecked. For Charter's own programs `qemu/tests/stacks.rs` measures it.
#[macro_export]
macro_rules! stack {
    ($bytes:expr) => {
        #[used]
        #[cfg_attr(target_os = "none", unsafe(link_section = ".charter.stack"))]
        static CHARTER_STACK: [u8; 4] = u32::to_le_bytes($bytes);
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __needs {
    ([$($record:tt)*] [$($field:tt)*] [$($find:tt)*] optional $name:ident : $kind:ident $(, $($rest:tt)*)?) => {
        $crate::__needs! {
            [$($record)* $crate::__need!($kind, true, $name),]
            [$($field)* $name: ::core::option::Option<$crate::__grant!($kind)>,]
            [$($find)* ($name optional)]
            $($($rest)*)?
        }
    };
    ([$($record:tt)*] [$($field:tt)*] [$($find:tt)*] $name:ident : $kind:ident $(, $($rest:tt)*)?) => {
        $crate::__needs! {
            [$($record)* $crate::__need!($kind, false, $name),]
            [$($field)* $name: $crate::__grant!($kind),]
            [$($find)* ($name grant)]
            $($($rest)*)?
        }
    };
    ([$($record:tt)*] [$($field:ident: $type:ty,)*] [$($find:tt)*]) => {
        #[used]
        #[cfg_attr(target_os = "none", unsafe(link_section = ".charter.needs"))]
        static CHARTER_NEEDS: [[u8; $crate::abi::needs::NEED_BYTES]; [$($record)*].len()] = [$($record)*];

        /// What the charter grants this task.
        #[derive(Clone, Copy, Debug)]
        #[cfg_attr(not(target_os = "none"), allow(dead_code))]
        struct Grants {
            $($field: $type,)*
        }

        impl Grants {
            /// Finds each grant.
            #[cfg_attr(not(target_os = "none"), allow(dead_code))]
            fn find(environment: &$crate::Environment) -> ::core::result::Result<Self, $crate::Missing> {
                $crate::__find!(environment; $($find)*)
            }
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __find {
    ($environment:ident; $(($name:ident $how:ident))*) => {
        ::core::result::Result::Ok(Self { $($name: $crate::__find_one!($environment $name $how),)* })
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __find_one {
    ($environment:ident $name:ident grant) => {
        $environment.grant(::core::stringify!($name))?
    };
    ($environment:ident $name:ident optional) => {
        $environment.optional(::core::stringify!($name))
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __need {
    ($kind:ident, $optional:literal, $name:ident) => {
        $crate::abi::needs::Need {
            kind: <$crate::__grant!($kind) as $crate::Grant>::KIND,
            optional: $optional,
            name: ::core::stringify!($name),
        }
        .encode()
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __grant {
    (call) => {
        $crate::Call
    };
    (receive) => {
        $crate::Receive
    };
    (signal) => {
        $crate::Signal
    };
    (registers) => {
        $crate::Registers
    };
    (interrupt) => {
        $crate::Interrupt
    };
    (information) => {
        $crate::Device
    };
    (dma) => {
        $crate::Dma
    };
    (window) => {
        $crate::Window
    };
    (log) => {
        $crate::Log
    };
    (evidence) => {
        $crate::Evidence
    };
    (console) => {
        $crate::Console
    };
    (inspect) => {
        $crate::Inspect
    };
    (power) => {
        $crate::Power
    };
    (supervise) => {
        $crate::Supervise
    };
    (kill) => {
        $crate::Kill
    };
}
