//! A case, as data.

use std::time::Duration;

use simulator::Rule;

use super::subject::Subject;

/// What is asked for, what is broken, and what callers may see of it.
#[derive(Debug)]
pub struct Case {
    /// Its name in the table.
    pub name: &'static str,
    /// What the provider does wrong.
    pub rules: fn(&Subject) -> Vec<Rule>,
    /// Words for the simulator in the text of the call of this number, and the status of its answer.
    pub words: fn(usize) -> (&'static str, u16),
    /// What callers get.
    pub due: Due,
    /// The batcher's `--max-requests`.
    pub max_requests: usize,
    /// The most lines that the provider takes, if they are to be fewer.
    pub max_lines: Option<usize>,
    /// Creations that reach the provider, refused ones too.
    pub creations: u64,
}

/// What callers get.
#[derive(Debug, Clone, Copy)]
pub enum Due {
    /// What the words of each ask for: its own answer, or the provider's error of that status.
    Each,
    /// So many their own answers, which ones is the provider's choice; all others this error.
    Rest {
        /// How many.
        own: usize,
        /// The error's status.
        status: u16,
        /// Its code, or a part of its message.
        says: &'static str,
    },
    /// Nothing: they leave when the job is there, and it must be cancelled within this time.
    Gone(Duration),
}
