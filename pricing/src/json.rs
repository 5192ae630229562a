//! Small JSON objects taken apart without being decoded, and numbers that are what they say.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Something is there that is not what it ought to be, so nothing can be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unknown;

/// An object's members as they are written.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(Vec<(Cow<'a, str>, &'a str)>);

impl<'a> Object<'a> {
    /// `None` if the text is no JSON object.
    pub fn parse(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The value of the last member with this key; `None` if there is none or it is `null`.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().rfind(|(name, _)| name == key);
        found.map(|(_, value)| *value).filter(|value| *value != "null")
    }

    /// A count that may be absent.
    ///
    /// # Errors
    /// [`Unknown`] for anything but a whole number from 0 to `u64::MAX`.
    pub fn count(&self, key: &str) -> Result<Option<u64>, Unknown> {
        self.get(key).map(|value| value.parse().map_err(|_| Unknown)).transpose()
    }

    /// An object, empty if it is absent.
    ///
    /// # Errors
    /// [`Unknown`] for anything else.
    pub fn object(&self, key: &str) -> Result<Self, Unknown> {
        self.get(key).map_or(Ok(Self::default()), |value| Self::parse(value).ok_or(Unknown))
    }

    /// A list of objects, empty if it is absent.
    ///
    /// # Errors
    /// [`Unknown`] for anything else.
    pub fn objects(&self, key: &str) -> Result<Vec<Self>, Unknown> {
        self.get(key).map_or(Ok(Vec::new()), |value| serde_json::from_str(value).map_err(|_| Unknown))
    }

    /// A text; `None` if it is absent or anything else.
    pub fn text(&self, key: &str) -> Option<String> {
        self.get(key).and_then(text)
    }
}

/// A JSON string's content; `None` for any other value.
pub(crate) fn text(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
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
        while let Some(Name(key)) = map.next_key()? {
            members.push((key, map.next_value::<&RawValue>()?.get()));
        }
        Ok(Object(members))
    }
}

/// A key, borrowed where it is written plainly.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;

        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(NameVisitor)
    }
}

/// How many elements an array has; `None` for any other value.
pub(crate) struct Length(pub Option<u64>);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LengthVisitor).map(Self)
    }
}

struct LengthVisitor;

impl<'de> Visitor<'de> for LengthVisitor {
    type Value = Option<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut length = 0;
        while elements.next_element::<IgnoredAny>()?.is_some() {
            length += 1;
        }
        Ok(Some(length))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
