//! What happens when, in virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use common::timers::Now;

/// Events in the order of their moments; at one moment, in the order in which they were planned.
pub(crate) struct Queue<T> {
    heap: BinaryHeap<Planned<T>>,
    count: u64,
}

struct Planned<T> {
    at: Now,
    number: u64,
    what: T,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), count: 0 }
    }

    pub(crate) fn plan(&mut self, at: Now, what: T) {
        self.count += 1;
        self.heap.push(Planned { at, number: self.count, what });
    }

    pub(crate) fn next_at(&self) -> Option<Now> {
        self.heap.peek().map(|planned| planned.at)
    }

    pub(crate) fn take(&mut self) -> Option<(Now, T)> {
        self.heap.pop().map(|planned| (planned.at, planned.what))
    }
}

impl<T> Ord for Planned<T> {
    /// The heap gives its greatest: the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Planned<T> {}
