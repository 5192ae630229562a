//! How answers of a provider are read, for fuzz targets.

use bytes::Bytes;
use http::HeaderMap;

use super::batch::Page;
use super::{Answer, ApiError, BatchObject, Credential, FileObject, Kind};

/// Reads pages of both kinds; how many items they have.
pub fn page(body: &[u8]) -> usize {
    let batches = Page::<BatchObject>::parse(body, 100).map_or(0, |page| page.items.len());
    batches + Page::<FileObject>::parse(body, 100).map_or(0, |page| page.items.len())
}

/// An answer as it is kept.
pub fn answer(status: u16, headers: &HeaderMap, body: Bytes) -> Answer {
    Answer::new(status, headers, body)
}

/// What is logged about an answer to a caller with this credential.
pub fn reported(answer: &Answer, credential: &Credential) -> String {
    let error = ApiError::new("create batch", Kind::Rejected(answer.clone()), "", "id", credential);
    format!("{error} {} {}", error.is_retryable(), error.is_file_not_visible_yet())
}
