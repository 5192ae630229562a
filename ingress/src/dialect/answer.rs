//! What error answers of ours have in common in every dialect.

use common::ids::Rid;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::Problem;

/// A wait in milliseconds, which SDKs prefer to `retry-after`.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");
/// Tells OpenAI's and Anthropic's SDKs whether to try again by themselves (their sources).
pub(crate) const X_SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// A name for an answer of ours. It begins with `llmp_`, so that nobody looks for it at the provider.
pub(super) fn request_id() -> String {
    format!("llmp_{}", Rid::random())
}

/// The header lines of an answer with this id under the name that the provider has for it.
pub(super) fn headers(problem: &Problem, name: HeaderName, id: &str) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Ok(id) = HeaderValue::try_from(id) {
        headers.insert(name, id);
    }
    if let Some(after) = problem.retry_after {
        // Whole seconds, rounded up: a caller that comes back early only waits again.
        let seconds = u64::try_from(after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        if after.subsec_nanos() > 0 {
            let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
            headers.insert(RETRY_AFTER_MS, HeaderValue::from(millis));
        }
    }
    if let Some(should) = problem.should_retry {
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static(if should { "true" } else { "false" }));
    }
    headers
}
