//! End to end tests over real processes, a real nats-server, real SDKs and the simulator.

pub mod calls;
pub mod chaos;
pub mod conformance;
pub mod deployment;
#[cfg(target_os = "linux")]
pub mod hostile;
pub mod markers;
mod meeting;
pub mod memory;
pub mod nats;
pub mod newlines;
pub mod processes;
pub mod raw;
pub mod traced;
pub mod villain;
pub mod wiretap;
