//! Our own header lines.

use http::{HeaderMap, HeaderName, StatusCode};

use crate::dialect::Problem;

/// Request: how the caller wants its answer made.
pub const MODE: HeaderName = HeaderName::from_static("x-llm-proxy-mode");
/// Response: how the answer was made: `batch`, `flex`, `sync` or `relay`.
pub const ROUTE: HeaderName = HeaderName::from_static("x-llm-proxy-route");
/// Response: why a call of a batchable endpoint was relayed.
pub const RELAY_REASON: HeaderName = HeaderName::from_static("x-llm-proxy-relay-reason");
/// Response: the provider's job that answered.
pub const JOB: HeaderName = HeaderName::from_static("x-llm-proxy-job");
/// Response: milliseconds from arrival to the sealing of the request's batch.
pub const QUEUED_MS: HeaderName = HeaderName::from_static("x-llm-proxy-queued-ms");

/// Whether a header line speaks to or of us. Those of a request never reach a provider.
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-llm-proxy-")
}

/// Values of [`MODE`] that are served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// By batch where that is possible; `auto` and `batch`.
    Batch,
    /// At once, at the provider's full price.
    Sync,
}

/// Reads [`MODE`]; without one it is [`Mode::Batch`].
pub(super) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let Some(value) = headers.get(MODE) else { return Ok(Mode::Batch) };
    let bad = |message: &str| Err(Problem::new(StatusCode::BAD_REQUEST, message).code("invalid_mode"));
    match value.to_str().unwrap_or_default().trim() {
        "auto" | "batch" => Ok(Mode::Batch),
        "sync" => Ok(Mode::Sync),
        "flex" => bad("x-llm-proxy-mode: flex is not available yet; use auto, batch or sync"),
        _ => bad("x-llm-proxy-mode must be auto, batch or sync"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes() {
        let read = |value: &str| mode(&HeaderMap::from_iter([(MODE, value.parse().unwrap())]));
        assert_eq!(mode(&HeaderMap::new()), Ok(Mode::Batch));
        assert_eq!(
            (read("auto"), read("batch"), read(" sync")),
            (Ok(Mode::Batch), Ok(Mode::Batch), Ok(Mode::Sync))
        );
        assert!(read("flex").unwrap_err().message.contains("not available yet"));
        assert_eq!(read("fast").unwrap_err().status, 400);
    }
}
