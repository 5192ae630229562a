//! Whose call it is: the header lines that a provider authenticates.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::dialect::Problem;

const ORGANIZATION: HeaderName = HeaderName::from_static("openai-organization");
const PROJECT: HeaderName = HeaderName::from_static("openai-project");

/// Copies OpenAI's credential lines, marked sensitive. The copies stand alone: a value as received would keep its
/// whole read buffer in memory.
///
/// # Errors
/// A [`Problem`] with status 401 in OpenAI's words unless there is exactly one bearer token.
pub(super) fn openai(headers: &HeaderMap) -> Result<HeaderMap, Problem> {
    let mut authorization = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (authorization.next(), authorization.next()) else { return Err(missing()) };
    if !is_bearer(value.as_bytes()) {
        return Err(missing());
    }
    let mut lines = HeaderMap::with_capacity(3);
    for name in [header::AUTHORIZATION, ORGANIZATION, PROJECT] {
        if let Some(mut copy) =
            headers.get(&name).and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok())
        {
            copy.set_sensitive(true);
            lines.insert(name, copy);
        }
    }
    Ok(lines)
}

fn is_bearer(value: &[u8]) -> bool {
    match value.split_at_checked(b"bearer ".len()) {
        Some((scheme, token)) => scheme.eq_ignore_ascii_case(b"bearer ") && !token.trim_ascii().is_empty(),
        None => false,
    }
}

fn missing() -> Problem {
    let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
    Problem::new(StatusCode::UNAUTHORIZED, message)
}

#[cfg(test)]
mod tests {
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
        let taken = openai(&all).unwrap();
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
    fn no_key() {
        for lines in [
            &[][..],
            &[("authorization", "")],
            &[("authorization", "Bearer")],
            &[("authorization", "Bearer  ")],
            &[("authorization", "Basic YTpi")],
            &[("x-api-key", "k")],
        ] {
            assert_eq!(openai(&headers(lines)).unwrap_err().status, 401);
        }
        let mut twice = headers(&[("authorization", "Bearer a")]);
        twice.append("authorization", "Bearer b".parse().unwrap());
        assert_eq!(openai(&twice).unwrap_err().status, 401);
    }
}
