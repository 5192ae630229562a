use proptest::prelude::*;

use super::*;
use crate::dialect::json::arbitrary::value;

const REST: &str = r#""max_tokens":10,"messages":[]"#;

fn ok(body: &str) -> Peek<'_> {
    peek(body.as_bytes()).unwrap_or_else(|problem| panic!("{body}: {problem:?}"))
}

fn why_not(body: &[u8]) -> String {
    let problem = peek(body).unwrap_err();
    assert_eq!(problem.status, 400);
    problem.message
}

#[test]
fn model_and_stream() {
    let body = "\n{ \"model\" : \"claude-x\", \"max_tokens\": 1e400, \"messages\": [ ], \"stream\": true }\n";
    let peek = ok(body);
    assert_eq!((&*peek.model, peek.stream, peek.unbatchable), ("claude-x", true, None));
    assert!(matches!(peek.model, Cow::Borrowed(_)));
    let repeated = format!(r#"{{"\u006dodel":"a","model":"b","stream":true,"stream":false,{REST}}}"#);
    assert_eq!((&*ok(&repeated).model, ok(&repeated).stream), ("b", false));
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in ["", " ", "{", "{\"model\":\"m\"", "{}x", "nul", "\u{feff}{}"] {
        assert!(why_not(body.as_bytes()).starts_with("The request body is not valid JSON"), "{body:?}");
    }
    for body in ["[]", "\"model\"", "1", "null"] {
        assert_eq!(why_not(body.as_bytes()), "Input should be a valid dictionary", "{body:?}");
    }
    assert!(why_not(b"{\"model\":\"\xff\"}").contains("UTF-8"));
}

#[test]
fn what_is_certainly_wrong_is_refused_at_once() {
    for (body, why) in [
        (r#"{"max_tokens":1,"messages":[]}"#, "model: Field required"),
        (r#"{"model":null,"max_tokens":1,"messages":[]}"#, "model: Input should be a valid string"),
        (r#"{"model":" ","max_tokens":1,"messages":[]}"#, "model: String should have at least 1 character"),
        (r#"{"model":"m","messages":[]}"#, "max_tokens: Field required"),
        (r#"{"model":"m","max_tokens":"1","messages":[]}"#, "max_tokens: Input should be a valid integer"),
        (r#"{"model":"m","max_tokens":null,"messages":[]}"#, "max_tokens: Input should be a valid integer"),
        (
            r#"{"model":"m","max_tokens":-1,"messages":[]}"#,
            "max_tokens: Input should be greater than or equal to 1",
        ),
        (r#"{"model":"m","max_tokens":1}"#, "messages: Field required"),
        (r#"{"model":"m","max_tokens":1,"messages":"hi"}"#, "messages: Input should be a valid list"),
    ] {
        assert_eq!(why_not(body.as_bytes()), why, "{body}");
    }
}

#[test]
fn what_batches_refuse_is_relayed() {
    for (members, reason) in [
        (r#""speed":"fast""#, "speed"),
        (r#""store":true"#, "store"),
        (r#""previous_thread_event_id":"e""#, "previous_thread_event_id"),
        (r#""cache_hint":{}"#, "cache_hint"),
        (r#""context_hint":{}"#, "context_hint"),
        (r#""context_hint":{},"speed":null,"store":false"#, "store"),
        (r#""research_preview_2026_02":"active""#, "research_preview_2026_02"),
        (r#""service_tier":"priority""#, "service_tier"),
        (r#""max_tokens":0"#, "max_tokens"),
    ] {
        let body = format!(r#"{{"model":"m",{REST},{members}}}"#);
        assert_eq!(ok(&body).unbatchable.map(Unbatchable::as_str), Some(reason), "{members}");
        // The provider says what else is wrong.
        assert_eq!(ok(&format!("{{{members}}}")).unbatchable.map(Unbatchable::as_str), Some(reason));
    }
    for members in [
        r#""speed":null,"store":null"#,
        r#""service_tier":"auto""#,
        r#""service_tier":"standard_only""#,
        r#""research_preview_2026_02":"off""#,
        r#""metadata":{"speed":"fast"}"#,
    ] {
        assert_eq!(ok(&format!(r#"{{"model":"m",{REST},{members}}}"#)).unbatchable, None, "{members}");
    }
    let deep = format!(r#"{{"model":"m",{REST},"x":{}{}}}"#, "[".repeat(100), "]".repeat(100));
    assert_eq!(ok(&deep).unbatchable, Some(Unbatchable::Depth));
    let long = format!(r#"{{"model":"{}",{REST}}}"#, "m".repeat(MAX_MODEL + 1));
    assert_eq!(ok(&long).unbatchable, Some(Unbatchable::LongModel));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_are_read(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = peek(&bytes);
    }

    #[test]
    fn any_values_are_read(model in value(), max in value(), messages in value(), speed in value()) {
        let body = format!(
            r#"{{"model":{model},"max_tokens":{max},"messages":{messages},"speed":{speed}}}"#
        );
        if let Ok(peek) = peek(body.as_bytes()) {
            prop_assert!(peek.unbatchable.is_some() || !peek.model.is_empty());
        }
    }
}
