#![doc = include_str!("../README.md")]

pub mod anthropic;
mod args;
mod azure;
mod compatible;
mod config;
mod core;
mod credential;
mod faults;
pub mod gemini;
mod http;
mod json;
mod ledger;
mod magic;
mod mistral;
mod net;
pub mod openai;
mod openrouter;
mod plan;
mod rng;
mod shared;
mod simulator;
mod summary;
mod text;
mod together;
mod xai;

pub use args::Args;
pub use config::{Config, GeminiOutput};
pub use core::{Core, Millis};
pub use credential::{Credential, hex, sha256};
pub use faults::{BatchFaults, Decision, Ending, Fault, FaultSet, Faults, Instead, Op, Rule};
pub use ledger::{BilledTwice, Entry, Identity, Ledger, Mode};
pub use openai::{Counts, Status};
pub use simulator::{Handle, Simulator, run};
pub use summary::{BatchSummary, Billed, Summary};
