mod properties;

use serde_json::{Value, json};

use super::*;

/// One event as a client reads it.
#[derive(Debug)]
struct Event {
    name: String,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

fn read(stream: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(stream).unwrap();
    assert!(text.ends_with("\n\n") && !text.contains('\r'));
    let event = |block: &str| {
        let (name, data) = block.split_once('\n').unwrap();
        assert!(!data.contains('\n'), "{block}");
        let (name, data) = (name.strip_prefix("event: ").unwrap(), data.strip_prefix("data: ").unwrap());
        Event { name: name.to_owned(), data: data.to_owned() }
    };
    text[..text.len() - 2].split("\n\n").map(event).collect()
}

/// The data of all events; each names itself.
fn events(body: &str) -> Vec<Value> {
    let event = |event: Event| {
        let json = event.json();
        assert_eq!(json["type"], event.name);
        json
    };
    read(&Events::finish(body.as_bytes()).unwrap()).into_iter().map(event).collect()
}

/// The events of one block.
fn block(block: &str) -> Vec<Value> {
    let events = events(&format!(r#"{{"content":[{block}]}}"#));
    let of_block = |event: &Value| event["type"].as_str().unwrap().starts_with("content_block");
    let mut events: Vec<_> = events.into_iter().filter(of_block).collect();
    assert!(events.iter().all(|event| event["index"] == 0));
    assert_eq!(events.pop().unwrap()["type"], "content_block_stop");
    events
}

#[test]
fn a_message_is_framed_as_the_provider_does() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x",
        "content":[{"type":"text","text":"h\u00e9"}],"stop_reason":"stop_sequence","stop_sequence":"x",
        "container":{"id":"c"},"new":1e400,
        "usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":7,"service_tier":"batch",
            "server_tool_use":{"web_search_requests":1}}}"#;
    let finished = Events::finish(body.as_bytes()).unwrap();
    let events = read(&finished);
    let expected = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"container":null,"new":1e400,"usage":{"output_tokens":0,"input_tokens":5,"cache_read_input_tokens":2,"service_tier":"batch"}}}"#,
        ),
        ("ping", r#"{"type": "ping"}"#),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"h\u00e9"}}"#,
        ),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"x","container":{"id":"c"}},"usage":{"output_tokens":7,"input_tokens":5,"cache_read_input_tokens":2,"server_tool_use":{"web_search_requests":1}}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let found: Vec<_> = events.iter().map(|event| (&*event.name, &*event.data)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_beta_answers_have_stands_beside_the_delta() {
    let events = events(r#"{"content":[],"context_management":{"applied_edits":[]},"stop_details":{"a":1}}"#);
    assert_eq!(
        events[0]["message"],
        json!({"content": [], "context_management": null, "stop_details": null})
    );
    let delta = &events[2];
    assert_eq!(delta["context_management"], json!({"applied_edits": []}));
    assert_eq!(delta["delta"], json!({"stop_reason": null, "stop_sequence": null, "stop_details": {"a": 1}}));
    assert_eq!(delta["usage"], json!({"output_tokens": 0}));
}

#[test]
fn citations_follow_their_text() {
    let found = block(r#"{"citations":[{"a":1},{"b":2}],"type":"text","text":"t"}"#);
    assert_eq!(found[0]["content_block"], json!({"type": "text", "citations": [], "text": ""}));
    let deltas: Vec<_> = found[1..].iter().map(|event| event["delta"].clone()).collect();
    let citation = |citation: Value| json!({"type": "citations_delta", "citation": citation});
    let text = json!({"type": "text_delta", "text": "t"});
    assert_eq!(deltas, [text, citation(json!({"a": 1})), citation(json!({"b": 2}))]);
    let none = block(r#"{"type":"text","text":"","citations":null}"#);
    assert_eq!(none.len(), 1, "an empty text has no delta");
    assert_eq!(none[0]["content_block"]["citations"], Value::Null);
}

#[test]
fn thoughts_end_with_their_signature() {
    let found = block(r#"{"type":"thinking","thinking":"hm","signature":"c2ln"}"#);
    assert_eq!(found[0]["content_block"], json!({"type": "thinking", "thinking": "", "signature": ""}));
    assert_eq!(found[1]["delta"], json!({"type": "thinking_delta", "thinking": "hm"}));
    assert_eq!(found[2]["delta"], json!({"type": "signature_delta", "signature": "c2ln"}));
    let hidden = block(r#"{"type":"thinking","thinking":"","signature":"c2ln"}"#);
    assert_eq!(hidden[1]["delta"]["type"], "signature_delta");
}

#[test]
fn the_input_of_a_tool_is_a_text_that_is_kept_byte_for_byte() {
    for kind in ["tool_use", "server_tool_use", "mcp_tool_use"] {
        let input = "{\"b\": 1e400,\n \"a\":\"\\ud800\u{e9}\", \"b\":2}";
        let found = block(&format!(r#"{{"type":"{kind}","id":"t","name":"n","input":{input}}}"#));
        assert_eq!(found[0]["content_block"], json!({"type": kind, "id": "t", "name": "n", "input": {}}));
        assert_eq!(found[1]["delta"], json!({"type": "input_json_delta", "partial_json": input}));
        let found = block(&format!(r#"{{"type":"{kind}","input":{{ }}}}"#));
        assert_eq!(found[1]["delta"]["partial_json"], "");
    }
}

#[test]
fn other_blocks_come_whole() {
    for whole in [
        r#"{"type":"redacted_thinking","data":"x"}"#,
        r#"{"type":"web_search_tool_result","tool_use_id":"t","content":[{"url":"u"}]}"#,
        r#"{"type":"tool_use","input":"odd"}"#,
        r#"{"type":"text","text":7}"#,
        r#"{"type":7}"#,
        "{}",
    ] {
        let found = block(whole);
        assert_eq!(found.len(), 1, "{whole}");
        assert_eq!(found[0]["content_block"], serde_json::from_str::<Value>(whole).unwrap());
    }
}

#[test]
fn an_answer_that_cannot_be_streamed_is_named_so() {
    for body in ["", "[]", "null", "{\"content\":[]", "{}x"] {
        assert_eq!(Events::finish(body.as_bytes()), Err(Unstreamable::NoObject), "{body}");
    }
    assert_eq!(Events::finish(b"{\"\xff\":1}"), Err(Unstreamable::NoObject));
    for body in ["{}", r#"{"content":null}"#, r#"{"content":"text"}"#, r#"{"content":["text"]}"#] {
        assert_eq!(Events::finish(body.as_bytes()), Err(Unstreamable::Shape("content")), "{body}");
    }
}

#[test]
fn the_output_is_bounded() {
    let blocks = vec!["{}"; 50_000].join(",");
    let body = format!(r#"{{"content":[{blocks}]}}"#);
    assert_eq!(Events::finish(body.as_bytes()), Err(Unstreamable::TooLong));
}

#[test]
fn deep_nesting_is_passed_on() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body =
        format!(r#"{{"content":[{{"type":"x","x":{deep}}},{{"type":"tool_use","input":{{"x":{deep}}}}}]}}"#);
    let finished = Events::finish(body.as_bytes()).unwrap();
    assert!(finished.windows(deep.len()).any(|window| window == deep.as_bytes()));
}

#[test]
fn errors_are_events_that_are_raised() {
    let error = r#"{"type":"overloaded_error","message":"no", "details":null}"#;
    let body = format!("{{\"type\":\"error\",\n\"error\":{error},\"request_id\":\"req_1\"}}");
    let expected =
        format!("event: error\ndata: {{\"type\":\"error\",\"error\":{error},\"request_id\":\"req_1\"}}\n\n");
    assert_eq!(Events::fail(529, body.as_bytes()), expected);
}

#[test]
fn what_is_no_error_object_becomes_one() {
    let error = |status, body: &str| {
        let mut events = read(&Events::fail(status, body.as_bytes()));
        assert_eq!(events.len(), 1);
        events.remove(0).json()["error"].take()
    };
    for body in ["", "<html>", "{}", "[]", r#"{"error":null}"#, r#"{"error":{"message":1}}"#] {
        let message = "The provider answered with status 502 and no error object.";
        assert_eq!(error(502, body), json!({"type": "api_error", "message": message}), "{body}");
    }
    for body in [r#"{"error":"why"}"#, r#"{"error":{"message":"why"}}"#, r#"{"message":"why"}"#] {
        assert_eq!(error(429, body), json!({"type": "rate_limit_error", "message": "why"}), "{body}");
    }
}

#[test]
fn a_no_op_is_a_ping() {
    assert_eq!(read(&Events::no_op())[0].name, "ping");
    assert_eq!(read(&Events::no_op())[0].json(), json!({"type": "ping"}));
}
