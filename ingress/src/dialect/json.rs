//! JSON taken apart without being decoded: keys and values stay the slices that they are in the text.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// One member of an object.
#[derive(Debug)]
pub(crate) struct Member<'a> {
    /// The decoded key; empty if it cannot be decoded, as a lone surrogate cannot.
    pub key: Cow<'a, str>,
    /// The key as it is written, with its quotes.
    pub raw_key: &'a str,
    /// The value as it is written.
    pub value: &'a str,
}

/// An object's members in the order of the text, repeated keys included.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<Member<'a>>);

impl<'a> Object<'a> {
    /// `None` if the text is not one JSON object.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of the last member with this key.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().rfind(|member| member.key == key).map(|member| member.value)
    }

    /// As [`get`](Self::get), and only if the value is a string; with its quotes.
    pub fn string(&self, key: &str) -> Option<&'a str> {
        self.get(key).filter(|value| is_string(value))
    }

    pub fn iter(&self) -> std::slice::Iter<'_, Member<'a>> {
        self.0.iter()
    }
}

impl<'de> Deserialize<'de> for Object<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = map.next_key::<&RawValue>()? {
            let raw_key = key.get();
            let key = match raw_key.get(1..raw_key.len().saturating_sub(1)).unwrap_or_default() {
                plain if !plain.contains('\\') => Cow::Borrowed(plain),
                _ => serde_json::from_str::<String>(raw_key).map_or(Cow::Borrowed(""), Cow::Owned),
            };
            members.push(Member { key, raw_key, value: map.next_value::<&RawValue>()?.get() });
        }
        Ok(Object(members))
    }
}

/// The elements of an array as they are written; `None` for anything else.
pub(crate) fn array(text: &str) -> Option<Vec<&str>> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(elements.into_iter().map(RawValue::get).collect())
}

/// The members of all elements of an array of objects; `None` for anything else.
pub(crate) fn objects(text: &str) -> Option<Vec<Object<'_>>> {
    serde_json::from_str(text).ok()
}

/// Whether a valid JSON value is a string.
pub(crate) fn is_string(raw: &str) -> bool {
    raw.starts_with('"')
}

/// A text as a JSON string.
pub(crate) fn quoted(text: &str) -> String {
    // A string always serialises.
    serde_json::to_string(text).unwrap_or_default()
}

/// A JSON string's content; `None` for any other value, and for a string that cannot be decoded.
pub(crate) fn text(raw: &str) -> Option<Cow<'_, str>> {
    match raw.strip_prefix('"')?.strip_suffix('"')? {
        plain if !plain.contains('\\') => Some(Cow::Borrowed(plain)),
        _ => serde_json::from_str(raw).ok().map(Cow::Owned),
    }
}

/// The deepest nesting of a valid JSON text.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = json;
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        match byte {
            b'"' => rest = after_string(tail),
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// What follows the string whose opening quote was just read.
fn after_string(mut rest: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
        if rest[at] == b'"' {
            return &rest[at + 1..];
        }
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    &[]
}

#[cfg(test)]
pub(crate) mod arbitrary;
