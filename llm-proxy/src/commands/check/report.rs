//! A line for each check.

use std::fmt;

use crate::screen::say;

/// Prints results as they come and counts failures.
#[derive(Debug, Default)]
pub(crate) struct Report {
    failures: usize,
}

impl Report {
    /// A check went well.
    pub(crate) fn ok(&mut self, what: &str, how: impl fmt::Display) {
        say(format_args!("{what}: ok ({how})"));
    }

    /// A check failed.
    pub(crate) fn failed(&mut self, what: &str, why: impl fmt::Display) {
        self.failures += 1;
        say(format_args!("{what}: failed: {why}"));
    }

    /// A check was not made, which is no failure.
    pub(crate) fn skipped(&mut self, what: &str, why: impl fmt::Display) {
        say(format_args!("{what}: skipped ({why})"));
    }

    /// How many checks failed.
    pub(crate) fn failures(&self) -> usize {
        self.failures
    }
}
