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
/// Request: what the caller calls this and other requests, for sums of what they cost.
pub const TAG: HeaderName = HeaderName::from_static("x-llm-proxy-tag");
/// Response: tokens of the prompt.
pub const INPUT_TOKENS: HeaderName = HeaderName::from_static("x-llm-proxy-input-tokens");
/// Response: tokens of the answer.
pub const OUTPUT_TOKENS: HeaderName = HeaderName::from_static("x-llm-proxy-output-tokens");
/// Response: what the answer cost, in US dollars.
pub const COST: HeaderName = HeaderName::from_static("x-llm-proxy-cost-usd");
/// Response: how much less than at the full price.
pub const SAVED: HeaderName = HeaderName::from_static("x-llm-proxy-saved-usd");
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
    Ok(Some(Plan { ways, deadline, ..Plan::default() }))
}

/// Characters of a tag, at most.
const LONGEST_TAG: usize = 64;

/// What a call says in [`TAG`].
///
/// # Errors
/// A [`Problem`] with 400 for one that is too long or has anything but visible ASCII characters and spaces.
pub(super) fn tag(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let Some(value) = headers.get(TAG) else { return Ok(None) };
    match value.to_str().map(str::trim) {
        Ok("") => Ok(None),
        Ok(tag) if tag.len() <= LONGEST_TAG => Ok(Some(tag)),
        _ => {
            let message = format!("x-llm-proxy-tag must be at most {LONGEST_TAG} visible ASCII characters");
            Err(Problem::new(StatusCode::BAD_REQUEST, message).code("invalid_tag"))
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

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

    #[test]
    fn tags() {
        let read = |value: &'static str| {
            let headers = HeaderMap::from_iter([(TAG, HeaderValue::from_static(value))]);
            tag(&headers).map(|tag| tag.map(str::to_owned)).map_err(|problem| problem.status.as_u16())
        };
        assert_eq!(tag(&HeaderMap::new()), Ok(None));
        assert_eq!((read(" nightly run "), read("")), (Ok(Some("nightly run".into())), Ok(None)));
        assert_eq!(
            read(concat!("0123456789012345678901234567890123456789", "0123456789012345678901234")),
            Err(400)
        );
    }
}
