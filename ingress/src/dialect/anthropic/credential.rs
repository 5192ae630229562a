//! Whose call it is: the header lines that Anthropic authenticates.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::dialect::Problem;
use crate::dialect::speech::{is_bearer, secret};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The line with the key or the token, as it came: older SDKs send `x-api-key`, those of 2026 a bearer token.
///
/// # Errors
/// A [`Problem`] with status 401 unless there is exactly one of the two. Empty lines do not count.
pub(super) fn credential(headers: &HeaderMap) -> Result<HeaderMap, Problem> {
    let given = |name: HeaderName| {
        let lines = headers.get_all(&name).iter().filter(|value| !value.as_bytes().trim_ascii().is_empty());
        lines.map(|value| (name.clone(), value)).collect::<Vec<(HeaderName, &HeaderValue)>>()
    };
    let lines = [given(API_KEY), given(header::AUTHORIZATION)].concat();
    let [(name, value)] = lines.as_slice() else {
        return Err(denied(if lines.is_empty() { MISSING } else { SEVERAL }));
    };
    if *name == header::AUTHORIZATION && !is_bearer(value.as_bytes()) {
        return Err(denied(NO_BEARER));
    }
    Ok(secret(value).map(|value| (name.clone(), value)).into_iter().collect())
}

/// As Anthropic answers, seen in reports of users.
const MISSING: &str = "x-api-key header is required";
const NO_BEARER: &str = "Invalid bearer token";
const SEVERAL: &str =
    "Give one credential: an x-api-key header, or an Authorization header with a bearer token.";

fn denied(message: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_or_a_token_is_taken_alone() {
        for line in [("x-api-key", "sk-ant-1"), ("authorization", "Bearer sk-ant-1")] {
            let empty = if line.0 == "x-api-key" { ("authorization", "") } else { ("x-api-key", " ") };
            for lines in [&[line][..], &[("cookie", "c"), line, ("anthropic-version", "v")], &[empty, line]] {
                let taken = credential(&headers(lines)).unwrap();
                assert_eq!(taken, headers(&[line]));
                assert!(taken.values().all(HeaderValue::is_sensitive));
            }
        }
    }

    #[test]
    fn none_or_several_are_refused() {
        let key = ("x-api-key", "k");
        for (lines, why) in [
            (&[][..], MISSING),
            (&[("x-api-key", "")], MISSING),
            (&[("api-key", "k")], MISSING),
            (&[("authorization", "Basic YTpi")], NO_BEARER),
            (&[("authorization", "Bearer")], NO_BEARER),
            (&[key, key], SEVERAL),
            (&[key, ("authorization", "Bearer k")], SEVERAL),
        ] {
            let problem = credential(&headers(lines)).unwrap_err();
            assert_eq!((problem.status.as_u16(), problem.message.as_str()), (401, why), "{lines:?}");
        }
    }
}
