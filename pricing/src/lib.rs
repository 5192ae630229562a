//! What an answer used and what it cost.
//!
//! [`Answer::read`] and [`StreamUsage`] take the counts of tokens out of an answer's bytes, [`Table`] knows what a model costs,
//! and [`Table::cost`] puts the two together: what the call would have cost alone and what it did cost. Nothing is estimated:
//! what cannot be told is `None`.
//!
//! Prices and sums are whole numbers of 1e-18 US dollars ([`Usd`]), so that sums are exact. They cover tokens and images, not
//! what providers charge for each search or other tool besides. Discounts that were agreed upon, and regions that cost more
//! but for Anthropic's, are not told by an answer either.
//!
//! The prices of `prices.csv` are made by `scripts/prices.py` from the list of the litellm project (MIT licence, see
//! `LICENSE-litellm`); [`Overrides`] go before them.

mod answer;
mod cost;
mod json;
mod kind;
mod overrides;
mod stream;
mod table;
mod tier;
mod usage;
mod usd;

pub use answer::{Answer, Dialect};
pub use cost::{Call, Cost};
pub use kind::Kind;
pub use overrides::Overrides;
pub use stream::StreamUsage;
pub use table::{BadTable, Prices, Table};
pub use tier::Tier;
pub use usage::Usage;
pub use usd::Usd;
