//! A look into a body that stays raw: whether it can be batched.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

use super::json::{depth, text};
use crate::dialect::{Problem, Unbatchable};

/// How deeply arrays and objects may be nested in a batched body. Common JSON parsers stop at 128 levels, and a line
/// of a batch wraps the body in some more.
const MAX_DEPTH: usize = 100;

/// What matters in the body of a `generateContent`, `streamGenerateContent` or `embedContent`.
#[derive(Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The `model` that the body names, without `models/`. The one in the path counts, and this one should be the same: a
    /// line of a batch would keep it.
    pub model: Option<Cow<'a, str>>,
    /// Why the call cannot be batched, if so.
    pub unbatchable: Option<Unbatchable>,
}

/// Checks that a body is one JSON object in UTF-8 and reads what matters. Names may be written in snake case too, as
/// Google's JSON allows. Where a name is repeated the last one counts.
///
/// # Errors
/// A [`Problem`] with status 400 in Google's words if it is not.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, Problem> {
    let json = std::str::from_utf8(body).map_err(|_| invalid("It is not UTF-8"))?;
    if json.starts_with('\u{feff}') {
        return Err(invalid("It begins with a byte order mark"));
    }
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|error| match error.classify() {
        // The only thing that is checked beyond syntax.
        Category::Data => invalid("Unknown name \"\": Root element must be a message"),
        _ => invalid(&error.to_string()),
    })?;
    let unbatchable = if fields.service_tier.is_some_and(|tier| !is_standard(tier)) {
        Some(Unbatchable::ServiceTier)
    } else {
        (depth(body) > MAX_DEPTH).then_some(Unbatchable::Depth)
    };
    Ok(Peek { model: fields.model.and_then(model), unbatchable })
}

/// Whether a tier is the one of a call that names none. Flex and priority are ways to be served at once, which a batch is
/// not (Gemini API guide, "Optimization"); a number is an enum's, whose meaning may be any.
fn is_standard(tier: &str) -> bool {
    let standard = |tier: Cow<'_, str>| {
        let tier = tier.to_ascii_lowercase();
        matches!(tier.strip_prefix("service_tier_").unwrap_or(&tier), "standard" | "unspecified")
    };
    tier == "null" || text(tier).is_some_and(standard)
}

fn model(raw: &str) -> Option<Cow<'_, str>> {
    Some(match text(raw)? {
        Cow::Borrowed(name) => Cow::Borrowed(name.strip_prefix("models/").unwrap_or(name)),
        Cow::Owned(name) => Cow::Owned(name.strip_prefix("models/").unwrap_or(&name).to_owned()),
    })
}

fn invalid(why: &str) -> Problem {
    Problem::invalid(format!("Invalid JSON payload received. {why}."))
}

/// The raw values of the fields that matter.
#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a str>,
    service_tier: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "camelCase")]
enum Name {
    Model,
    #[serde(alias = "service_tier")]
    ServiceTier,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
        let mut fields = Fields::default();
        while let Some(name) = map.next_key()? {
            let field = match name {
                Name::Model => &mut fields.model,
                Name::ServiceTier => &mut fields.service_tier,
                Name::Other => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *field = Some(map.next_value::<&RawValue>()?.get());
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
