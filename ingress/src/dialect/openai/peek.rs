//! A look into a body that stays raw: its model, and whether it can be batched.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::dialect::json::{depth, text};
use crate::dialect::{MAX_DEPTH, MAX_MODEL, Problem, Unbatchable};

/// What matters in a body. Where a key is repeated the last one counts, as in most JSON parsers.
#[derive(Debug, PartialEq, Eq)]
pub struct Peek<'a> {
    /// The model; `None` when there is none, or `null`.
    pub model: Option<Cow<'a, str>>,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a stored prompt is used, which may bring its own model.
    pub has_prompt: bool,
    /// Why the call cannot be batched, if so.
    pub unbatchable: Option<Unbatchable>,
    input: Option<&'a str>,
}

impl Peek<'_> {
    /// Embedding inputs: the length of an array of strings or of token arrays, else 1. Reads the input once more.
    pub fn inputs(&self) -> u32 {
        let Some(rest) = self.input.and_then(|input| input.strip_prefix('[')) else { return 1 };
        match rest.trim_ascii_start().as_bytes().first() {
            Some(b'"' | b'[') => {
                serde_json::from_str(self.input.unwrap_or_default()).map_or(1, |Length(n)| n.max(1))
            }
            _ => 1,
        }
    }
}

/// Checks that a body is one JSON object in UTF-8 and reads what matters.
///
/// # Errors
/// A [`Problem`] with status 400 in OpenAI's words if it is not, or if the model is empty or no string.
pub fn peek(body: &[u8]) -> Result<Peek<'_>, Problem> {
    read(body, None)
}

/// The same for a call whose path names the model. Whatever the body names does not count then: Azure's examples have an empty
/// string, others the name that the model has elsewhere.
pub(super) fn peek_beside<'a>(model: &str, body: &'a [u8]) -> Result<Peek<'a>, Problem> {
    read(body, Some(model))
}

fn read<'a>(body: &'a [u8], model: Option<&str>) -> Result<Peek<'a>, Problem> {
    let json = std::str::from_utf8(body).map_err(|_| unparsable("it is not UTF-8"))?;
    if json.starts_with('\u{feff}') {
        return Err(unparsable("it begins with a byte order mark"));
    }
    let fields: Fields<'_> = serde_json::from_str(json).map_err(|error| match error.classify() {
        // The only thing that is checked beyond syntax.
        serde_json::error::Category::Data => {
            Problem::invalid("The body of your request must be a JSON object.")
        }
        _ => unparsable(&error.to_string()),
    })?;
    let model = match (model, fields.model) {
        (Some(model), _) => Some(model.to_owned().into()),
        (None, None | Some("null")) => None,
        (None, Some(model)) => {
            Some(text(model).filter(|model| !model.trim().is_empty()).ok_or_else(no_model)?)
        }
    };
    let unbatchable = fields.unbatchable().or_else(|| {
        let long = model.as_ref().is_some_and(|model| model.len() > MAX_MODEL);
        long.then_some(Unbatchable::LongModel)
            .or_else(|| (depth(body) > MAX_DEPTH).then_some(Unbatchable::Depth))
    });
    let has_prompt = fields.prompt.is_some_and(|prompt| prompt != "null");
    Ok(Peek { model, stream: fields.stream == Some("true"), has_prompt, unbatchable, input: fields.input })
}

/// The answer to a body without a model, as OpenAI words it.
pub(crate) fn no_model() -> Problem {
    Problem::invalid("you must provide a model parameter")
}

fn unparsable(why: &str) -> Problem {
    Problem::invalid(format!("We could not parse the JSON body of your request: {why}."))
}

/// The raw values of the fields that matter; none is decoded in the pass over the body, so that no number is too big.
#[derive(Default)]
struct Fields<'a> {
    model: Option<&'a str>,
    stream: Option<&'a str>,
    input: Option<&'a str>,
    prompt: Option<&'a str>,
    background: Option<&'a str>,
    conversation: Option<&'a str>,
    previous_response_id: Option<&'a str>,
    service_tier: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum Name {
    Model,
    Stream,
    Input,
    Prompt,
    Background,
    Conversation,
    PreviousResponseId,
    ServiceTier,
    #[serde(other)]
    Other,
}

impl Fields<'_> {
    fn unbatchable(&self) -> Option<Unbatchable> {
        let given = |field: Option<&str>| field.is_some_and(|value| value != "null");
        let tier = self.service_tier.and_then(text);
        // `on_demand` is what Groq calls its default; LangChain's ChatGroq always says it.
        if self.background == Some("true") {
            Some(Unbatchable::Background)
        } else if given(self.conversation) {
            Some(Unbatchable::Conversation)
        } else if given(self.previous_response_id) {
            Some(Unbatchable::PreviousResponse)
        } else if tier.is_some_and(|tier| !matches!(&*tier, "auto" | "default" | "on_demand")) {
            Some(Unbatchable::ServiceTier)
        } else {
            None
        }
    }
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
                Name::Stream => &mut fields.stream,
                Name::Input => &mut fields.input,
                Name::Prompt => &mut fields.prompt,
                Name::Background => &mut fields.background,
                Name::Conversation => &mut fields.conversation,
                Name::PreviousResponseId => &mut fields.previous_response_id,
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

/// Counts the elements of an array.
struct Length(u32);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(LengthVisitor)
    }
}

struct LengthVisitor;

impl<'de> Visitor<'de> for LengthVisitor {
    type Value = Length;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Length, A::Error> {
        let mut length = 0_u32;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            length = length.saturating_add(1);
        }
        Ok(Length(length))
    }
}

#[cfg(test)]
mod tests;
