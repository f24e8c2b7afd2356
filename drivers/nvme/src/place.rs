//! An [`Option`] whose `None` is zero in every byte, whatever is in it: so a table of nothing takes no room in the
//! program's file.

/// A place for a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place<T> {
    /// Nothing is here.
    Free = 0,
    /// This is.
    Taken(T),
}

impl<T> Place<T> {
    /// What is here.
    pub const fn as_ref(&self) -> Option<&T> {
        match self {
            Self::Free => None,
            Self::Taken(value) => Some(value),
        }
    }

    /// What is here, to be changed.
    pub const fn as_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Free => None,
            Self::Taken(value) => Some(value),
        }
    }
}

impl<T: Copy> Place<T> {
    /// A copy of what is here.
    pub const fn get(&self) -> Option<T> {
        match self {
            Self::Free => None,
            Self::Taken(value) => Some(*value),
        }
    }
}
