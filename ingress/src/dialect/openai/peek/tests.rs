use proptest::prelude::*;
use serde_json::Value;

use super::*;

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
    let body = "\n{ \"stream\" : false,\"a\":[1e999, 12345678901234567890123], \"model\":\"gpt-4o\" }\n";
    let peek = ok(body);
    assert_eq!(peek.model.as_deref(), Some("gpt-4o"));
    assert_eq!((peek.stream, peek.unbatchable, peek.inputs()), (false, None, 1));
    assert!(matches!(ok(r#"{"model":"m"}"#).model, Some(Cow::Borrowed("m"))));
    assert_eq!(ok(r#"{"\u006dodel":"a\u002fb"}"#).model.as_deref(), Some("a/b"));
}

#[test]
fn the_last_of_repeated_keys_counts() {
    let peek = ok(r#"{"model":"a","stream":true,"model":"b","stream":null}"#);
    assert_eq!(peek.model.as_deref(), Some("b"));
    assert!(!peek.stream && peek.unbatchable.is_none());
    assert_eq!(ok(r#"{"model":"a","model":null}"#).model, None);
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in ["", " ", "{", "{\"model\":\"m\"", "{\"model\":\"m\"}x", "{'model':1}", "{\"a\":01}", "nul"] {
        assert!(why_not(body.as_bytes()).starts_with("We could not parse the JSON body"), "{body:?}");
    }
    for body in ["[]", "[{\"model\":\"m\"}]", "\"model\"", "1", "null", "true"] {
        assert!(why_not(body.as_bytes()).contains("must be a JSON object"), "{body:?}");
    }
    assert!(why_not(b"\xef\xbb\xbf{\"model\":\"m\"}").contains("byte order mark"));
    assert!(why_not(b"{\"model\":\"m\",\"a\":\"\xff\"}").contains("UTF-8"));
    assert!(why_not(b"{\"model\":\"m\",\"a\":\"\n\"}").contains("control character"));
}

#[test]
fn models_that_are_none() {
    for body in [
        r#"{"model":""}"#,
        r#"{"model":"  "}"#,
        r#"{"model":7}"#,
        r#"{"model":["m"]}"#,
        r#"{"model":"\ud800"}"#,
    ] {
        assert_eq!(why_not(body.as_bytes()), "you must provide a model parameter", "{body}");
    }
    assert_eq!(ok("{}").model, None);
}

#[test]
fn what_cannot_be_batched() {
    let reason = |rest: &str| ok(&format!("{{\"model\":\"m\",{rest}}}")).unbatchable;
    assert_eq!(reason(r#""background":true"#), Some(Unbatchable::Background));
    assert_eq!(reason(r#""conversation":{"id":"c"}"#), Some(Unbatchable::Conversation));
    assert_eq!(reason(r#""previous_response_id":"r""#), Some(Unbatchable::PreviousResponse));
    assert_eq!(reason(r#""service_tier":"flex""#), Some(Unbatchable::ServiceTier));
    for fine in [
        r#""stream":true"#,
        r#""background":false"#,
        r#""conversation":null"#,
        r#""previous_response_id":null"#,
        r#""service_tier":"auto""#,
        r#""service_tier":"default""#,
        r#""service_tier":"on_demand""#,
        r#""service_tier":null"#,
        r#""metadata":{"stream":true,"background":true}"#,
    ] {
        assert_eq!(reason(fine), None, "{fine}");
    }
    assert_eq!(
        ok(&format!(r#"{{"model":"{}"}}"#, "m".repeat(MAX_MODEL + 1))).unbatchable,
        Some(Unbatchable::LongModel)
    );
}

#[test]
fn nesting() {
    let nested = |n: usize| format!(r#"{{"model":"m","s":"[[\"[","a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert_eq!(ok(&nested(MAX_DEPTH - 1)).unbatchable, None);
    assert_eq!(ok(&nested(MAX_DEPTH)).unbatchable, Some(Unbatchable::Depth));
    // Deep enough to break a recursive reader.
    assert_eq!(ok(&nested(1_000_000)).unbatchable, Some(Unbatchable::Depth));
    assert!(peek("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(peek(format!("{{\"a\":{}", "[".repeat(1_000_000)).as_bytes()).is_err());
}

#[test]
fn embedding_inputs() {
    let inputs = |input: &str| ok(&format!("{{\"model\":\"m\",\"input\":{input}}}")).inputs();
    assert_eq!(inputs(r#""one""#), 1);
    assert_eq!(inputs(r#"["a","b, [c]","d"]"#), 3);
    assert_eq!(inputs("[1,2,3,4]"), 1);
    assert_eq!(inputs("[ [1,2], [3] ]"), 2);
    assert_eq!(inputs("[]"), 1);
    assert_eq!(inputs("{}"), 1);
    assert_eq!(ok(r#"{"model":"m"}"#).inputs(), 1);
}

/// JSON values as text, with some that matter among them.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        ".*".prop_map(Value::from),
        "[a-z]{1,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(".*", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![Just("model".to_owned()), Just("stream".to_owned()), Just("input".to_owned()), ".*"]
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = peek(&body).map(|peek| peek.inputs());
    }

    #[test]
    fn arbitrary_json_like_texts_never_panic(body in r#"[\[\]{}"\\:, \n0-9eE.a-fntrul+-]{0,60}"#) {
        let accepted = peek(body.as_bytes()).is_ok();
        prop_assert!(!accepted || serde_json::from_str::<IgnoredAny>(&body).is_ok());
    }

    #[test]
    fn agrees_with_a_full_parser(pairs in prop::collection::vec((key(), value()), 0..8)) {
        let fields: Vec<String> = pairs.iter().map(|(key, value)| format!("{}: {value}", Value::from(key.as_str()))).collect();
        let text = format!("{{ {} }}", fields.join(" ,\n"));
        let whole: Value = serde_json::from_str(&text).unwrap();
        let usable = match &whole["model"] {
            Value::Null => Some(None),
            Value::String(model) if !model.trim().is_empty() => Some(Some(model.as_str())),
            _ => None,
        };
        match peek(text.as_bytes()) {
            Ok(peek) => {
                prop_assert_eq!(Some(peek.model.as_deref()), usable);
                prop_assert_eq!(peek.stream, whole["stream"] == true);
                let strings = whole["input"].as_array().filter(|a| a.first().is_some_and(|v| v.is_string() || v.is_array()));
                prop_assert_eq!(peek.inputs() as usize, strings.map_or(1, Vec::len));
            }
            Err(_) => prop_assert_eq!(usable, None),
        }
    }
}
