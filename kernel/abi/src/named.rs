//! Names of values, for types whose values are words of the charter or the log.

/// Gives a type without data the list of its values, and each a name.
macro_rules! named {
    ($type:ident: $($value:ident $name:literal,)*) => {
        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$value,)*];

            /// Its name, in the charter or the log.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$value => $name,)*
                }
            }

            /// The one of this name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.name() == name)
            }
        }
    };
}

pub(crate) use named;
