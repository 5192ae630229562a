//! The vocabulary, the protocol messages, the bus and the service runtime that all services share.

pub mod args;
pub mod bus;
pub mod drive;
pub mod ids;
pub mod key;
pub mod link;
pub mod members;
pub mod outcome;
pub mod pairing;
pub mod records;
pub mod redact;
pub mod seal;
pub mod service;
pub mod subjects;
pub mod timers;
pub mod wire;
pub mod world;
