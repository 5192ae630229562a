//! From the socket to the door: accepts connections, tells what a call is, and answers it.

mod admin;
mod admit;
pub(crate) mod alone;
mod answer;
mod body;
mod conn;
mod front;
#[cfg(feature = "fuzzing")]
pub(crate) mod fuzzing;
mod headers;
mod intern;
mod keep;
mod linger;
mod meter;
mod patience;
mod payload;
mod route;
mod server;
mod sniff;
mod socket;
mod strict;
mod tls;
mod waiting;

pub(crate) use admin::{CSV, JSON};
pub use alone::Soloist;
pub use front::{Front, FrontConfig};
pub(crate) use headers::is_ours;
pub(crate) use meter::MOST as MOST_METERED;
pub use payload::Payload;
pub(crate) use route::Place;
pub use server::{ServeLimits, listen, serve};
pub use tls::Certificate;

#[cfg(test)]
mod tests;
