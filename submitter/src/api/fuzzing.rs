//! How answers of a provider are read, for fuzz targets.

use bytes::Bytes;
use http::HeaderMap;

use super::{Answer, ApiError, Credential, Kind};

/// Reads whatever any provider's answers can be; how many items were in them.
pub fn page(body: &[u8]) -> usize {
    let asked = providers::Call::get(["batches", "batch_1", "results"]);
    let read = |provider: &&dyn providers::Provider| {
        let jobs = provider.read_jobs(body, None).map_or(0, |page| page.items.len());
        let files = provider.read_files(body, None).map_or(0, |page| page.items.len());
        let one =
            usize::from(provider.read_job(body).is_ok()) + usize::from(provider.read_created(body).is_ok());
        let elements = provider.read_document(&asked, body).map_or(0, |part| part.elements.len());
        jobs + files + one + elements + usize::from(provider.is_missing_file(400, body))
    };
    providers::ALL.iter().map(read).sum()
}

/// An answer as it is kept.
pub fn answer(status: u16, headers: &HeaderMap, body: Bytes) -> Answer {
    Answer::new(status, headers, body)
}

/// What is logged about an answer to a caller with this credential.
pub fn reported(answer: &Answer, credential: &Credential) -> String {
    let error = ApiError::new("create batch", Kind::Rejected(answer.clone()), "", "id", credential);
    format!("{error} {}", error.is_retryable())
}
