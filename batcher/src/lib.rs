//! Groups announced requests by their batch key and offers sealed batches to the submitters.
//!
//! A batcher sees ids, sizes and keys, never a body or a credential, and it promises nothing: what it held when it
//! died is announced again by the ingresses, to another batcher.

mod args;
pub mod core;
mod shell;

pub use args::Args;
pub use shell::run;
