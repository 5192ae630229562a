use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use super::super::json::arbitrary::{value, written};
use super::*;

fn ok(body: &str) -> Peek<'_> {
    peek(body.as_bytes()).unwrap_or_else(|problem| panic!("{body}: {problem:?}"))
}

fn why_not(body: &[u8]) -> String {
    let problem = peek(body).unwrap_err();
    assert_eq!(problem.status, 400);
    problem.message.strip_prefix("Invalid JSON payload received. ").unwrap().to_owned()
}

#[test]
fn a_plain_call() {
    let peek = ok(
        "\n{ \"contents\" : [{\"parts\":[{\"text\":\"Hi\"}]}], \"x\":[1e999, 12345678901234567890123] }\n",
    );
    assert_eq!(peek, Peek { model: None, unbatchable: None });
    assert_eq!(ok("{}"), peek);
}

#[test]
fn the_model_of_the_body() {
    assert!(matches!(ok(r#"{"model":"models/m"}"#).model, Some(Cow::Borrowed("m"))));
    assert_eq!(ok(r#"{"\u006dodel":"models\/m"}"#).model.as_deref(), Some("m"));
    assert_eq!(ok(r#"{"model":"m","model":"tunedModels/n"}"#).model.as_deref(), Some("tunedModels/n"));
    for none in ["null", "7", "[\"m\"]", r#""\ud800""#] {
        assert_eq!(ok(&format!(r#"{{"model":{none}}}"#)).model, None, "{none}");
    }
}

#[test]
fn what_is_no_json_object_is_refused() {
    for body in ["", " ", "{", "{\"a\":\"m\"", "{\"a\":\"m\"}x", "{'a':1}", "{\"a\":01}", "nul"] {
        why_not(body.as_bytes());
    }
    for body in ["[]", "[{\"contents\":[]}]", "\"contents\"", "1", "null", "true"] {
        let why = why_not(body.as_bytes());
        assert_eq!(why, "Unknown name \"\": Root element must be a message.", "{body:?}");
    }
    assert!(why_not(b"\xef\xbb\xbf{}").contains("byte order mark"));
    assert!(why_not(b"{\"a\":\"\xff\"}").contains("UTF-8"));
    assert!(why_not(b"{\"a\":\"\n\"}").contains("control character"));
}

#[test]
fn tiers() {
    for name in ["serviceTier", "service_tier", "service\\u0054ier"] {
        let of = |tier: &str| ok(&format!("{{\"{name}\":{tier}}}")).unbatchable;
        for relayed in
            ["\"flex\"", "\"PRIORITY\"", "\"SERVICE_TIER_FLEX\"", "\"\"", "\"x\"", "2", "{}", "true"]
        {
            assert_eq!(of(relayed), Some(Unbatchable::ServiceTier), "{name} {relayed}");
        }
        for fine in
            ["null", "\"standard\"", "\"STANDARD\"", "\"unspecified\"", "\"SERVICE_TIER_UNSPECIFIED\""]
        {
            assert_eq!(of(fine), None, "{name} {fine}");
        }
    }
    assert_eq!(ok(r#"{"generationConfig":{"serviceTier":"flex"}}"#).unbatchable, None);
}

#[test]
fn nesting() {
    let nested = |n: usize| format!(r#"{{"s":"[[\"[","a":{}{}}}"#, "[".repeat(n), "]".repeat(n));
    assert_eq!(ok(&nested(MAX_DEPTH - 1)).unbatchable, None);
    assert_eq!(ok(&nested(MAX_DEPTH)).unbatchable, Some(Unbatchable::Depth));
    // Deep enough to break a recursive reader.
    assert_eq!(ok(&nested(1_000_000)).unbatchable, Some(Unbatchable::Depth));
    assert!(peek("[".repeat(1_000_000).as_bytes()).is_err());
    assert!(peek(format!("{{\"a\":{}", "[".repeat(1_000_000)).as_bytes()).is_err());
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("model".to_owned()),
        Just("serviceTier".to_owned()),
        Just("service_tier".to_owned()),
        ".*"
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(body in vec(any::<u8>(), 0..200)) {
        let _ = peek(&body);
    }

    #[test]
    fn arbitrary_json_like_texts_never_panic(body in r#"[\[\]{}"\\:, \n0-9eE.a-fntrul+-]{0,60}"#) {
        let accepted = peek(body.as_bytes()).is_ok();
        prop_assert!(!accepted || serde_json::from_str::<IgnoredAny>(&body).is_ok());
    }

    #[test]
    fn any_object_is_read(pairs in vec((key(), any::<u64>(), value()), 0..8)) {
        let last = |names: &[&str]| {
            pairs.iter().rfind(|(key, ..)| names.contains(&&**key)).map(|(_, _, value)| value.as_str())
        };
        let fields: Vec<String> =
            pairs.iter().map(|(key, escape, value)| format!("{}: {value}", written(key, *escape))).collect();
        let body = format!("{{ {} }}", fields.join(" ,\n"));
        let peek = peek(body.as_bytes()).unwrap();
        let named = last(&["model"]).and_then(|raw| serde_json::from_str::<Value>(raw).ok());
        let named = named.as_ref().and_then(Value::as_str).map(|name| name.strip_prefix("models/").unwrap_or(name));
        prop_assert_eq!(peek.model.as_deref(), named);
        let tier = last(&["serviceTier", "service_tier"]).is_some_and(|tier| !is_standard(tier));
        prop_assert_eq!(peek.unbatchable, tier.then_some(Unbatchable::ServiceTier));
    }
}
