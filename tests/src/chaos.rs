//! Real processes killed, paused and cut off at every point at which that could lose a request or pay for it twice.
//!
//! [`rows`] is the table of crash points, each hit on purpose; [`rounds`] kills at random under load. The provider is
//! the simulator in this process, so that what was paid for is counted and the moment of each call is seen.

mod bills;
mod client;
mod forwarder;
mod report;
pub mod rounds;
pub mod rows;
mod spy;
mod stage;

pub use report::{Outcome, Row, Verdict, table};
pub use stage::{Setup, Stage};
