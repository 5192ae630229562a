//! Small sets of small numbers.

/// A set of numbers below 8: files, requests or ingresses.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Set(u8);

impl Set {
    /// The set of one.
    pub fn of(one: u8) -> Self {
        Self(1 << one)
    }

    /// The empty set.
    pub fn empty() -> Self {
        Self(0)
    }

    /// Whether there is nothing in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many there are.
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether this one is in it.
    pub fn has(self, one: u8) -> bool {
        self.0 & (1 << one) != 0
    }

    /// With this one.
    pub fn with(self, one: u8) -> Self {
        Self(self.0 | (1 << one))
    }

    /// Without this one.
    pub fn without(self, one: u8) -> Self {
        Self(self.0 & !(1 << one))
    }

    /// What is in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What is in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// What is in this one alone.
    pub fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The numbers, ascending.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |one| self.has(*one))
    }
}

impl FromIterator<u8> for Set {
    fn from_iter<I: IntoIterator<Item = u8>>(numbers: I) -> Self {
        numbers.into_iter().fold(Self::empty(), Self::with)
    }
}

impl std::fmt::Debug for Set {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
