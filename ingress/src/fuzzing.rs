//! What fuzz targets call that nobody else may: how messages and calls are read.

pub use crate::http::fuzzing::Door;
pub use crate::shell::{Opener, addressed, handed_over};
