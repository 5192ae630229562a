//! Who may have more of what all share.

use std::collections::HashMap;
use std::hash::Hash;

/// What one user may have for each part that is still free. Alone it can have seven eighths of the whole; whatever some
/// users have, there is something left for another; and what they have evens out as it is used up and given back (dynamic
/// thresholds: Choudhury and Hahne, 1998).
const GREED: u64 = 7;

/// An amount of something that is counted and has a size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// How many.
    pub count: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Amount {
    fn plus(self, more: Self) -> Self {
        Self { count: self.count.saturating_add(more.count), bytes: self.bytes.saturating_add(more.bytes) }
    }

    fn minus(self, less: Self) -> Self {
        Self { count: self.count.saturating_sub(less.count), bytes: self.bytes.saturating_sub(less.bytes) }
    }
}

/// What may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// By all together.
    pub most: Amount,
    /// By one user, counted.
    pub most_each: usize,
}

impl Bounds {
    fn widened(self, times: usize) -> Self {
        let count = self.most.count.saturating_mul(times);
        Self { most: Amount { count, ..self.most }, most_each: self.most_each.saturating_mul(times) }
    }
}

/// Why something is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// There is no more.
    Full,
    /// This user has as many as one user may have at all.
    Most,
    /// This user has its share, and what is left is for those who have less.
    Share,
}

/// Who has what. As large as the number of users that have something.
#[derive(Debug)]
pub(crate) struct Fair<K> {
    bounds: Bounds,
    used: Amount,
    users: HashMap<K, Amount>,
}

impl<K: Copy + Eq + Hash> Fair<K> {
    pub(crate) fn new(bounds: Bounds) -> Self {
        Self { bounds, used: Amount::default(), users: HashMap::new() }
    }

    /// What all users have.
    pub(crate) fn used(&self) -> Amount {
        self.used
    }

    /// Gives a user some more, or nothing. Bounds of counts are `widened` so many times for it. Whoever has less in both
    /// respects is not refused what another is given.
    pub(crate) fn take(&mut self, user: K, more: Amount, widened: usize) -> Result<(), Refused> {
        let own = self.users.get(&user).copied().unwrap_or_default();
        let Bounds { most, most_each } = self.bounds.widened(widened);
        let after = self.used.plus(more);
        if after.count > most.count || after.bytes > most.bytes {
            return Err(Refused::Full);
        }
        if own.count.saturating_add(more.count) > most_each {
            return Err(Refused::Most);
        }
        let free = most.minus(self.used);
        if own.count as u64 > (free.count as u64).saturating_mul(GREED)
            || own.bytes > free.bytes.saturating_mul(GREED)
        {
            return Err(Refused::Share);
        }
        self.used = after;
        self.users.insert(user, own.plus(more));
        Ok(())
    }

    /// Takes back what was given.
    pub(crate) fn give_back(&mut self, user: K, less: Amount) {
        self.used = self.used.minus(less);
        let left = self.users.get(&user).copied().unwrap_or_default().minus(less);
        if left == Amount::default() {
            self.users.remove(&user);
        } else {
            self.users.insert(user, left);
        }
    }
}

#[cfg(test)]
mod tests;
