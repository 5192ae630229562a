//! Reading JSON without rebuilding it: an object's members stay raw text, whatever they hold.
//!
//! Numbers of any size, duplicate names (the last one counts) and lone surrogates are accepted, as the provider does.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The objects of a list as lines of a file; None if it is not a list.
pub(crate) fn inline_lines(raw: &RawValue) -> Option<Bytes> {
    let mut lines = Vec::with_capacity(raw.get().len());
    for item in list(raw)? {
        // Within a string a line's end is escaped; elsewhere it is white space.
        lines.extend(item.get().bytes().map(|byte| if byte == b'\n' { b' ' } else { byte }));
        lines.push(b'\n');
    }
    Some(lines.into())
}

/// The JSON type of a raw value, in the words of the provider's messages.
pub(crate) fn type_name(raw: &RawValue) -> &'static str {
    match raw.get().as_bytes().first() {
        Some(b'"') => "a string",
        Some(b'[') => "an array of objects",
        Some(b'{') => "an object",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ if raw.get().contains(['.', 'e', 'E']) => "a decimal",
        _ => "an integer",
    }
}

/// Text of a JSON string; a lone surrogate becomes U+FFFD.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub Cow<'a, str>);

impl<'de> Deserialize<'de> for Text<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(String::from_utf8_lossy(bytes)))
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }
        }
        // Bytes, since serde_json refuses lone surrogates only where it must make a `str`.
        deserializer.deserialize_bytes(TextVisitor)
    }
}

/// The members of an object in their order, values raw.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a>(Vec<(Text<'a>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads an object; None when the text is not exactly one JSON object.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// All members with their names, as they came.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.0.iter().map(|(name, value)| (&*name.0, *value))
    }

    /// The last member of that name, null included.
    pub(crate) fn get_any(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(member, _)| member.0 == name).map(|(_, value)| *value)
    }

    /// The last member of that name, unless it is null.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.get_any(name).filter(|value| value.get() != "null")
    }

    /// The member as text, if it is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// The names of all members, in their order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| &*name.0)
    }

    /// Whether the member is `true`.
    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.get() == "true")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(8);
                while let Some(member) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    members.push(member);
                }
                Ok(Fields(members))
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// A raw value as text, if it is a string.
pub(crate) fn text(raw: &RawValue) -> Option<Cow<'_, str>> {
    raw.get()
        .starts_with('"')
        .then(|| serde_json::from_str::<Text<'_>>(raw.get()).ok())
        .flatten()
        .map(|text| text.0)
}

/// A raw value as a list of raw values, if it is an array.
pub(crate) fn list(raw: &RawValue) -> Option<Vec<&RawValue>> {
    raw.get().starts_with('[').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

/// A raw value as an object, if it is one.
pub(crate) fn object(raw: &RawValue) -> Option<Fields<'_>> {
    raw.get().starts_with('{').then(|| Fields::parse(raw.get())).flatten()
}

/// A raw value as an integer, if it is one that fits.
pub(crate) fn integer(raw: &RawValue) -> Option<i64> {
    raw.get().parse().ok()
}

/// A raw value as a number, if it is one. Exponents beyond `f64` become infinite.
pub(crate) fn number(raw: &RawValue) -> Option<f64> {
    raw.get().parse().ok().filter(|_| raw.get().starts_with(|c: char| c == '-' || c.is_ascii_digit()))
}

/// How many elements an array has, without keeping them; None when it is not an array.
pub(crate) fn array_len(raw: &RawValue) -> Option<usize> {
    struct Count(usize);
    impl<'de> Deserialize<'de> for Count {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct CountVisitor;
            impl<'de> Visitor<'de> for CountVisitor {
                type Value = Count;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an array")
                }
                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                    let mut count = 0;
                    while seq.next_element::<IgnoredAny>()?.is_some() {
                        count += 1;
                    }
                    Ok(Count(count))
                }
            }
            deserializer.deserialize_seq(CountVisitor)
        }
    }
    raw.get()
        .starts_with('[')
        .then(|| serde_json::from_str::<Count>(raw.get()).ok())
        .flatten()
        .map(|count| count.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_but_legal_json_is_read() {
        let body = r#"{"a":1e999,"a":123456789012345678901234567890,"s":"\ud800x","né":[1, 2 ,{}],"z":null}"#;
        let fields = Fields::parse(body).unwrap();
        assert_eq!(fields.get("a").unwrap().get(), "123456789012345678901234567890");
        assert_eq!(fields.text("s").unwrap(), "\u{fffd}\u{fffd}\u{fffd}x");
        assert_eq!(array_len(fields.get("né").unwrap()), Some(3));
        assert!(fields.get("z").is_none() && fields.get_any("z").is_some());
        assert_eq!(number(fields.get("a").unwrap()), Some(123456789012345678901234567890.0));
    }

    #[test]
    fn broken_json_is_not() {
        for text in ["", "[]", "{", "{}{}", "{'a':1}", r#"{"a":01}"#, r#"{"a":1,}"#, "{\"a\":\"\n\"}"] {
            assert!(Fields::parse(text).is_none(), "{text}");
        }
    }
}
