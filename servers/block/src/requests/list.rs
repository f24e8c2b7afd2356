//! Lists of numbers that share their links: a number is in one list at most, and moving it costs the same wherever it
//! goes.

/// No number.
const NONE: u8 = u8::MAX;

/// A list, first in first out.
#[derive(Clone, Copy, Debug)]
pub struct List {
    first: u8,
    last: u8,
}

impl List {
    /// Nothing in it.
    pub const EMPTY: Self = Self { first: NONE, last: NONE };

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.first == NONE
    }

    /// The first number.
    pub fn first(&self) -> Option<usize> {
        if self.first == NONE { None } else { Some(self.first.into()) }
    }
}

/// The numbers of a list, in order.
#[derive(Debug)]
pub struct Numbers<'a, const N: usize> {
    next: &'a [u8; N],
    at: u8,
}

impl<const N: usize> Iterator for Numbers<'_, N> {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let number = usize::from(self.at);
        // None is beyond all of them.
        self.at = *self.next.get(number)?;
        Some(number)
    }
}

/// The links of lists of numbers below `N`.
#[derive(Debug)]
pub struct Links<const N: usize> {
    next: [u8; N],
}

impl<const N: usize> Links<N> {
    /// Links, and a list of all numbers in order.
    pub const fn with_all() -> (Self, List) {
        const { assert!(N > 0 && N <= NONE as usize, "a number is a byte") };
        let mut next = [NONE; N];
        let mut number = 0;
        while number + 1 < N {
            next[number] = number as u8 + 1;
            number += 1;
        }
        (Self { next }, List { first: 0, last: N as u8 - 1 })
    }

    /// Adds a number that is in no list.
    pub fn push_back(&mut self, list: &mut List, number: usize) {
        self.next[number] = NONE;
        match list.last {
            NONE => list.first = number as u8,
            last => self.next[usize::from(last)] = number as u8,
        }
        list.last = number as u8;
    }

    /// Adds a number that is in no list at the front.
    pub fn push_front(&mut self, list: &mut List, number: usize) {
        self.next[number] = list.first;
        if list.first == NONE {
            list.last = number as u8;
        }
        list.first = number as u8;
    }

    /// Takes the first.
    pub fn pop_front(&mut self, list: &mut List) -> Option<usize> {
        let number = list.first()?;
        list.first = self.next[number];
        if list.first == NONE {
            list.last = NONE;
        }
        Some(number)
    }

    /// Adds all of another list at the end.
    pub fn append(&mut self, list: &mut List, other: List) {
        if other.is_empty() {
            return;
        }
        match list.last {
            NONE => list.first = other.first,
            last => self.next[usize::from(last)] = other.first,
        }
        list.last = other.last;
    }

    /// The numbers in order.
    pub fn iter(&self, list: &List) -> Numbers<'_, N> {
        Numbers { next: &self.next, at: list.first }
    }
}
