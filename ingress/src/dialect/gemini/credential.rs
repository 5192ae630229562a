//! Whose call it is: the key or token that Google authenticates, wherever the caller put it.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::query::Query;
use crate::dialect::Problem;

const KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// The project that an OAuth call is charged to.
const PROJECT: HeaderName = HeaderName::from_static("x-goog-user-project");

/// The lines that a call is authenticated with, marked sensitive, and what of the query is left without them and without
/// what we honour ourselves; see [`rest`](super::rest).
///
/// There is one `x-goog-api-key` line, even if the key came as `?key=`, or one `authorization` line with a bearer token. A key
/// that is given several times counts once.
///
/// # Errors
/// A [`Problem`] in Google's words: 403 without any credential, 401 for a key beside a token or for an authorization that
/// is no bearer token, 400 for several keys or one that can be none.
pub fn credential(headers: &HeaderMap, query: Option<&str>) -> Result<(HeaderMap, Option<String>), Problem> {
    let query = Query::read(query);
    let given = headers.get_all(KEY).iter().map(HeaderValue::as_bytes);
    let keys = given.chain(query.keys.iter().map(|key| &**key)).map(<[u8]>::trim_ascii);
    let mut keys = keys.filter(|key| !key.is_empty());
    let key = keys.next();
    if key.is_some_and(|key| keys.any(|other| other != key)) {
        return Err(Problem::invalid(SEVERAL));
    }
    let mut lines = HeaderMap::with_capacity(2);
    match (key, token(headers)?) {
        (None, None) => return Err(Problem::new(StatusCode::FORBIDDEN, MISSING)),
        (Some(_), Some(_)) => return Err(unauthenticated(OVERLOADED)),
        (Some(key), None) => insert(&mut lines, KEY, key)?,
        (None, Some(token)) => insert(&mut lines, header::AUTHORIZATION, token)?,
    }
    if let Some(project) = headers.get(PROJECT) {
        insert(&mut lines, PROJECT, project.as_bytes())?;
    }
    Ok((lines, query.rest))
}

/// The one `authorization` line, if there is any.
fn token(headers: &HeaderMap) -> Result<Option<&[u8]>, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    let Some(line) = lines.next().map(HeaderValue::as_bytes) else { return Ok(None) };
    let bearer = line.split_at_checked(b"bearer ".len()).is_some_and(|(scheme, token)| {
        scheme.eq_ignore_ascii_case(b"bearer ") && !token.trim_ascii().is_empty()
    });
    if bearer && lines.next().is_none() { Ok(Some(line)) } else { Err(unauthenticated(NO_TOKEN)) }
}

/// A copy that stands alone: a value as received would keep its whole read buffer in memory.
fn insert(lines: &mut HeaderMap, name: HeaderName, value: &[u8]) -> Result<(), Problem> {
    // A key out of a query may hold what no header can.
    let mut value = HeaderValue::from_bytes(value).map_err(|_| Problem::invalid(INVALID))?;
    value.set_sensitive(true);
    lines.insert(name, value);
    Ok(())
}

fn unauthenticated(message: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, message)
}

/// As Google answers, seen in reports of users.
const MISSING: &str = "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other form of API consumer identity to call this API.";
const SEVERAL: &str = "Multiple authentication credentials received. Please pass only one.";
const OVERLOADED: &str = "API key for authentication is used with other authentication credentials.";
const INVALID: &str = "API key not valid. Please pass a valid API key.";
const NO_TOKEN: &str = "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_key_from_either_place_is_one_line() {
        let line = [("x-goog-api-key", "AIza-1")];
        for (lines, query) in [
            (&line[..], None),
            (&line[..], Some("alt=sse")),
            (&[][..], Some("key=AIza-1")),
            (&[("x-goog-api-key", "")][..], Some("key=AIza%2d1&alt=sse")),
            (&line[..], Some("key=AIza-1")),
            (&[line[0], line[0], ("cookie", "c"), ("host", "h")][..], Some("key=&prettyPrint=true")),
        ] {
            let (taken, rest) = credential(&headers(lines), query).unwrap();
            assert_eq!((taken.clone(), rest), (headers(&line), None), "{lines:?} {query:?}");
            assert!(taken.values().all(HeaderValue::is_sensitive));
            assert!(!format!("{taken:?}").contains("AIza"));
        }
    }

    #[test]
    fn a_token_brings_its_project() {
        let lines =
            headers(&[("authorization", "Bearer ya29.t"), ("x-goog-user-project", "p"), ("host", "h")]);
        let (taken, rest) = credential(&lines, Some("x=1&alt=sse&y")).unwrap();
        assert_eq!(taken, headers(&[("authorization", "Bearer ya29.t"), ("x-goog-user-project", "p")]));
        assert!(taken.values().all(HeaderValue::is_sensitive));
        assert_eq!(rest.as_deref(), Some("x=1&y"));
    }

    #[test]
    fn none_several_and_impossible_ones() {
        let bearer = ("authorization", "Bearer t");
        for (lines, query, status) in [
            (&[][..], None, 403),
            (&[], Some("key="), 403),
            (&[("x-goog-api-key", " ")], Some("key"), 403),
            (&[("x-api-key", "k")], Some("Key=k"), 403),
            (&[bearer], Some("key=k"), 401),
            (&[bearer, ("x-goog-api-key", "k")], None, 401),
            (&[bearer, bearer], None, 401),
            (&[("authorization", "Bearer  ")], None, 401),
            (&[("authorization", "Basic YTpi")], Some("key=k"), 401),
            (&[("x-goog-api-key", "k")], Some("key=l"), 400),
            (&[("x-goog-api-key", "k"), ("x-goog-api-key", "l")], None, 400),
            (&[], Some("key=k&key=l"), 400),
            (&[], Some("key=a%0d%0aevil:1"), 400),
            (&[], Some("key=a%00"), 400),
        ] {
            let problem = credential(&headers(lines), query).unwrap_err();
            assert_eq!(problem.status, status, "{lines:?} {query:?}");
            assert!(!format!("{problem:?}").contains("evil"));
        }
    }

    proptest! {
        #[test]
        fn a_key_never_shows(key in "[A-Za-z0-9_]{20,40}", rest in "[a-z=&%]{0,20}") {
            let query = format!("{rest}&key={key}");
            let shown = format!("{:?}", credential(&HeaderMap::new(), Some(&query)));
            prop_assert!(!shown.contains(&key));
        }
    }
}
