//! Our own header lines.

use std::time::Duration;

use common::args::parse_duration;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::dialect::Problem;
use crate::plan::{Plan, Ways};

/// Request: how the caller wants its answer made.
pub const MODE: HeaderName = HeaderName::from_static("x-llm-proxy-mode");
/// Request: how long after its arrival its batch is given up, as `10m`.
pub const DEADLINE: HeaderName = HeaderName::from_static("x-llm-proxy-deadline");
/// Response: how the answer was made: `batch`, `flex`, `sync` or `relay`.
pub const ROUTE: HeaderName = HeaderName::from_static("x-llm-proxy-route");
/// Response: why a call of a batchable endpoint was not batched.
pub const RELAY_REASON: HeaderName = HeaderName::from_static("x-llm-proxy-relay-reason");
/// Response: the provider's job that answered.
pub const JOB: HeaderName = HeaderName::from_static("x-llm-proxy-job");
/// Response: milliseconds from arrival to the sealing of the request's batch.
pub const QUEUED_MS: HeaderName = HeaderName::from_static("x-llm-proxy-queued-ms");

/// Whether a header line speaks to or of us. Those of a request never reach a provider.
pub fn is_ours(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-llm-proxy-")
}

/// What a call says about its way; `None` where it is to be made at once and as it is.
///
/// # Errors
/// A [`Problem`] with 400 for a mode or a deadline that is none.
pub(super) fn plan(headers: &HeaderMap, deadline: Option<Duration>) -> Result<Option<Plan>, Problem> {
    let bad = |message: &str, code: &str| Problem::new(StatusCode::BAD_REQUEST, message).code(code);
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or_default().trim());
    let ways = match text(&MODE) {
        None | Some("auto") => Ways::Any,
        Some("batch") => Ways::Batch,
        Some("flex") => Ways::Alone,
        Some("sync") => return Ok(None),
        Some(_) => return Err(bad("x-llm-proxy-mode must be auto, batch, flex or sync", "invalid_mode")),
    };
    let deadline = match text(&DEADLINE) {
        None => deadline,
        Some("off") => None,
        Some(text) => Some(parse_duration(text).map_err(|why| {
            bad(&format!("x-llm-proxy-deadline must be a duration as 10m, or off: {why}"), "invalid_deadline")
        })?),
    };
    Ok(Some(Plan { ways, deadline, flex: false }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &HeaderName, value: &str) -> Result<Option<Plan>, Problem> {
        let headers = HeaderMap::from_iter([(name.clone(), value.parse().unwrap())]);
        plan(&headers, Some(Duration::from_secs(9)))
    }

    #[test]
    fn modes() {
        let ways = |value: &str| read(&MODE, value).map(|plan| plan.map(|plan| plan.ways));
        assert_eq!(plan(&HeaderMap::new(), None), Ok(Some(Plan::default())));
        assert_eq!((ways("auto"), ways("batch")), (Ok(Some(Ways::Any)), Ok(Some(Ways::Batch))));
        assert_eq!((ways("flex"), ways(" sync")), (Ok(Some(Ways::Alone)), Ok(None)));
        assert_eq!(ways("fast").unwrap_err().status, 400);
    }

    #[test]
    fn deadlines() {
        let deadline = |value: &str| read(&DEADLINE, value).map(|plan| plan.and_then(|plan| plan.deadline));
        assert_eq!(deadline("10m"), Ok(Some(Duration::from_secs(600))));
        assert_eq!((deadline("off"), deadline("0s")), (Ok(None), Ok(Some(Duration::ZERO))));
        assert_eq!(read(&MODE, "auto").unwrap().unwrap().deadline, Some(Duration::from_secs(9)));
        for bad in ["", "soon", "-1s", "10"] {
            assert_eq!(deadline(bad).map_err(|problem| problem.status.as_u16()), Err(400), "{bad}");
        }
    }
}
