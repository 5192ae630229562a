//! Server-sent events of an answer, for `stream: true`.

use bytes::Bytes;

use super::answer::{self, Style, chat_usage, content, message_item, responses, text_part};
use super::endpoint::Endpoint;
use super::request::Request;
use crate::json;
use crate::text::{pieces, quote, tokens};

/// The events of an answer; None for endpoints that cannot stream.
pub(crate) fn events(request: &Request<'_>, style: &Style) -> Option<Vec<Bytes>> {
    match request.endpoint {
        Endpoint::ChatCompletions => Some(chat(request, style)),
        Endpoint::Completions => Some(completions(request, style)),
        Endpoint::Responses => Some(response(request, style)),
        _ => None,
    }
}

fn data(json: &str) -> Bytes {
    Bytes::from(format!("data: {json}\n\n"))
}

fn wants_usage(request: &Request<'_>) -> bool {
    let options = request.fields.get("stream_options").and_then(json::object);
    options.is_some_and(|options| options.is_true("include_usage"))
}

fn chat(request: &Request<'_>, style: &Style) -> Vec<Bytes> {
    let text = content(request, style.awkward);
    let usage = wants_usage(request);
    let chunk = |choices: &str, tail: &str| {
        data(&format!(
            r#"{{"id":"chatcmpl-{:016x}","object":"chat.completion.chunk","created":{},"model":{},"service_tier":"{}","system_fingerprint":"fp_simulator","choices":[{choices}]{tail}}}"#,
            style.id,
            style.created,
            quote(&request.model),
            style.tier
        ))
    };
    let choice = |index: usize, delta: &str, finish: &str| {
        format!(r#"{{"index":{index},"delta":{delta},"logprobs":null,"finish_reason":{finish}}}"#)
    };
    let tail = if usage { r#","usage":null"# } else { "" };
    let mut events = Vec::new();
    for index in 0..request.n {
        events
            .push(chunk(&choice(index, r#"{"role":"assistant","content":"","refusal":null}"#, "null"), tail));
        for piece in pieces(&text) {
            events.push(chunk(&choice(index, &format!(r#"{{"content":{}}}"#, quote(piece)), "null"), tail));
        }
        events.push(chunk(&choice(index, "{}", "\"stop\""), tail));
    }
    if usage {
        let output = tokens(&text) * request.n as u64;
        events.push(chunk("", &format!(r#","usage":{}"#, chat_usage(request.input_tokens, output))));
    }
    events.push(data("[DONE]"));
    events
}

fn completions(request: &Request<'_>, style: &Style) -> Vec<Bytes> {
    let text = content(request, style.awkward);
    let chunk = |text: &str, index: usize, finish: &str| {
        data(&format!(
            r#"{{"id":"cmpl-{:016x}","object":"text_completion","created":{},"model":{},"choices":[{{"text":{},"index":{index},"logprobs":null,"finish_reason":{finish}}}]}}"#,
            style.id,
            style.created,
            quote(&request.model),
            quote(text)
        ))
    };
    let mut events = Vec::new();
    for index in 0..request.n {
        events.extend(pieces(&text).into_iter().map(|piece| chunk(piece, index, "null")));
        events.push(chunk("", index, "\"stop\""));
    }
    if wants_usage(request) {
        events.push(data(&format!(
            r#"{{"id":"cmpl-{:016x}","object":"text_completion","created":{},"model":{},"choices":[],"usage":{}}}"#,
            style.id,
            style.created,
            quote(&request.model),
            chat_usage(request.input_tokens, tokens(&text) * request.n as u64)
        )));
    }
    events.push(data("[DONE]"));
    events
}

fn response(request: &Request<'_>, style: &Style) -> Vec<Bytes> {
    let text = content(request, style.awkward);
    let item = format!(r#""item_id":"msg_{:016x}","output_index":0,"content_index":0"#, style.id);
    let mut bodies = vec![
        ("response.created", format!(r#""response":{}}}"#, responses(request, style, "in_progress").0)),
        ("response.in_progress", format!(r#""response":{}}}"#, responses(request, style, "in_progress").0)),
        (
            "response.output_item.added",
            format!(r#""output_index":0,"item":{}"#, message_item(style.id, "in_progress", None)),
        ),
        ("response.content_part.added", format!(r#"{item},"part":{}"#, text_part(""))),
    ];
    for piece in pieces(&text) {
        bodies.push((
            "response.output_text.delta",
            format!(r#"{item},"delta":{},"logprobs":[]"#, quote(piece)),
        ));
    }
    let mut whole = Vec::new();
    answer::write(request, style, &mut whole);
    bodies.extend([
        ("response.output_text.done", format!(r#"{item},"text":{},"logprobs":[]"#, quote(&text))),
        ("response.content_part.done", format!(r#"{item},"part":{}"#, text_part(&text))),
        (
            "response.output_item.done",
            format!(r#""output_index":0,"item":{}"#, message_item(style.id, "completed", Some(&text))),
        ),
        ("response.completed", format!(r#""response":{}"#, String::from_utf8_lossy(&whole))),
    ]);
    let event = |(number, (name, body)): (usize, (&str, String))| {
        Bytes::from(format!(
            "event: {name}\ndata: {{\"type\":\"{name}\",\"sequence_number\":{number},{body}}}\n\n"
        ))
    };
    bodies.into_iter().enumerate().map(event).collect()
}
