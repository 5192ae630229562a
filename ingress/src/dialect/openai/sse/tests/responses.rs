use super::*;

const RESPONSES: &str = "/v1/responses";

/// The events of a response with these items: each one's name and data, numbers checked.
fn events(status: &str, output: &str) -> Vec<(String, Value)> {
    let body = format!(
        r#"{{"id":"resp_1","created_at":1,"status":"{status}","model":"m","output":[{output}],"usage":{{"n":1}}}}"#
    );
    read_numbered(&stream(RESPONSES, false).finish(body.as_bytes()).unwrap(), 0)
}

fn read_numbered(bytes: &[u8], first: u64) -> Vec<(String, Value)> {
    let numbered = read(bytes).into_iter().zip(first..).map(|(event, number)| {
        let json = event.json();
        assert_eq!(json["sequence_number"], number);
        assert_eq!(event.name.as_deref(), json["type"].as_str());
        (event.name.unwrap(), json)
    });
    numbered.collect()
}

/// The events of one item, without those of the response; names without their common beginning.
fn item(item: &str) -> Vec<(String, Value)> {
    let mut events = events("completed", item);
    assert_eq!(events.remove(0).0, "response.created");
    assert_eq!(events.remove(0).0, "response.in_progress");
    assert_eq!(events.pop().unwrap().0, "response.completed");
    let done = events.last().unwrap();
    assert_eq!(done.0, "response.output_item.done");
    assert_eq!(done.1["item"], serde_json::from_str::<Value>(item).unwrap());
    events
        .into_iter()
        .map(|(name, data)| (name.strip_prefix("response.").unwrap().to_owned(), data))
        .collect()
}

fn names(events: &[(String, Value)]) -> Vec<&str> {
    events.iter().map(|(name, _)| name.as_str()).collect()
}

#[test]
fn a_message_with_annotations_and_a_refusal() {
    let events = item(
        r#"{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[
            {"type":"output_text","text":"H\u00e9","annotations":[{"type":"file_path"},{"type":"url_citation"}],"logprobs":[{"token":"H"}]},
            {"type":"refusal","refusal":"No."},{"type":"output_text","text":"","annotations":[]},{"type":"new","x":1}]}"#,
    );
    assert_eq!(
        names(&events),
        [
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.annotation.added",
            "output_text.annotation.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "refusal.delta",
            "refusal.done",
            "content_part.done",
            "content_part.added",
            "output_text.done",
            "content_part.done",
            "content_part.added",
            "content_part.done",
            "output_item.done",
        ]
    );
    assert_eq!(
        events[0].1["item"],
        serde_json::json!({"id":"msg_1","type":"message","status":"in_progress","role":"assistant","content":[]})
    );
    assert_eq!(
        events[1].1["part"],
        serde_json::json!({"type":"output_text","text":"","annotations":[],"logprobs":[]})
    );
    let delta = &events[2].1;
    assert_eq!((&delta["delta"], &delta["item_id"]), (&"Hé".into(), &"msg_1".into()));
    assert_eq!((&delta["output_index"], &delta["content_index"]), (&0.into(), &0.into()));
    assert_eq!(delta["logprobs"][0]["token"], "H");
    assert_eq!(
        (&events[4].1["annotation_index"], &events[4].1["annotation"]["type"]),
        (&1.into(), &"url_citation".into())
    );
    assert_eq!((&events[5].1["text"], &events[5].1["logprobs"][0]["token"]), (&"Hé".into(), &"H".into()));
    assert_eq!(events[7].1["part"], serde_json::json!({"type":"refusal","refusal":""}));
    assert_eq!((&events[8].1["delta"], &events[9].1["refusal"]), (&"No.".into(), &"No.".into()));
    assert_eq!(events[9].1["content_index"], 1);
    assert_eq!(events[12].1["logprobs"], serde_json::json!([]));
    assert_eq!(events[14].1["part"], events[15].1["part"]);
}

#[test]
fn reasoning_has_summaries_and_texts() {
    let events = item(
        r#"{"id":"rs_1","type":"reasoning","encrypted_content":"gA","summary":[{"type":"summary_text","text":"a"}],"content":[{"type":"reasoning_text","text":"b"}]}"#,
    );
    assert_eq!(
        names(&events),
        [
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "content_part.added",
            "reasoning_text.delta",
            "reasoning_text.done",
            "content_part.done",
            "output_item.done",
        ]
    );
    assert_eq!(
        events[0].1["item"],
        serde_json::json!({"id":"rs_1","type":"reasoning","encrypted_content":"gA","summary":[],"content":[]})
    );
    assert_eq!((&events[2].1["delta"], &events[2].1["summary_index"]), (&"a".into(), &0.into()));
    assert_eq!((&events[7].1["text"], &events[7].1["content_index"]), (&"b".into(), &0.into()));
}

#[test]
fn calls_with_one_text() {
    for (kind, member, event) in [
        ("function_call", "arguments", "function_call_arguments"),
        ("custom_tool_call", "input", "custom_tool_call_input"),
        ("mcp_call", "arguments", "mcp_call_arguments"),
        ("code_interpreter_call", "code", "code_interpreter_call_code"),
    ] {
        let call = |text: &str| {
            item(&format!(
                r#"{{"id":"c_1","type":"{kind}","status":"completed","name":"f","{member}":{text}}}"#
            ))
        };
        let events = call(r#""{\"a\": 1}""#);
        let (delta, done) = (format!("{event}.delta"), format!("{event}.done"));
        assert_eq!(names(&events), ["output_item.added", &delta, &done, "output_item.done"]);
        assert_eq!(
            (&events[0].1["item"][member], &events[0].1["item"]["status"]),
            (&"".into(), &"in_progress".into())
        );
        assert_eq!((&events[1].1["delta"], &events[1].1["item_id"]), (&r#"{"a": 1}"#.into(), &"c_1".into()));
        assert_eq!(events[2].1[member], r#"{"a": 1}"#);
        assert_eq!(names(&call(r#""""#)), ["output_item.added", &done, "output_item.done"]);
        assert_eq!(names(&call("null")), ["output_item.added", "output_item.done"]);
    }
}

#[test]
fn other_items_are_added_and_done() {
    for (other, added) in [
        (
            r#"{"id":"ws_1","type":"web_search_call","status":"completed"}"#,
            r#"{"id":"ws_1","type":"web_search_call","status":"in_progress"}"#,
        ),
        (
            r#"{"type":"image_generation_call","id":"i","result":"QUJD"}"#,
            r#"{"type":"image_generation_call","id":"i","result":null}"#,
        ),
        (
            r#"{"type":"never_seen","content":[1],"text":"t"}"#,
            r#"{"type":"never_seen","content":[1],"text":"t"}"#,
        ),
    ] {
        let events = item(other);
        assert_eq!(names(&events), ["output_item.added", "output_item.done"]);
        assert_eq!(events[0].1["item"], serde_json::from_str::<Value>(added).unwrap());
    }
    assert_eq!(names(&item("{}")), ["output_item.added", "output_item.done"]);
}

#[test]
fn the_last_event_follows_the_status() {
    for (status, last) in [
        ("completed", "response.completed"),
        ("incomplete", "response.incomplete"),
        ("failed", "response.failed"),
        ("cancelled", "response.failed"),
        ("new", "response.completed"),
    ] {
        let events = events(status, "");
        assert_eq!(names(&events), ["response.created", "response.in_progress", last]);
        let (begun, ended) = (&events[0].1["response"], &events[2].1["response"]);
        assert_eq!((&begun["status"], &begun["usage"]), (&"in_progress".into(), &Value::Null));
        assert_eq!((&ended["status"], &ended["usage"]["n"]), (&status.into(), &1.into()));
        assert_eq!((&begun["id"], &begun["model"]), (&ended["id"], &ended["model"]));
    }
}

#[test]
fn the_whole_response_is_copied_raw() {
    let body = "{\n \"id\": \"resp_1\",\r\n \"x\": [1e400, \"\\u00e9\u{2028}\"], \"output\": [ ], \"error\": {\"code\":1}, \"x\": -0.0\n}";
    let finished = stream(RESPONSES, false).finish(body.as_bytes()).unwrap();
    let events = read(&finished);
    let members = "\"id\":\"resp_1\",\"x\":[1e400, \"\\u00e9\u{2028}\"],\"output\":";
    assert_eq!(
        events[0].data,
        format!(
            "{{\"type\":\"response.created\",\"sequence_number\":0,\"response\":{{\"status\":\"in_progress\",\
             {members}[],\"error\":null,\"x\":-0.0}}}}"
        )
    );
    assert_eq!(
        events[2].data,
        format!(
            "{{\"type\":\"response.completed\",\"sequence_number\":2,\"response\":{{{members}[ ],\
             \"error\":{{\"code\":1}},\"x\":-0.0}}}}"
        )
    );
}

#[test]
fn numbers_go_on_after_no_ops() {
    let mut waiting = stream(RESPONSES, false);
    let mut sent = [waiting.no_op(), waiting.no_op()].concat();
    sent.extend_from_slice(&waiting.finish(br#"{"id":"resp_1","output":[]}"#).unwrap());
    let events = read_numbered(&sent, 0);
    assert_eq!(
        names(&events),
        [
            "response.in_progress",
            "response.in_progress",
            "response.created",
            "response.in_progress",
            "response.completed"
        ]
    );
    let provisional = &events[0].1["response"];
    assert!(provisional["id"].as_str().unwrap().starts_with("resp_llmp_"));
    assert_eq!(
        (&provisional["model"], &provisional["output"]),
        (&"asked-for".into(), &serde_json::json!([]))
    );
    assert!(events[2..].iter().all(|(_, event)| event["response"]["id"] == "resp_1"));
}
