//! Whose call it is: the header lines that a provider authenticates.

use http::{HeaderMap, HeaderName, StatusCode, header};

use crate::dialect::Problem;
use crate::dialect::speech::{is_bearer, secret};

/// Azure's name for a key.
const API_KEY: HeaderName = HeaderName::from_static("api-key");
const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

/// The credential lines of OpenAI and of those who speak like it.
///
/// # Errors
/// A [`Problem`] with status 401 in OpenAI's words unless there is exactly one bearer token, or one `api-key` in its place.
pub(super) fn credential(headers: &HeaderMap) -> Result<HeaderMap, Problem> {
    let one = |name: &HeaderName| {
        let mut lines = headers.get_all(name).iter();
        (lines.next(), lines.next())
    };
    match (one(&header::AUTHORIZATION), one(&API_KEY)) {
        ((Some(token), None), (None, _)) if is_bearer(token.as_bytes()) => {}
        ((None, _), (Some(key), None)) if !key.as_bytes().trim_ascii().is_empty() => {}
        _ => return Err(missing()),
    }
    let mut lines = HeaderMap::with_capacity(3);
    for name in [header::AUTHORIZATION, API_KEY, ORGANIZATION, PROJECT] {
        if let Some(copy) = headers.get(&name).and_then(secret) {
            lines.insert(name, copy);
        }
    }
    Ok(lines)
}

fn missing() -> Problem {
    let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
    Problem::new(StatusCode::UNAUTHORIZED, message)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(n, v)| (HeaderName::from_static(n), v.parse().unwrap())).collect()
    }

    #[test]
    fn only_credential_lines_are_taken() {
        let all = headers(&[
            ("host", "h"),
            ("openai-project", "p"),
            ("authorization", "bearer sk-1"),
            ("cookie", "c"),
            ("openai-organization", "o"),
        ]);
        let taken = credential(&all).unwrap();
        assert_eq!(
            taken,
            headers(&[
                ("authorization", "bearer sk-1"),
                ("openai-organization", "o"),
                ("openai-project", "p")
            ])
        );
        assert!(taken.values().all(HeaderValue::is_sensitive));
    }

    #[test]
    fn a_key_may_stand_in_a_line_of_its_own() {
        let lines = [("api-key", "k")];
        assert_eq!(credential(&headers(&lines)).unwrap(), headers(&lines));
    }

    #[test]
    fn no_key() {
        for lines in [
            &[][..],
            &[("authorization", "")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer  ")],
            &[("authorization", "Basic YTpi")],
            &[("x-api-key", "k")],
            &[("api-key", " ")],
            &[("api-key", "k"), ("authorization", "Bearer a")],
        ] {
            assert_eq!(credential(&headers(lines)).unwrap_err().status, 401);
        }
        let mut twice = headers(&[("authorization", "Bearer a")]);
        twice.append("authorization", "Bearer b".parse().unwrap());
        assert_eq!(credential(&twice).unwrap_err().status, 401);
    }
}
