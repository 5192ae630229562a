//! A look into a body that stays raw: its model, whether it can be batched, and what would certainly be refused.
//!
//! A batch checks its requests only when it runs, so that a mistake would be told after hours.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::dialect::json::{depth, text};
use crate::dialect::{MAX_DEPTH, MAX_MODEL, Problem, Unbatchable};

/// What matters in a body. Where a key is repeated the last one counts, as in most JSON parsers.
#[derive(Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The model; empty only where the call is to be relayed.
    pub model: Cow<'a, str>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Why the call cannot be batched, if so.
    pub unbatchable: Option<Unbatchable>,
}

/// Checks that a body is one JSON object in UTF-8, and that it has a model, a limit of tokens and messages, if it can be
/// batched. Nothing else of a request is certain to be wrong.
///
/// # Errors
/// A [`Problem`] with status 400 in Anthropic's words if it is not so.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, Problem> {
    let json = std::str::from_utf8(body).map_err(|_| unparsable("it is not UTF-8"))?;
    if json.starts_with('\u{feff}') {
        return Err(unparsable("it begins with a byte order mark"));
    }
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|error| match error.classify() {
        // The only thing that is checked beyond syntax.
        serde_json::error::Category::Data => Problem::invalid("Input should be a valid dictionary"),
        _ => unparsable(&error.to_string()),
    })?;
    let stream = fields.stream == Some("true");
    let model = fields.model.and_then(text);
    let long = model.as_ref().is_some_and(|model| model.len() > MAX_MODEL).then_some(Unbatchable::LongModel);
    let deep = || (depth(body) > MAX_DEPTH).then_some(Unbatchable::Depth);
    let unbatchable = fields.unbatchable().or(long).or_else(deep);
    if unbatchable.is_none() {
        fields.check()?;
    }
    Ok(Peek { model: model.unwrap_or_default(), stream, unbatchable })
}

fn unparsable(why: &str) -> Problem {
    Problem::invalid(format!("The request body is not valid JSON: {why}"))
}

/// The raw values of the fields that matter; none is decoded in the pass over the body, so that no number is too big.
#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a str>,
    stream: Option<&'a str>,
    max_tokens: Option<&'a str>,
    messages: Option<&'a str>,
    service_tier: Option<&'a str>,
    research_preview: Option<&'a str>,
    /// The first of [`REFUSED`] that has a value, by its place there.
    refused: Option<usize>,
}

/// Members that a batch refuses, whatever their value (API documentation, "Batch processing"). The last two pairs are how
/// threads are continued and what the cache is told.
const REFUSED: [&str; 5] = ["speed", "store", "previous_thread_event_id", "cache_hint", "context_hint"];
/// Refused if it is `active`.
const RESEARCH_PREVIEW: &str = "research_preview_2026_02";

impl<'a> Fields<'a> {
    fn unbatchable(&self) -> Option<Unbatchable> {
        let tier = self.service_tier.and_then(text);
        if let Some(name) = self.refused.and_then(|at| REFUSED.get(at)) {
            Some(Unbatchable::Member(name))
        } else if tier.is_some_and(|tier| !matches!(&*tier, "auto" | "standard_only")) {
            Some(Unbatchable::ServiceTier)
        } else if self.research_preview.and_then(text).as_deref() == Some("active") {
            Some(Unbatchable::Member(RESEARCH_PREVIEW))
        } else if self.max_tokens.is_some_and(|max| matches!(max, "0" | "-0")) {
            // Only warms the cache, which is done at once or is of no use.
            Some(Unbatchable::Member("max_tokens"))
        } else {
            None
        }
    }

    /// What a request certainly needs. Numbers that are written in an odd way are left to the provider.
    fn check(&self) -> Result<(), Problem> {
        let wrong = |why: &str| Err(Problem::invalid(why));
        match self.model {
            None => return wrong("model: Field required"),
            Some(model) if !model.starts_with('"') => return wrong("model: Input should be a valid string"),
            Some(model) if text(model).is_none_or(|model| model.trim().is_empty()) => {
                return wrong("model: String should have at least 1 character");
            }
            Some(_) => {}
        }
        match self.max_tokens {
            None => return wrong("max_tokens: Field required"),
            Some(max) if max.starts_with('-') => {
                return wrong("max_tokens: Input should be greater than or equal to 1");
            }
            Some(max) if !max.starts_with(|first: char| first.is_ascii_digit()) => {
                return wrong("max_tokens: Input should be a valid integer");
            }
            Some(_) => {}
        }
        match self.messages {
            None => wrong("messages: Field required"),
            Some(messages) if !messages.starts_with('[') => wrong("messages: Input should be a valid list"),
            Some(_) => Ok(()),
        }
    }

    fn set(&mut self, name: Name, value: &'a str) {
        let refused = match name {
            Name::Model => return self.model = Some(value),
            Name::Stream => return self.stream = Some(value),
            Name::MaxTokens => return self.max_tokens = Some(value),
            Name::Messages => return self.messages = Some(value),
            Name::ServiceTier => return self.service_tier = Some(value),
            Name::ResearchPreview => return self.research_preview = Some(value),
            Name::Speed => 0,
            Name::Store => 1,
            Name::PreviousThreadEventId => 2,
            Name::CacheHint => 3,
            Name::ContextHint => 4,
            Name::Other => return,
        };
        if value != "null" {
            self.refused = Some(self.refused.map_or(refused, |known| known.min(refused)));
        }
    }
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Model,
    Stream,
    MaxTokens,
    Messages,
    ServiceTier,
    Speed,
    Store,
    PreviousThreadEventId,
    CacheHint,
    ContextHint,
    #[serde(rename = "research_preview_2026_02")]
    ResearchPreview,
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
            if matches!(name, Name::Other) {
                map.next_value::<IgnoredAny>()?;
            } else {
                fields.set(name, map.next_value::<&RawValue>()?.get());
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests;
