//! JSON that is broken somewhere: what of it can still be told apart. Used only where a document cannot be parsed.
//!
//! Elements are cut by quotes and brackets alone, so that one that is no JSON does not take the others with it. Whoever reads an
//! element parses it as it is: what the cutting got wrong is not JSON, since quotes within an answer are escaped.

use serde_json::{Deserializer, Value};

/// How deep objects may lie within each other of which a part is kept; results lie three deep.
const DEPTH: u32 = 8;

/// The value at the end of a path of members, whole or not.
pub(crate) fn at<'a>(object: &'a [u8], path: &[&str]) -> Option<&'a [u8]> {
    path.iter().try_fold(object, |object, name| {
        let mut members = pieces(object, b'{')?.into_iter().filter_map(|piece| member(piece.text));
        members.find_map(|(key, value)| (key == *name).then_some(value))
    })
}

/// The elements of a list, those that are broken among them.
pub(crate) fn elements(list: &[u8]) -> Option<Vec<&[u8]>> {
    Some(pieces(list, b'[')?.into_iter().map(|piece| piece.text).collect())
}

/// An object as far as it is certain: its members before the one that is broken. Of that one, an object is kept in the same
/// way, and a list as an empty one. `None` if nothing is certain.
pub(crate) fn outline(object: &[u8]) -> Option<Value> {
    certain(object, DEPTH).filter(|value| value != &Value::Object(Default::default()))
}

fn certain(object: &[u8], depth: u32) -> Option<Value> {
    let mut kept = serde_json::Map::new();
    for piece in pieces(object, b'{')? {
        let Some((key, value)) = member(piece.text) else { break };
        match serde_json::from_slice(value) {
            // A number may have lost its last digits with what is missing.
            Ok(whole) if piece.ended => drop(kept.insert(key, whole)),
            _ => {
                let part = match value.first() {
                    Some(b'{') if depth > 0 => certain(value, depth - 1),
                    Some(b'[') => Some(Value::Array(Vec::new())),
                    _ => None,
                };
                kept.extend(part.map(|part| (key, part)));
                break;
            }
        }
    }
    Some(Value::Object(kept))
}

/// The key and the value of a member.
fn member(piece: &[u8]) -> Option<(String, &[u8])> {
    let mut keys = Deserializer::from_slice(piece).into_iter::<String>();
    let key = keys.next()?.ok()?;
    let rest = piece.get(keys.byte_offset()..)?.trim_ascii_start().strip_prefix(b":")?;
    Some((key, rest.trim_ascii()))
}

struct Piece<'a> {
    text: &'a [u8],
    /// Whether something follows it, or its container's end.
    ended: bool,
}

/// What stands between the commas of an object or a list, as `open` says.
fn pieces(text: &[u8], open: u8) -> Option<Vec<Piece<'_>>> {
    let inner = text.trim_ascii().strip_prefix(&[open])?;
    let (mut pieces, mut start) = (Vec::new(), 0);
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for (at, byte) in inner.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth > 0 => depth -= 1,
            b',' | b'}' | b']' if depth == 0 => {
                pieces.push(Piece { text: inner[start..at].trim_ascii(), ended: true });
                start = at + 1;
                if *byte != b',' {
                    return Some(pieces);
                }
            }
            _ => {}
        }
    }
    pieces.push(Piece { text: inner[start..].trim_ascii(), ended: false });
    Some(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(list: &str) -> Vec<&str> {
        let elements = elements(list.as_bytes()).unwrap();
        elements.into_iter().map(|element| std::str::from_utf8(element).unwrap()).collect()
    }

    #[test]
    fn a_broken_element_leaves_the_others() {
        let list = r#" [ {"a":"],\"{"} , {"n":NaN,"l":[1,2]}, nonsense, {"b":[{}]}]"#;
        assert_eq!(texts(list), [r#"{"a":"],\"{"}"#, r#"{"n":NaN,"l":[1,2]}"#, "nonsense", r#"{"b":[{}]}"#]);
        assert_eq!(texts(r#"[{"a":1},{"b":"cut"#), [r#"{"a":1}"#, r#"{"b":"cut"#]);
        assert_eq!(texts("[1,2]]]],3"), ["1", "2"]);
        assert!(elements(b"<html>").is_none() && elements(b"").is_none() && elements(b"{}").is_none());
    }

    #[test]
    fn members_are_found_on_both_sides_of_what_is_broken() {
        let page = br#"{ "a" : {"list":[{"x":NaN}]} , "token" : "t" }"#;
        assert_eq!(at(page, &["a", "list"]), Some(&br#"[{"x":NaN}]"#[..]));
        assert_eq!(at(page, &["token"]), Some(&br#""t""#[..]));
        assert_eq!((at(page, &["token", "x"]), at(page, &["none"])), (None, None));
    }

    #[test]
    fn an_outline_ends_where_certainty_does() {
        let certain = |text: &str| outline(text.as_bytes()).unwrap();
        let job = r#"{"id":"b","meta":{"n":3,"out":{"list":[{},{"x":"},"status":"failed"}"#;
        assert_eq!(certain(job), json!({"id": "b", "meta": {"n": 3, "out": {"list": []}}}));
        assert_eq!(certain(r#"{"a":1,"b":NaN,"c":2}"#), json!({"a": 1}));
        assert_eq!(certain(r#"{"a":1,"total":12"#), json!({"a": 1}));
        assert_eq!(certain(r#"{"a":1,b:2,"c":3}"#), json!({"a": 1}));
        assert!(outline(b"<html>").is_none() && outline(b"[1]").is_none());
        // Not as deep as it goes.
        let deep = "{\"a\":".repeat(100_000);
        assert!(outline(deep.as_bytes()).is_some());
    }
}
