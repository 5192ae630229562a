#![doc = include_str!("../README.md")]

mod args;
mod config;
mod core;
mod credential;
mod faults;
pub mod gemini;
mod http;
mod json;
mod ledger;
mod magic;
mod net;
pub mod openai;
mod rng;
mod shared;
mod simulator;
mod summary;

pub use args::Args;
pub use config::{Config, GeminiOutput};
pub use core::{Core, Millis};
pub use credential::{Credential, hex, sha256};
pub use faults::{BatchFaults, Decision, Ending, Fault, FaultSet, Faults, Instead, Op, Rule};
pub use ledger::{BilledTwice, Entry, Identity, Ledger, Mode};
pub use openai::{Counts, Status};
pub use simulator::{Handle, Simulator, run};
pub use summary::{BatchSummary, Billed, Summary};
