//! What an answer's bytes say about its cost.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Length, Object, Unknown, text};
use crate::kind::Kind;
use crate::usage::{self, Message, Usage};

/// Whose words an answer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// OpenAI's chat completions, completions, responses, embeddings and images.
    OpenAi,
    /// Anthropic's messages.
    Anthropic,
    /// Google's generateContent and embedContent.
    Gemini,
}

/// What a successful answer says about its cost.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// The model that answered, more exactly than the caller named it perhaps.
    pub model: Option<String>,
    /// The tier that served it, in the provider's words; see [`Tier::served`](crate::Tier::served).
    pub service_tier: Option<String>,
    /// Whether it was made in the United States as the caller wished (Anthropic's `inference_geo`), which has its price.
    pub us: bool,
    /// Whether it was made in Anthropic's fast mode, which has its price.
    pub fast: bool,
    /// What was used.
    pub usage: Usage,
}

impl Answer {
    /// Reads the body of an answer, which is one JSON object; `None` where it says nothing about what was used, or nothing
    /// that can be relied on.
    ///
    /// The body is read over once and only what is about usage is decoded, and only where the dialect has it: what stands in a
    /// message is not looked at. It has to be whole.
    pub fn read(dialect: Dialect, body: &[u8]) -> Option<Self> {
        let members: Members<'_> = serde_json::from_slice(body).ok()?;
        let mut reading = Reading::new(dialect);
        reading.absorb(&members);
        reading.answer()
    }
}

/// The members of an answer, or of an event in one, that matter.
#[derive(Debug, Default)]
struct Members<'a> {
    model: Option<&'a str>,
    model_version: Option<&'a str>,
    service_tier: Option<&'a str>,
    usage: Option<&'a str>,
    usage_metadata: Option<&'a str>,
    svg_usage: Option<&'a str>,
    /// Whether it says what it is, as all objects of OpenAI's do but for images.
    object: bool,
    created: bool,
    data: Option<u64>,
    embedding: bool,
    embeddings: Option<u64>,
    /// What an event of a stream is about.
    response: Option<&'a str>,
    message: Option<&'a str>,
    groq: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(field_identifier)]
enum Key {
    #[serde(rename = "model")]
    Model,
    #[serde(rename = "modelVersion")]
    ModelVersion,
    #[serde(rename = "service_tier")]
    ServiceTier,
    #[serde(rename = "usage")]
    Usage,
    #[serde(rename = "usageMetadata")]
    UsageMetadata,
    #[serde(rename = "svg_usage")]
    SvgUsage,
    #[serde(rename = "object")]
    Object,
    #[serde(rename = "created")]
    Created,
    #[serde(rename = "data")]
    Data,
    #[serde(rename = "embedding")]
    Embedding,
    #[serde(rename = "embeddings")]
    Embeddings,
    #[serde(rename = "response")]
    Response,
    #[serde(rename = "message")]
    Message,
    #[serde(rename = "x_groq")]
    Groq,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
        let mut found = Members::default();
        while let Some(key) = map.next_key()? {
            match key {
                Key::Model => found.model = raw(&mut map)?,
                Key::ModelVersion => found.model_version = raw(&mut map)?,
                Key::ServiceTier => found.service_tier = raw(&mut map)?,
                Key::Usage => found.usage = raw(&mut map)?,
                Key::UsageMetadata => found.usage_metadata = raw(&mut map)?,
                Key::SvgUsage => found.svg_usage = raw(&mut map)?,
                Key::Object => found.object = raw(&mut map)?.is_some(),
                Key::Created => found.created = raw(&mut map)?.is_some(),
                Key::Data => found.data = map.next_value::<Length>()?.0,
                Key::Embedding => found.embedding = raw(&mut map)?.is_some(),
                Key::Embeddings => found.embeddings = map.next_value::<Length>()?.0,
                Key::Response => found.response = raw(&mut map)?,
                Key::Message => found.message = raw(&mut map)?,
                Key::Groq => found.groq = raw(&mut map)?,
                Key::Other => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// A value as it is written; `None` for `null`.
fn raw<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<&'de str>, A::Error> {
    Ok(Some(map.next_value::<&RawValue>()?.get()).filter(|value| *value != "null"))
}

/// What the parts of one answer have said so far.
#[derive(Debug)]
pub(crate) struct Reading {
    dialect: Dialect,
    model: Option<String>,
    service_tier: Option<String>,
    /// The last usage, where it has one.
    usage: Option<Result<Usage, Unknown>>,
    /// Anthropic's, which comes in parts.
    message: Message,
}

impl Reading {
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, model: None, service_tier: None, usage: None, message: Message::default() }
    }

    /// Takes in one event of a stream. What is no JSON object says nothing.
    pub fn event(&mut self, data: &[u8]) {
        let Ok(members) = serde_json::from_slice::<Members<'_>>(data) else { return };
        let inner = match self.dialect {
            Dialect::OpenAi => members.response.or(members.groq.filter(|_| members.usage.is_none())),
            Dialect::Anthropic => members.message,
            Dialect::Gemini => None,
        };
        match inner.map(serde_json::from_str) {
            Some(Ok(inner)) => self.absorb(&inner),
            Some(Err(_)) => {}
            None => self.absorb(&members),
        }
    }

    fn absorb(&mut self, members: &Members<'_>) {
        let model = match self.dialect {
            Dialect::Gemini => members.model_version,
            Dialect::OpenAi | Dialect::Anthropic => members.model,
        };
        self.model = model.and_then(text).or(self.model.take());
        match self.dialect {
            Dialect::OpenAi => self.openai(members),
            Dialect::Anthropic => self.anthropic(members),
            Dialect::Gemini => self.gemini(members),
        }
    }

    fn openai(&mut self, members: &Members<'_>) {
        let images = if members.object || !members.created { None } else { members.data };
        let embeddings = if members.object { members.data } else { None };
        let said = members.usage.map(|said| Object::parse(said).ok_or(Unknown));
        let in_usage = said.as_ref().and_then(|said| said.as_ref().ok()?.text("service_tier"));
        self.service_tier = members.service_tier.and_then(text).or(in_usage).or(self.service_tier.take());
        let read = match (said, images) {
            // Drawings that are written by another model, whose usage is counted apart.
            _ if members.svg_usage.is_some() => Err(Unknown),
            (Some(said), _) => said.and_then(|said| usage::openai(&said, images.is_some())),
            (None, Some(_)) => Ok(Usage::default()),
            (None, None) => return,
        };
        self.usage = Some(read.map(|mut read| {
            read.embeddings = embeddings.unwrap_or(0);
            read.with(Kind::Image, images.unwrap_or(0))
        }));
    }

    fn anthropic(&mut self, members: &Members<'_>) {
        let Some(said) = members.usage else { return };
        self.message.absorb(Object::parse(said).ok_or(Unknown));
        self.service_tier.clone_from(&self.message.tier);
        self.usage = Some(self.message.usage());
    }

    fn gemini(&mut self, members: &Members<'_>) {
        let Some(said) = members.usage_metadata else { return };
        let said = Object::parse(said).ok_or(Unknown);
        let tier = said.as_ref().ok().and_then(|said| said.text("serviceTier"));
        self.service_tier = tier.or(self.service_tier.take());
        let embeddings = members.embeddings.unwrap_or(members.embedding.into());
        let mut read = said.and_then(|said| usage::gemini(&said));
        if let Ok(usage) = &mut read {
            usage.embeddings = embeddings;
        }
        self.usage = Some(read);
    }

    /// All that was said, if it can be relied on.
    pub fn answer(self) -> Option<Answer> {
        let usage = self.usage?.ok()?;
        let Self { model, service_tier, message, .. } = self;
        Some(Answer { model, service_tier, us: message.us, fast: message.fast, usage })
    }
}
