//! What every bus keeps, held against each of them: the cases of `contract`, and for NATS those of `recovery` too.

mod contract;
#[allow(dead_code, unreachable_pub, reason = "it is a public module of another crate, not all used here")]
#[path = "../../../tests/src/nats.rs"]
mod nats_server;
mod recovery;
mod support;
mod throughput;
