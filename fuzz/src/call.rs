//! A caller's request: its head, and the body that stays bytes.

use std::sync::LazyLock;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use ingress::dialect::anthropic;
use ingress::dialect::openai::{peek, strip_stream};
use ingress::fuzzing::Door;
use providers::openai::{encode_line, line_len};
use serde_json::Value;
use serde_json::value::RawValue;

// The base URL is a constant that is one.
#[allow(clippy::expect_used)]
static DOOR: LazyLock<Door> =
    LazyLock::new(|| Door::new("https://provider.test/base/v1").expect("a base URL"));

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const URL: &str = "/v1/chat/completions";

/// The look into a body, the stripping of its stream, and the line that it becomes.
pub(crate) fn body(data: &[u8]) {
    let _ = anthropic::peek(data);
    let stripped = strip_stream(data);
    let Ok(seen) = peek(data) else {
        // What is no JSON is passed on as it is.
        if serde_json::from_slice::<Box<RawValue>>(data).is_err() {
            assert_eq!(stripped.body, data);
        }
        return;
    };
    let _ = seen.inputs();
    let without = peek(&stripped.body).unwrap_or_else(|problem| panic!("{}", problem.message));
    assert!(!without.stream, "the wish for a stream is still there");
    assert_eq!((&without.model, without.has_prompt), (&seen.model, seen.has_prompt));
    assert_same_but_for_the_stream(data, &stripped.body);
    assert_is_one_line(data);
    assert_is_one_line(&stripped.body);
}

/// By a second opinion: the parser's own values, where it has some. It refuses numbers beyond its range.
fn assert_same_but_for_the_stream(data: &[u8], stripped: &[u8]) {
    let (Ok(mut before), Ok(after)) =
        (serde_json::from_slice::<Value>(data), serde_json::from_slice::<Value>(stripped))
    else {
        return;
    };
    if let Some(members) = before.as_object_mut() {
        members.remove("stream");
        members.remove("stream_options");
    }
    assert_eq!(before, after);
}

fn assert_is_one_line(body: &[u8]) {
    let mut line = Vec::new();
    encode_line(&mut line, ID, URL, body);
    assert_eq!(line.len(), line_len(ID, URL, body.len()));
    let breaks = line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count();
    assert!(breaks == 1 && line.ends_with(b"}\n"));
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        let read: Value = serde_json::from_slice(&line).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((read["custom_id"].as_str(), &read["body"]), (Some(ID), &value));
    }
}

/// A whole request: its head as lines, an empty line, and the body.
pub(crate) fn head(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (lines, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (data, &[][..]),
    };
    let Some(head) = parse(lines) else { return };
    if let Some(uri) = DOOR.relayed_to(&head) {
        assert_eq!(uri.authority().map(http::uri::Authority::as_str), Some("provider.test"));
        assert_eq!(uri.scheme_str(), Some("https"));
    }
    let Some((call, streamed)) = DOOR.read(&head, &Bytes::copy_from_slice(body)) else { return };
    assert!(!call.credential.is_empty() && call.credential.len() <= 3);
    assert!(call.credential.values().all(HeaderValue::is_sensitive));
    assert!(streamed || call.body == body, "a body is held as it came");
    let text = format!("{call:?}");
    let told =
        |value: &HeaderValue| value.len() > 24 && text.contains(&*String::from_utf8_lossy(value.as_bytes()));
    assert!(!call.credential.values().any(told), "a credential is shown");
}

/// `METHOD URI`, and then a header on each line. What hyper would not let through is left out.
fn parse(lines: &[u8]) -> Option<Parts> {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let (method, uri) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let method = Method::from_bytes(method.as_bytes()).ok()?;
    let mut request = Request::new(());
    (*request.method_mut(), *request.uri_mut()) = (method, uri.parse::<Uri>().ok()?);
    for line in lines.take(100) {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        request.headers_mut().append(name, value);
    }
    Some(request.into_parts().0)
}
