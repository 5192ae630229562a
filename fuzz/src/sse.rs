//! The events that are made for an answer.

use common::ids::Rid;
use ingress::dialect::anthropic;
use ingress::dialect::openai::Events;
use serde_json::Value;

const ENDPOINTS: [&str; 3] = ["/v1/chat/completions", "/v1/completions", "/v1/responses"];

/// The events of a final answer, of an error, and of the wait.
pub(crate) fn events(data: &[u8]) {
    let Some((options, body)) = data.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(options >> 1) % ENDPOINTS.len()];
    let Some(mut events) =
        Events::new(endpoint, "gpt-\"4\"\n", options & 1 == 1, Rid([7; 16]), 1_700_000_000)
    else {
        panic!("{endpoint} streams")
    };
    let no_op = events.no_op();
    check(&no_op, 0);
    let status = if options & 64 == 0 { 500 } else { 429 };
    check(&events.fail(status, body), body.len());
    if let Ok(finished) = events.finish(body) {
        check(&finished, body.len());
    }
    messages(status, body);
}

/// The same for Anthropic's messages.
fn messages(status: u16, body: &[u8]) {
    check(&anthropic::Events::no_op(), 0);
    check(&anthropic::Events::fail(status, body), body.len());
    if let Ok(finished) = anthropic::Events::finish(body) {
        check(&finished, body.len());
    }
}

/// A stream is lines of `event` and `data`, each event ends with an empty line, and each datum is one JSON value.
fn check(stream: &[u8], body: usize) {
    assert!(stream.len() <= 32 * body + 64 * 1024, "{} bytes for {body}", stream.len());
    let text = std::str::from_utf8(stream).unwrap_or_else(|error| panic!("{error}"));
    assert!(text.ends_with("\n\n") && !text.contains('\r'));
    for event in text.trim_end_matches('\n').split("\n\n") {
        for line in event.split('\n') {
            let Some(data) = line.strip_prefix("data: ") else {
                assert!(line.starts_with("event: "), "{line:?}");
                continue;
            };
            if data != "[DONE]" {
                is_json(data);
            }
        }
    }
}

/// Numbers beyond the parser's range and lone surrogates are the provider's to write.
fn is_json(data: &str) {
    if let Err(error) = serde_json::from_str::<Box<serde_json::value::RawValue>>(data) {
        panic!("{error}: {data}");
    }
    let _: Option<Value> = serde_json::from_str(data).ok();
}
