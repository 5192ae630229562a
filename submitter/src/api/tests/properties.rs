//! Generated texts through the codec. A failure prints its case and seed.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;

use crate::openai::{
    BatchObject, FileObject, LineOutcome, LineSplitter, encode_line, line_len, parse_result_line,
};

/// White space between tokens, as pretty printers of all systems leave it.
fn space() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

fn string() -> impl Strategy<Value = String> {
    let raw = any::<String>().prop_map(|text| Value::from(text).to_string());
    let odd = prop_oneof![
        Just("\"\u{2028}\u{2029}\u{85}\"".to_owned()),
        Just(r#""\ud83d\ude00 \ud800 \n\r\u000a\/\"\\""#.to_owned()),
        Just("\"}\\\\\"".to_owned()),
    ];
    prop_oneof![4 => raw, 1 => odd]
}

/// JSON as people and programs write it: any order, duplicate keys, numbers that no machine type holds.
fn json() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,40})(\\.[0-9]{1,30})?([eE][-+]?[0-9]{1,4})?";
    let word = prop_oneof![Just("null".to_owned()), Just("true".to_owned()), Just("false".to_owned())];
    let leaf = prop_oneof![string(), number, word];
    let spaced = (space(), leaf, space()).prop_map(|(before, leaf, after)| before + &leaf + &after);
    spaced.prop_recursive(5, 60, 5, |inner| {
        let list = vec(inner.clone(), 0..5).prop_map(|items| format!("[{}]", items.join(",")));
        let key = prop_oneof![string(), Just(r#""dup""#.to_owned())];
        let pair =
            (space(), key, space(), inner).prop_map(|(a, key, b, value)| format!("{a}{key}{b}:{value}"));
        let object = vec(pair, 0..5).prop_map(|pairs| format!("{{{}}}", pairs.join(",")));
        (space(), prop_oneof![list, object], space()).prop_map(|(a, value, b)| a + &value + &b)
    })
}

/// Any JSON value with fields that the provider's objects have, of any type.
fn object() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[0-9TZ:.-]{0,25}".prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("status"),
        Just("created_at"),
        Just("expires_at"),
        Just("request_counts"),
        Just("total"),
        Just("errors"),
        Just("data"),
        Just("line"),
        Just("metadata"),
        Just("output_file_id"),
        Just("bytes"),
    ];
    leaf.prop_recursive(3, 30, 6, move |inner| {
        let fields = vec((name.clone().prop_map(str::to_owned), inner.clone()), 0..8)
            .prop_map(|fields| Value::Object(fields.into_iter().collect()));
        prop_oneof![2 => fields, 1 => vec(inner, 0..4).prop_map(Value::Array)]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_body_goes_out_and_comes_back_byte_for_byte(body in json(), id in "[A-Za-z0-9_-]{1,64}", odd_id in any::<String>()) {
        let flat = body.replace(['\n', '\r'], " ");
        let mut line = Vec::new();
        encode_line(&mut line, &id, "/v1/responses", body.as_bytes());
        prop_assert_eq!(line.len(), line_len(&id, "/v1/responses", body.len()));
        let expected =
            format!("{{\"custom_id\":\"{id}\",\"method\":\"POST\",\"url\":\"/v1/responses\",\"body\":{flat}}}\n");
        prop_assert_eq!(String::from_utf8(line).unwrap(), expected);

        line = Vec::new();
        encode_line(&mut line, &odd_id, &odd_id, body.as_bytes());
        prop_assert_eq!(line.len(), line_len(&odd_id, &odd_id, body.len()));
        prop_assert_eq!(line.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count(), 1);

        let result = format!(r#"{{"custom_id":"{id}","response":{{"body":{flat},"status_code":200}},"error":null}}"#);
        let parsed = parse_result_line(result.as_bytes()).unwrap();
        prop_assert_eq!(parsed.custom_id, id);
        match parsed.outcome {
            LineOutcome::Response { status, body, .. } => {
                prop_assert_eq!(status, 200);
                prop_assert_eq!(std::str::from_utf8(body).unwrap(), flat.trim_matches([' ', '\t']));
            }
            LineOutcome::Error { .. } => prop_assert_eq!(flat.trim(), "null"),
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic(bytes in vec(any::<u8>(), 0..200), text in json()) {
        let _ = parse_result_line(&bytes);
        let _ = parse_result_line(text.as_bytes());
        let _ = BatchObject::parse(&bytes);
        let _ = FileObject::parse(text.as_bytes());
    }

    #[test]
    fn lines_do_not_depend_on_chunks(
        pieces in vec(prop_oneof![
            Just("\n".to_owned()),
            Just("\\\"\\n".to_owned()),
            Just("\u{2028}\r\u{85}".to_owned()),
            any::<String>(),
        ], 0..40),
        cuts in vec(any::<Index>(), 0..20),
        take_all in any::<bool>(),
    ) {
        let text = pieces.concat();
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let mut splitter = LineSplitter::default();
        let mut lines: Vec<Bytes> = Vec::new();
        for cut in cuts.windows(2) {
            splitter.push(Bytes::copy_from_slice(&text.as_bytes()[cut[0]..cut[1]]));
            // A reader that takes one line per chunk only must lose nothing either.
            while let Some(line) = splitter.next_line().unwrap() {
                lines.push(line);
                if !take_all { break }
            }
        }
        while let Some(line) = splitter.next_line().unwrap() {
            lines.push(line);
        }
        let complete: usize = lines.iter().map(|line| line.len() + 1).sum();
        prop_assert_eq!(splitter.offset(), complete as u64);
        lines.extend(splitter.finish());
        let mut expected: Vec<_> = text.split('\n').collect();
        if expected.last() == Some(&"") {
            expected.pop();
        }
        prop_assert_eq!(lines, expected);
    }

    #[test]
    fn an_object_with_an_id_is_read_whatever_else_is_in_it(mut value in object(), id in "[a-z]{1,9}") {
        if !value.is_object() {
            value = Value::Object(serde_json::Map::new());
        }
        value["id"] = Value::from(id.clone());
        let body = value.to_string();
        prop_assert_eq!(BatchObject::parse(body.as_bytes()).unwrap().id, id.clone());
        prop_assert_eq!(FileObject::parse(body.as_bytes()).unwrap().id, id);
    }
}
