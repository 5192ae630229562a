//! Google's dialect: the Gemini API. The model and what is to be done stand in the path, the key in a header or in the
//! query, and a stream is another method, as events or as one JSON array.

mod credential;
mod error;
mod path;
mod peek;
mod query;
mod speech;
mod stream;

use crate::dialect::json;
pub use credential::credential;
pub use error::render;
pub use path::{Action, model_of};
pub use peek::{Peek, peek};
pub use query::rest;
pub(crate) use speech::Gemini;
pub use stream::{Events, Form, wants_padding};
