//! The same cases for every provider, end to end through a deployment in this process, and a table of what came of them.
//!
//! A provider is one entry in [`SUBJECTS`], a case one in [`CASES`]. Where a case means something else to a provider, or nothing,
//! the entry of the provider says why, and the table repeats it.

mod answer;
mod case;
mod cases;
mod cell;
mod subject;
mod subjects;
mod table;

pub use case::{Case, Due};
pub use cases::CASES;
pub use subject::{Subject, Unlike};
pub use subjects::SUBJECTS;
pub use table::{Table, run};

/// Calls of every cell, all of one batch key.
pub const CALLS: usize = 30;
