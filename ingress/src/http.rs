//! From the socket to the door: accepts connections, tells what a call is, and answers it.

mod admin;
mod admit;
mod answer;
mod body;
mod conn;
mod credential;
mod front;
mod headers;
mod intern;
mod linger;
mod payload;
mod route;
mod server;
mod sniff;

pub use admin::Admin;
pub use front::{Front, FrontConfig};
pub use headers::{JOB, MODE, QUEUED_MS, RELAY_REASON, ROUTE, is_ours};
pub use payload::Payload;
pub(crate) use route::below_v1;
pub use route::{Route, route};
pub use server::{Answering, Handler, ServeLimits, serve};

#[cfg(test)]
mod tests;
