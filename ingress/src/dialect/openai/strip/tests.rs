use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dialect::json::Object;
use crate::dialect::json::arbitrary::{space, value, written};

fn stripped(body: &str) -> (String, bool) {
    let stripped = strip_stream(body.as_bytes());
    (String::from_utf8(stripped.body.into_owned()).unwrap(), stripped.include_usage)
}

#[test]
fn only_the_stream_goes() {
    for (body, rest) in [
        (r#"{"stream":true}"#, "{}"),
        (r#" { "stream" : true } "#, " {  } "),
        (r#"{"stream":true,"a":1}"#, r#"{"a":1}"#),
        (r#"{"a":1,"stream":true}"#, r#"{"a":1}"#),
        (r#"{"a":1 , "stream":true ,  "b":2}"#, r#"{"a":1 ,  "b":2}"#),
        (r#"{"stream":true,"stream":false,"\u0073tream":1,"a":1}"#, r#"{"a":1}"#),
        (r#"{"stream":true,"model":"m","stream_options":{"a":[1,{}]}}"#, r#"{"model":"m"}"#),
        (
            "{\n  \"stream\": true,\n  \"a\": 1e400,\n  \"a\": -0.0\n}\n",
            "{\n  \"a\": 1e400,\n  \"a\": -0.0\n}\n",
        ),
        ("{\n  \"a\": [ 1 ,\r\n2 ],\n  \"stream\": true\n}", "{\n  \"a\": [ 1 ,\r\n2 ]\n}"),
    ] {
        assert_eq!(stripped(body).0, rest, "{body}");
    }
}

#[test]
fn what_has_no_stream_is_not_even_copied() {
    for body in [
        "{}",
        " { } ",
        r#"{"metadata":{"stream":true},"\ud800":1,"streams":1,"STREAM":true}"#,
        "",
        "nul",
        "[{\"stream\":true}]",
        "{\"stream\":true}x",
        "{\"stream\":true",
    ] {
        let stripped = strip_stream(body.as_bytes());
        assert!(matches!(stripped.body, Cow::Borrowed(same) if same == body.as_bytes()), "{body}");
    }
    assert!(matches!(strip_stream(b"{\"stream\":true,\"\xff\":1}").body, Cow::Borrowed(_)));
}

#[test]
fn the_last_options_say_whether_the_usage_is_wanted() {
    for (body, include) in [
        (r#"{"stream_options":{"include_usage":true}}"#, true),
        (r#"{"stream_options": { "include_\u0075sage" : true } }"#, true),
        (r#"{"stream_options":{"include_usage":true},"stream_options":{}}"#, false),
        (r#"{"stream_options":{},"stream":true,"stream_option\u0073":{"include_usage":true}}"#, true),
        (r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#, false),
        (r#"{"stream_options":null}"#, false),
        (r#"{"stream_options":["include_usage"]}"#, false),
        (r#"{"stream_options":{"include_usage":1}}"#, false),
        (r#"{"include_usage":true}"#, false),
    ] {
        assert_eq!(stripped(body).1, include, "{body}");
    }
}

fn key() -> impl Strategy<Value = (String, bool)> {
    let ours = prop_oneof![Just(STREAM), Just(STREAM_OPTIONS)];
    prop_oneof![
        2 => (".{0,8}", any::<u64>()).prop_map(|(key, escape)| (written(&key, escape), key == STREAM)),
        1 => (ours, any::<u64>()).prop_map(|(key, escape)| (written(key, escape), true)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_other_members_stay_as_they_are(
        members in vec((key(), value(), space(), space()), 0..8),
        around in space(),
    ) {
        let text: Vec<String> = members
            .iter()
            .map(|((key, _), value, a, b)| format!("{a}{key}{b}:{a}{value}{b}"))
            .collect();
        let body = format!("{around}{{{}}}{around}", text.join(","));
        let kept: Vec<(&str, &str)> = members
            .iter()
            .filter(|((_, ours), ..)| !ours)
            .map(|((key, _), value, ..)| (key.as_str(), value.as_str()))
            .collect();
        let stripped = strip_stream(body.as_bytes()).body;
        let object = Object::parse(std::str::from_utf8(&stripped).unwrap());
        let found: Vec<(&str, &str)> =
            object.iter().flat_map(Object::iter).map(|member| (member.raw_key, member.value)).collect();
        prop_assert!(object.is_some());
        prop_assert_eq!(&found, &kept);
        if kept.len() == members.len() {
            prop_assert_eq!(&*stripped, body.as_bytes());
        }
        // Nothing is left to take out.
        prop_assert!(matches!(strip_stream(&stripped).body, Cow::Borrowed(_)));
    }

    #[test]
    fn arbitrary_bytes_come_back_or_shrink(body in r#"[\[\]{}"\\:, \nstream_option0-9eE.-]{0,60}"#) {
        prop_assert!(strip_stream(body.as_bytes()).body.len() <= body.len());
    }
}
