//! How long a caller waits in silence, as far as its request tells, and what follows from it.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName, Version, header};

/// An answer is begun after this time, or after a third of a shorter patience: quick failures keep their status, and
/// Heroku, the strictest of the common intermediaries, waits 30 s for a first byte.
const BEGIN: Duration = Duration::from_secs(25);
/// Between two signs of life: below the idle limits of common intermediaries (55, 60, 100 s) and of SDKs (300, 600 s).
const BEAT: Duration = Duration::from_secs(15);
/// Whatever a caller says of its patience, signs of life are not given more often.
const BEAT_MIN: Duration = Duration::from_millis(200);
/// What `httpx` waits in silence where a program has not said otherwise is 5 s (httpx documentation, timeouts).
const HTTPX: Duration = Duration::from_secs(6);
/// From this version on the SDK of OpenAI for Node cuts a call that is not streamed after its whole timeout, whatever
/// comes meanwhile (found by trying its releases).
const NODE_TOTAL_SINCE: (u32, u32) = (7, 5);
/// Who has set a timeout of so much needs no help.
const LONG_ENOUGH: Duration = Duration::from_secs(900);
/// That timeout, where a program has not said otherwise. A program may also have set it on its client, which the SDK does not
/// tell: such a call is kept waiting as any other, and only its last attempt is told what to change.
const NODE_TIMEOUT: Duration = Duration::from_secs(600);
/// How much earlier it is asked back, at least: a twentieth of its timeout otherwise.
const NODE_MARGIN: Duration = Duration::from_millis(500);
/// Node's HTTP client gives up after 300 s without a status; an interim response counts as a sign of life.
const NODE_SILENCE: Duration = Duration::from_secs(280);
/// Attempts of that SDK where a program has not said otherwise: the last has this number in `x-stainless-retry-count`.
const NODE_LAST_RETRY: u32 = 2;

/// Callers that are known to take interim responses and to wait on with each.
const TAKES_PROCESSING: [&str; 10] = [
    "OpenAI/Python",
    "AsyncOpenAI/Python",
    "Anthropic/Python",
    "AsyncAnthropic/Python",
    "langchain-anthropic",
    "litellm",
    "mistral-client-python",
    "google-genai-sdk",
    "ai/",
    "curl/",
];
/// What an intermediary adds to a request that it hands on.
const HANDED_ON: [&str; 5] = ["via", "forwarded", "x-forwarded-for", "x-forwarded-proto", "x-real-ip"];

const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");

/// How a caller is kept waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Patience {
    /// How long the status stays open; `None` is as long as it takes.
    pub(super) open: Option<Duration>,
    /// Time between two signs of life.
    pub(super) beat: Duration,
    /// Whether signs of life are interim responses while the status is open.
    pub(super) processing: bool,
    /// What happens when the status cannot stay open any longer.
    pub(super) then: Then,
    /// Whether the caller gives up after a fixed time that may be too short.
    pub(super) is_short: bool,
}

/// What happens to a call whose status cannot stay open any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Then {
    /// Its answer begins.
    Begin,
    /// It is asked to come back, which takes up the same request.
    ComeBack,
    /// It would not come back: it is told what to change.
    Explain,
}

impl Patience {
    /// What the head of a request tells. With `hold_status` the status stays open where that is safe.
    pub(super) fn of(head: &Parts, streamed: bool, hold_status: bool) -> Self {
        let agent = head.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or("");
        let told = told(&head.headers);
        let patience = told.or(agent.starts_with("python-httpx/").then_some(HTTPX));
        let third = |most: Duration| patience.map_or(most, |p| most.min(p / 3)).max(BEAT_MIN);
        let beat = third(BEAT);
        let direct = head.version == Version::HTTP_11
            && HANDED_ON.iter().all(|name| !head.headers.contains_key(*name));
        let last = retry_count(&head.headers) >= NODE_LAST_RETRY;
        let is_short = !streamed && is_node_with_total(agent) && told.is_none_or(|total| total < LONG_ENOUGH);
        if is_short && (told.is_some() || last) {
            let processing = hold_status && direct;
            let total = told.unwrap_or(NODE_TIMEOUT);
            let in_time = total - (total / 20).max(NODE_MARGIN).min(total / 2);
            let open = if processing { in_time } else { in_time.min(NODE_SILENCE) };
            let then = if last { Then::Explain } else { Then::ComeBack };
            return Self { open: Some(open), beat, processing, then, is_short };
        }
        let processing =
            hold_status && direct && TAKES_PROCESSING.iter().any(|known| agent.starts_with(known));
        Self { open: (!processing).then(|| third(BEGIN)), beat, processing, then: Then::Begin, is_short }
    }
}

/// The time without a byte, or altogether, after which the caller gives up, where it says so (seconds).
fn told(headers: &HeaderMap) -> Option<Duration> {
    ["x-stainless-read-timeout", "x-stainless-timeout", "x-server-timeout"]
        .iter()
        .filter_map(|name| headers.get(*name)?.to_str().ok()?.trim().parse::<f64>().ok())
        .filter(|seconds| *seconds > 0.0)
        .filter_map(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .min()
}

/// How often the caller has sent this before, as it says.
pub(super) fn retry_count(headers: &HeaderMap) -> u32 {
    headers.get(RETRY_COUNT).and_then(|value| value.to_str().ok()?.trim().parse().ok()).unwrap_or(0)
}

/// Whether a user agent is OpenAI's SDK for Node in a version with a limit that signs of life do not move.
fn is_node_with_total(agent: &str) -> bool {
    let version = || {
        let mut numbers = agent.strip_prefix("OpenAI/JS ")?.split('.').map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    version().is_some_and(|version| version >= NODE_TOTAL_SINCE)
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn of(lines: &[(&str, &str)], streamed: bool, hold_status: bool) -> Patience {
        let mut request = Request::post("/");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        Patience::of(&request.body(()).unwrap().into_parts().0, streamed, hold_status)
    }

    fn begin_and_beat(lines: &[(&str, &str)]) -> (u128, u128) {
        let Patience { open, beat, processing: false, then: Then::Begin, .. } = of(lines, false, false)
        else {
            panic!("{lines:?}")
        };
        (open.unwrap().as_millis(), beat.as_millis())
    }

    #[test]
    fn answers_begin_late_and_signs_of_life_follow_what_the_caller_says() {
        assert_eq!(begin_and_beat(&[]), (25_000, 15_000));
        for said in ["600", "NOT_GIVEN", "", "-3", "0", "nan", "inf", "1e300", "x"] {
            assert_eq!(begin_and_beat(&[("x-stainless-read-timeout", said)]), (25_000, 15_000), "{said}");
        }
        assert_eq!(begin_and_beat(&[("x-stainless-read-timeout", "60")]), (20_000, 15_000));
        assert_eq!(begin_and_beat(&[("x-stainless-read-timeout", "3.0")]), (1_000, 1_000));
        assert_eq!(
            begin_and_beat(&[("X-Stainless-Timeout", "30"), ("X-Server-Timeout", "9")]),
            (3_000, 3_000)
        );
        assert_eq!(begin_and_beat(&[("x-server-timeout", "0.001")]), (200, 200));
        assert_eq!(begin_and_beat(&[("user-agent", "python-httpx/0.28.1")]), (2_000, 2_000));
    }

    #[test]
    fn the_status_stays_open_only_for_callers_known_to_be_direct_and_able() {
        let open = |lines: &[(&str, &str)]| of(lines, false, true).open.is_none();
        let python = ("user-agent", "OpenAI/Python 3.54.0");
        assert!(open(&[python]));
        assert!(open(&[("user-agent", "curl/8.5.0")]));
        assert!(!open(&[python, ("via", "1.1 proxy")]));
        assert!(!open(&[python, ("x-forwarded-for", "10.0.0.1")]));
        for agent in ["python-requests/2.34.2", "Go-http-client/1.1", "OpenAI/JS 6.49.0", "", "node"] {
            assert!(!open(&[("user-agent", agent)]), "{agent}");
        }
        assert!(of(&[python], false, false).open.is_some(), "only on request");
    }

    #[test]
    fn a_node_sdk_with_a_total_limit_is_asked_back_in_time() {
        let node = ("user-agent", "OpenAI/JS 7.57.0");
        let seconds = |lines: &[(&str, &str)], hold| of(lines, false, hold).open.unwrap().as_secs_f64();
        let (told, last) = (("x-stainless-timeout", "100"), ("x-stainless-retry-count", "2"));
        assert_eq!(of(&[node], false, false).then, Then::Begin, "its limit may be a long one");
        assert_eq!(of(&[node, ("x-stainless-timeout", "86400")], false, false).then, Then::Begin);
        assert_eq!(of(&[node, told], false, false).then, Then::ComeBack);
        assert_eq!(of(&[node, told, ("x-stainless-retry-count", "1")], false, false).then, Then::ComeBack);
        assert_eq!(of(&[node, told, last], false, false).then, Then::Explain);
        assert_eq!(of(&[node, last], false, false).then, Then::Explain);
        assert_eq!(seconds(&[node, last], false), 280.0);
        assert_eq!(seconds(&[node, last], true), 570.0);
        assert_eq!(seconds(&[node, ("x-stainless-timeout", "600")], false), 280.0);
        assert_eq!(seconds(&[node, ("x-stainless-timeout", "600")], true), 570.0);
        assert_eq!(seconds(&[node, ("x-stainless-timeout", "100")], false), 95.0);
        assert_eq!(seconds(&[node, ("x-stainless-timeout", "3")], false), 2.5);
        assert_eq!(seconds(&[node, ("x-stainless-timeout", "0.4")], false), 0.2);
        assert_eq!(of(&[node], true, false).then, Then::Begin, "a stream has no such limit");
        for agent in ["OpenAI/JS 7.4.0", "OpenAI/JS 6.49.0", "OpenAI/JS x", "OpenAI/JS 7"] {
            assert_eq!(of(&[("user-agent", agent)], false, false).then, Then::Begin, "{agent}");
        }
        assert_eq!(of(&[("user-agent", "OpenAI/JS 10.0.0-beta.1"), last], false, false).then, Then::Explain);
    }
}
