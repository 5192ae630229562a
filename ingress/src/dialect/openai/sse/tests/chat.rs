use super::*;

const CHAT: &str = "/v1/chat/completions";

/// Every chunk without its head, which has to be the same in all of them.
fn bodies(include_usage: bool, body: &str, head: &str) -> Vec<String> {
    let strip = |chunk: String| chunk.strip_prefix(head).unwrap_or_else(|| panic!("{chunk}")).to_owned();
    chunks(CHAT, include_usage, body).into_iter().map(strip).collect()
}

#[test]
fn a_text_as_the_provider_prints_it() {
    let body = "{\n  \"id\": \"chatcmpl-1\",\n  \"object\": \"chat.completion\",\n  \"created\": 1763900000,\n  \
        \"model\": \"gpt-4.1-2025-04-14\",\n  \"choices\": [\n    {\n      \"index\": 0,\n      \"message\": {\n        \
        \"role\": \"assistant\",\n        \"content\": \"caf\\u00e9 \\ud83d\\ude00 \u{2028}\\n\",\n        \
        \"refusal\": null,\n        \"annotations\": []\n      },\n      \"logprobs\": {\"content\": [\n 1e400], \
        \"refusal\": null},\n      \"finish_reason\": \"stop\"\n    }\n  ],\n  \"usage\": {\n \"total_tokens\": 19 },\n  \
        \"service_tier\": \"default\",\n  \"system_fingerprint\": \"fp_1\"\n}\n";
    let head = "{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1763900000,\
        \"model\":\"gpt-4.1-2025-04-14\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_1\",\"choices\":[";
    let plain = [
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},\
         \"logprobs\":null,\"finish_reason\":null}]",
        "{\"index\":0,\"delta\":{\"content\":\"caf\\u00e9 \\ud83d\\ude00 \u{2028}\\n\"},\
         \"logprobs\":{\"content\": [  1e400], \"refusal\": null},\"finish_reason\":null}]",
        "{\"index\":0,\"delta\":{\"annotations\":[]},\"logprobs\":null,\"finish_reason\":null}]",
        "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"stop\"}]",
    ];
    assert_eq!(bodies(false, body, head), plain.map(|chunk| format!("{chunk}}}")));
    let mut with_usage: Vec<String> = plain.map(|chunk| format!("{chunk},\"usage\":null}}")).into();
    with_usage.push("],\"usage\":{  \"total_tokens\": 19 }}".to_owned());
    assert_eq!(bodies(true, body, head), with_usage);
}

#[test]
fn usage_that_nobody_asked_for_is_where_the_provider_has_it() {
    let body = r#"{"choices":[{"message":{"content":"a"}},{"message":{"content":"b"}}],"usage":{"n":1},"x_groq":{"id":"r"}}"#;
    let chunks = |include_usage, usage| {
        let mut events = stream(CHAT, include_usage);
        events.tell_usage(usage);
        let mut chunks = read(&events.finish(body.as_bytes()).unwrap());
        assert_eq!(chunks.pop().unwrap().data, "[DONE]");
        chunks.iter().map(Event::json).collect::<Vec<_>>()
    };
    let usage = serde_json::json!({"n": 1});
    for (told, place) in [
        (&StreamUsage::OnRequest, None),
        (&StreamUsage::LastChunk, Some("/usage")),
        (&StreamUsage::Within("x_groq"), Some("/x_groq/usage")),
    ] {
        let unasked = chunks(false, told);
        let (last, others) = unasked.split_last().unwrap();
        assert_eq!(place.and_then(|place| last.pointer(place)), place.map(|_| &usage));
        assert_eq!(last["choices"][0]["index"], 1);
        assert_eq!(others[0]["x_groq"], serde_json::json!({"id": "r"}));
        let has_usage = |chunk: &Value| !chunk["usage"].is_null() || !chunk["x_groq"]["usage"].is_null();
        assert_eq!(unasked.iter().filter(|chunk| has_usage(chunk)).count(), usize::from(place.is_some()));
        assert_eq!(chunks(true, told), chunks(true, &StreamUsage::OnRequest));
    }
}

#[test]
fn tool_calls_open_before_their_arguments() {
    let body = r#"{"id":"c","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"K\u00f6ln\"}"}},{"id":"call_2","type":"function","function":{"name":"now","arguments":""}},{"id":"call_3","type":"custom","custom":{"name":"sql","input":"SELECT 1"}},{"index":0,"id":"call_4","function":{"arguments":{"a":1}},"x":[]}]},"finish_reason":"tool_calls"}]}"#;
    let head = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":"#;
    let close = r#","finish_reason":null}]}"#;
    let expected = [
        r#"{"role":"assistant","content":null}"#,
        r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"weather","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": \"K\u00f6ln\"}"}}]}"#,
        r#"{"tool_calls":[{"index":1,"id":"call_2","type":"function","function":{"name":"now","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":2,"id":"call_3","type":"custom","custom":{"name":"sql","input":"SELECT 1"}}]}"#,
        r#"{"tool_calls":[{"index":3,"id":"call_4","function":{"arguments":{"a":1}},"x":[]}]}"#,
    ];
    let mut expected: Vec<String> = expected.map(|delta| format!("{delta}{close}")).into();
    expected.push(r#"{},"finish_reason":"tool_calls"}]}"#.to_owned());
    assert_eq!(bodies(false, body, head), expected);
}

#[test]
fn several_choices_refusals_and_log_probabilities() {
    let body = r#"{"id":"c","created":1,"model":"m","choices":[
        {"index":0,"message":{"content":""},"logprobs":{"content":[1]},"finish_reason":"length"},
        {"index":1,"message":{"content":null,"refusal":"No."},"logprobs":{"refusal":[2]},"finish_reason":"stop"}]}"#;
    let found: Vec<Value> =
        chunks(CHAT, false, body).iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect();
    let choices: Vec<&Value> = found.iter().map(|chunk| &chunk["choices"][0]).collect();
    let places: Vec<u64> = choices.iter().map(|choice| choice["index"].as_u64().unwrap()).collect();
    assert_eq!(places, [0, 0, 1, 1, 1]);
    // Without a text the log probabilities go with the last chunk.
    assert_eq!(choices[1]["logprobs"]["content"][0], 1);
    assert_eq!(choices[1]["finish_reason"], "length");
    assert_eq!(choices[2]["delta"]["content"], Value::Null);
    assert_eq!(
        (&choices[3]["delta"]["refusal"], &choices[3]["logprobs"]["refusal"][0]),
        (&"No.".into(), &2.into())
    );
    assert_eq!(choices[4]["logprobs"], Value::Null);
}

#[test]
fn unknown_members_are_passed_on_once() {
    let body = r#"{"id":"c","created":1,"model":"m","prompt_filter_results":[ 1e400 ],"choices":[{"index":0,"message":{"role":"assistant","content":"Hi","reasoning_content":"Hm","reasoning":"Hm","audio":{"id":"a"},"function_call":{"name":"f","arguments":"{}"},"x":null},"content_filter_results":{"hate":{}},"finish_reason":"stop"}],"x_groq":{"id":"r"}}"#;
    let head = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":"#;
    assert_eq!(
        bodies(false, body, head),
        [
            r#"{"role":"assistant","content":"","x":null},"finish_reason":null}],"prompt_filter_results":[ 1e400 ],"x_groq":{"id":"r"}}"#,
            r#"{"reasoning_content":"Hm","reasoning":"Hm"},"finish_reason":null}]}"#,
            r#"{"content":"Hi"},"finish_reason":null}]}"#,
            r#"{"audio":{"id":"a"},"function_call":{"name":"f","arguments":"{}"}},"finish_reason":null}]}"#,
            r#"{},"finish_reason":"stop","content_filter_results":{"hate":{}}}]}"#,
        ]
    );
}

#[test]
fn what_an_answer_lacks_is_ours() {
    let id = Rid([7; 16]);
    let head = format!(
        r#"{{"id":"chatcmpl-llmp-{id}","object":"chat.completion.chunk","created":1700000000,"model":"asked-for","#
    );
    for (body, rest) in [
        (r#"{"choices":[]}"#, vec![r#""choices":[]}"#]),
        (
            r#"{"choices":[{"message":null}]}"#,
            vec![
                r#""choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}"#,
                r#""choices":[{"index":0,"delta":{},"finish_reason":null}]}"#,
            ],
        ),
        (
            // Content in parts, as Mistral's reasoning models answer.
            r#"{"choices":[{"message":{"content":[{"type":"text"}],"tool_calls":"?"}}]}"#,
            vec![
                r#""choices":[{"index":0,"delta":{"role":"assistant"},"finish_reason":null}]}"#,
                r#""choices":[{"index":0,"delta":{"content":[{"type":"text"}]},"finish_reason":null}]}"#,
                r#""choices":[{"index":0,"delta":{"tool_calls":"?"},"finish_reason":null}]}"#,
                r#""choices":[{"index":0,"delta":{},"finish_reason":null}]}"#,
            ],
        ),
    ] {
        let rest: Vec<String> = rest.into_iter().map(|rest| format!("{head}{rest}")).collect();
        assert_eq!(chunks(CHAT, false, body), rest, "{body}");
    }
}

#[test]
fn a_no_op_has_one_empty_delta() {
    let mut events = Events::new(CHAT, "say \"m\"", false, Rid([7; 16]), 17).unwrap();
    let no_op = events.no_op();
    assert_eq!(no_op, events.no_op());
    let id = Rid([7; 16]);
    assert_eq!(
        no_op,
        format!(
            "data: {{\"id\":\"chatcmpl-llmp-{id}\",\"object\":\"chat.completion.chunk\",\"created\":17,\
             \"model\":\"say \\\"m\\\"\",\"choices\":[{{\"index\":0,\"delta\":{{}},\"finish_reason\":null}}]}}\n\n"
        )
    );
    assert!(read(&stream(CHAT, true).no_op())[0].data.ends_with("],\"usage\":null}"));
}
