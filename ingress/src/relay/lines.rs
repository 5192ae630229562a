//! Which header lines go through.

use http::Version;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http_body::Body;

use crate::http::{Payload, is_ours};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Lines of a request that give its sender away, at any provider.
const CREDENTIALS: [HeaderName; 6] = [
    header::AUTHORIZATION,
    header::PROXY_AUTHORIZATION,
    header::COOKIE,
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-goog-api-key"),
];

/// Lines about one connection (RFC 9110, 7.6.1).
pub(crate) fn is_hop_by_hop(name: &HeaderName) -> bool {
    [header::CONNECTION, header::TE, header::TRANSFER_ENCODING, header::UPGRADE, KEEP_ALIVE, PROXY_CONNECTION]
        .contains(name)
}

/// The lines of a request that the provider gets, in their order. `Host` becomes the provider's own.
pub(super) fn to_provider(head: &Parts, body: &Payload) -> HeaderMap {
    let mut lines = end_to_end(&head.headers);
    // Only a length that the body will have: a request with both a length and chunks counts by its chunks.
    let length = body.size_hint().exact();
    let wrong_length = lines
        .get(header::CONTENT_LENGTH)
        .is_some_and(|line| line.to_str().ok().and_then(|l| l.parse().ok()) != length);
    let cookies = if head.version == Version::HTTP_2 { joined_cookies(&head.headers) } else { None };
    if wrong_length || cookies.is_some() || lines.contains_key(header::HOST) {
        lines = without(&lines, |name| {
            name == header::HOST
                || (wrong_length && name == header::CONTENT_LENGTH)
                || (cookies.is_some() && name == header::COOKIE)
        });
    }
    if let Some(cookies) = cookies {
        lines.insert(header::COOKIE, cookies);
    }
    if accepts_trailers(&head.headers) {
        lines.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    // Never shown, and never put into a table of HTTP/2 that outlives the request (RFC 7541, 7.1.3).
    for (name, value) in &mut lines {
        value.set_sensitive(CREDENTIALS.contains(name) || value.is_sensitive());
    }
    lines
}

/// The lines of an answer that the client gets, in their order.
pub(super) fn from_provider(headers: &HeaderMap) -> HeaderMap {
    let lines = end_to_end(headers);
    match headers.contains_key(header::TRANSFER_ENCODING) && lines.contains_key(header::CONTENT_LENGTH) {
        true => without(&lines, |name| name == header::CONTENT_LENGTH),
        false => lines,
    }
}

/// The protocol that a client wants to switch to. `h2c` is not passed on: it would change what this relay speaks.
pub(super) fn upgrade(head: &Parts) -> Option<HeaderValue> {
    let asked = head.version == Version::HTTP_11
        && tokens(&head.headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let protocol = head.headers.get(header::UPGRADE).filter(|_| asked)?;
    (!protocol.as_bytes().eq_ignore_ascii_case(b"h2c")).then(|| protocol.clone())
}

/// Adds the lines that ask for a protocol, or agree to it.
pub(super) fn ask_upgrade(lines: &mut HeaderMap, protocol: HeaderValue) {
    lines.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    lines.insert(header::UPGRADE, protocol);
}

fn end_to_end(headers: &HeaderMap) -> HeaderMap {
    without(headers, |name| {
        is_hop_by_hop(name)
            || is_ours(name)
            || tokens(headers, &header::CONNECTION).any(|token| token.eq_ignore_ascii_case(name.as_str()))
    })
}

/// A copy: removing lines from a map would change the order of the others.
fn without(headers: &HeaderMap, dropped: impl Fn(&HeaderName) -> bool) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(headers.len() + 2);
    for (name, value) in headers {
        if !dropped(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

/// HTTP/2 may spread cookies over lines, HTTP/1.1 must not (RFC 9113, 8.2.3).
fn joined_cookies(headers: &HeaderMap) -> Option<HeaderValue> {
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() < 2 {
        return None;
    }
    HeaderValue::from_bytes(&crumbs.join(&b"; "[..])).ok()
}

fn accepts_trailers(headers: &HeaderMap) -> bool {
    tokens(headers, &header::TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;

    use super::*;

    fn head(version: Version, lines: &[(&str, &str)]) -> Parts {
        let request =
            lines.iter().fold(Request::post("/").version(version), |request, (n, v)| request.header(*n, *v));
        request.body(()).unwrap().into_parts().0
    }

    fn listed(headers: &HeaderMap) -> Vec<(&str, &str)> {
        headers.iter().map(|(n, v)| (n.as_str(), v.to_str().unwrap())).collect()
    }

    fn sent(version: Version, lines: &[(&str, &str)], body: &'static str) -> Vec<(String, String)> {
        let headers = to_provider(&head(version, lines), &Payload::from(Bytes::from(body)));
        listed(&headers).into_iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    fn owned(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    }

    #[test]
    fn end_to_end_lines_keep_their_order() {
        let lines = [
            ("host", "proxy"),
            ("z", "1"),
            ("connection", "keep-alive, X-Private"),
            ("a", "2"),
            ("x-private", "3"),
            ("keep-alive", "timeout=5"),
            ("authorization", "Bearer k"),
            ("x-llm-proxy-tag", "t"),
            ("transfer-encoding", "chunked"),
            ("b", "4"),
            ("te", "gzip"),
            ("content-length", "2"),
            ("upgrade", "foo"),
            ("proxy-connection", "x"),
            ("trailer", "t"),
        ];
        let expected = owned(&[
            ("z", "1"),
            ("a", "2"),
            ("authorization", "Bearer k"),
            ("b", "4"),
            ("content-length", "2"),
            ("trailer", "t"),
        ]);
        assert_eq!(sent(Version::HTTP_11, &lines, "{}"), expected);
    }

    #[test]
    fn a_length_that_is_not_the_bodys_is_dropped() {
        assert_eq!(sent(Version::HTTP_11, &[("content-length", "7")], "{}"), []);
    }

    #[test]
    fn trailers_are_asked_for_again() {
        assert_eq!(
            sent(Version::HTTP_11, &[("te", "gzip, trailers"), ("connection", "te")], ""),
            owned(&[("te", "trailers")])
        );
    }

    #[test]
    fn cookies_of_http2_become_one_line() {
        let lines = [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")];
        assert_eq!(sent(Version::HTTP_2, &lines, ""), owned(&[("x", "y"), ("cookie", "a=1; b=2")]));
        assert_eq!(sent(Version::HTTP_11, &lines, "").len(), 3);
    }

    #[test]
    fn answers_lose_only_their_connections_lines() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("set-cookie", "a"),
            ("connection", "close"),
            ("x-request-id", "r"),
            ("set-cookie", "b"),
            ("content-length", "0"),
            ("x-llm-proxy-route", "batch"),
        ] {
            headers.append(HeaderName::from_static(name), value.parse().unwrap());
        }
        assert_eq!(
            listed(&from_provider(&headers)),
            [("set-cookie", "a"), ("set-cookie", "b"), ("x-request-id", "r"), ("content-length", "0")]
        );
    }

    #[test]
    fn upgrades() {
        let asks = |lines: &[(&str, &str)]| upgrade(&head(Version::HTTP_11, lines));
        assert_eq!(
            asks(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]).unwrap(),
            "websocket"
        );
        assert_eq!(asks(&[("upgrade", "websocket")]), None);
        assert_eq!(asks(&[("connection", "upgrade, http2-settings"), ("upgrade", "h2c")]), None);
    }
}
