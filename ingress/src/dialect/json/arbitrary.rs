//! Arbitrary JSON for property tests, as text: odd numbers, escapes, repeated keys and white space included.

use proptest::collection::vec;
use proptest::prelude::*;

/// A JSON string for a text, with some of its characters escaped in the long way.
pub(crate) fn written(text: &str, escape: u64) -> String {
    let mut raw = String::from("\"");
    for (at, char) in text.chars().enumerate() {
        if escape >> (at % 64) & 1 == 1 || char < ' ' || char == '"' || char == '\\' {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                raw.push_str(&format!("\\u{unit:04x}"));
            }
        } else {
            raw.push(char);
        }
    }
    raw + "\""
}

/// White space, line breaks among it.
pub(crate) fn space() -> impl Strategy<Value = String> {
    "[ \n\r\t]{0,3}"
}

/// A value that is no array and no object.
pub(crate) fn scalar() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("1e400".to_owned()),
        Just("-0.0".to_owned()),
        Just("123456789012345678901234567890".to_owned()),
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        (".{0,8}", any::<u64>()).prop_map(|(text, escape)| written(&text, escape)),
    ]
}

/// Any value.
pub(crate) fn value() -> impl Strategy<Value = String> {
    let join = |(items, space): (Vec<String>, String)| items.join(&format!("{space},"));
    scalar().prop_recursive(3, 16, 4, move |inner| {
        let pair =
            (".{0,4}", any::<u64>(), space(), inner.clone()).prop_map(|(key, escape, space, value)| {
                format!("{space}{}{space}:{value}", written(&key, escape))
            });
        prop_oneof![
            (vec(inner, 0..4), space()).prop_map(join).prop_map(|items| format!("[{items}]")),
            (vec(pair, 0..4), space()).prop_map(join).prop_map(|pairs| format!("{{{pairs}}}")),
        ]
    })
}
