//! Takes members out of a body that stays raw.
//!
//! The edit is one of raw bytes: everything else in the body, white space, odd numbers and repeated keys included,
//! stays as the caller wrote it.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A body without any top-level member of these names, however a name is written and however often it is there; borrowed
/// where it had none. What is no JSON object in UTF-8 comes back as it is.
pub(crate) fn strip<'a>(body: &'a [u8], names: &[&str]) -> Cow<'a, [u8]> {
    let unchanged = Cow::Borrowed(body);
    let Some(members) = std::str::from_utf8(body).ok().and_then(|text| members(text, names)) else {
        return unchanged;
    };
    let (Some(first), Some(last)) = (members.first(), members.last()) else { return unchanged };
    if members.iter().all(|member| member.kept) {
        return unchanged;
    }
    let mut stripped = Vec::with_capacity(body.len());
    stripped.extend_from_slice(&body[..first.start]);
    let (mut before, mut any) = (first.start, false);
    for member in &members {
        if member.kept {
            // The separator that stood before this member, unless it is the first one now.
            let start = if any { before } else { member.start };
            stripped.extend_from_slice(&body[start..member.end]);
            any = true;
        }
        before = member.end;
    }
    stripped.extend_from_slice(&body[last.end..]);
    Cow::Owned(stripped)
}

/// Where a member stands in the body, in bytes.
struct Span {
    kept: bool,
    start: usize,
    end: usize,
}

fn members(text: &str, names: &[&str]) -> Option<Vec<Span>> {
    let mut parser = serde_json::Deserializer::from_str(text);
    let members = parser.deserialize_map(Spans(text, names)).ok()?;
    parser.end().ok()?;
    Some(members)
}

struct Spans<'a>(&'a str, &'a [&'a str]);

impl<'de> Visitor<'de> for Spans<'de> {
    type Value = Vec<Span>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let Self(text, names) = self;
        // Both are slices of the same text, so that the distance of their addresses is an offset.
        let offset = |part: &str| (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let mut spans = Vec::new();
        while let Some(key) = map.next_key::<&RawValue>()? {
            let value = map.next_value::<&RawValue>()?.get();
            let kept = !names.contains(&&*name(key.get()));
            spans.push(Span { kept, start: offset(key.get()), end: offset(value) + value.len() });
        }
        Ok(spans)
    }
}

/// A key without its quotes. One that no decoder accepts, a lone surrogate for one, is none of ours.
fn name(raw: &str) -> Cow<'_, str> {
    match raw.trim_matches('"') {
        plain if !plain.contains('\\') => Cow::Borrowed(plain),
        _ => serde_json::from_str::<String>(raw).map_or(Cow::Borrowed(""), Cow::Owned),
    }
}

/// A body with a member of text in front, in place of all of its name. What is no object stays as it is.
pub(crate) fn with_member(body: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut body = strip(body, &[name]).into_owned();
    let Some(start) = body.iter().position(|byte| !byte.is_ascii_whitespace()).filter(|at| body[*at] == b'{')
    else {
        return body;
    };
    let empty = body[start + 1..].iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'}');
    let member = format!("\"{name}\":\"{value}\"{}", if empty { "" } else { "," });
    body.splice(start + 1..start + 1, member.into_bytes());
    body
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_takes_the_place_of_all_of_its_name() {
        let with = |body: &str| String::from_utf8(with_member(body.as_bytes(), "t", "x")).unwrap();
        assert_eq!(with(r#"{"a":1e999}"#), r#"{"t":"x","a":1e999}"#);
        assert_eq!(with(" {\n }"), " {\"t\":\"x\"\n }");
        assert_eq!(with(r#"{"t":"y","a":{"t":1},"\u0074":null}"#), r#"{"t":"x","a":{"t":1}}"#);
        assert_eq!(with("[1]"), "[1]");
    }
}
