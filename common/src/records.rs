//! The stream of records in which an ingress hands out the bodies of a grant: for each request its id, the length of its
//! body (u32, big endian) and the body. It is cut into chunks that are pulled one by one.

use crate::ids::ID_LEN;

/// Bytes of the stream in one chunk, so that a sealed chunk stays well under the bus's limit of 1 MB.
pub const CHUNK: u64 = 256 * 1024;
/// What precedes each body, in bytes.
pub const RECORD_HEAD: usize = ID_LEN + 4;
