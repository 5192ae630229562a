//! What can be asked of a model, and the models that exist.

use serde_json::{Value, json};

use super::error::ApiError;

/// What a request wants of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Task {
    /// `GenerateContentRequest`
    Generate,
    /// `EmbedContentRequest`
    Embed,
}

impl Task {
    /// The method that answers one such request; the ledger's endpoint, whether in a batch or not.
    pub fn method(self) -> &'static str {
        match self {
            Task::Generate => "generateContent",
            Task::Embed => "embedContent",
        }
    }

    /// The method that creates a batch of such requests.
    pub fn batch_method(self) -> &'static str {
        match self {
            Task::Generate => "batchGenerateContent",
            Task::Embed => "asyncBatchEmbedContent",
        }
    }
}

/// The word behind the colon of `models/{m}:{method}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Method {
    Generate,
    Stream,
    Embed,
    EmbedMany,
    CountTokens,
    CreateGenerate,
    CreateEmbed,
}

const METHODS: [(&str, Method); 7] = [
    ("generateContent", Method::Generate),
    ("streamGenerateContent", Method::Stream),
    ("embedContent", Method::Embed),
    ("batchEmbedContents", Method::EmbedMany),
    ("countTokens", Method::CountTokens),
    ("batchGenerateContent", Method::CreateGenerate),
    ("asyncBatchEmbedContent", Method::CreateEmbed),
];

impl Method {
    /// The method of that name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        METHODS.iter().find(|(known, _)| *known == name).map(|(_, method)| *method)
    }
}

/// Ids that `GET /models` lists.
const LISTED: [&str; 9] = [
    "gemini-2.0-flash",
    "gemini-2.5-flash",
    "gemini-2.5-flash-lite",
    "gemini-2.5-pro",
    "gemini-3-flash-preview",
    "gemini-3-pro-preview",
    "gemma-3-27b-it",
    "gemini-embedding-001",
    "text-embedding-004",
];

fn embeds(id: &str) -> bool {
    id.contains("embedding")
}

/// Whether a model id exists: the families of the list above.
fn exists(id: &str) -> bool {
    const FAMILIES: [&str; 4] = ["gemini-", "gemma-", "text-embedding-", "embedding-"];
    let plain = id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    plain && !id.ends_with("-missing") && FAMILIES.iter().any(|family| id.starts_with(family))
}

/// The methods that a model knows. Ids with `nobatch` or `live` in them know no batches.
fn methods(id: &str) -> Vec<&'static str> {
    let batches = !["nobatch", "live"].iter().any(|word| id.contains(word));
    let all = METHODS.iter().filter(|(_, method)| match method {
        Method::Generate | Method::Stream => !embeds(id),
        Method::Embed | Method::EmbedMany => embeds(id),
        Method::CountTokens => true,
        Method::CreateGenerate => !embeds(id) && batches,
        Method::CreateEmbed => embeds(id) && batches,
    });
    all.map(|(name, _)| *name).collect()
}

/// Checks that a model exists and knows a method.
pub(crate) fn check(version: &str, id: &str, method: &str) -> Result<(), ApiError> {
    if exists(id) && methods(id).contains(&method) {
        return Ok(());
    }
    let message = format!(
        "models/{id} is not found for API version {version}, or is not supported for {method}. Call ListModels to see \
         the list of available models and their supported methods."
    );
    Err(ApiError::new(404, message))
}

/// `GET /models`: a page that begins at a number.
pub(crate) fn list(from: usize, size: usize) -> Value {
    let models: Vec<Value> = LISTED.iter().skip(from).take(size).map(|id| view(id)).collect();
    let mut list = json!({ "models": models });
    if from + size < LISTED.len() {
        list["nextPageToken"] = json!((from + size).to_string());
    }
    list
}

/// `GET /models/{m}`.
pub(crate) fn one(id: &str) -> Result<Value, ApiError> {
    if exists(id) {
        Ok(view(id))
    } else {
        Err(ApiError::new(404, format!("Model is not found: models/{id}")))
    }
}

fn view(id: &str) -> Value {
    json!({
        "name": format!("models/{id}"),
        "version": "001",
        "displayName": id,
        "description": "A simulated model.",
        "inputTokenLimit": 1_048_576,
        "outputTokenLimit": 65_536,
        "supportedGenerationMethods": methods(id),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_know_their_methods() {
        assert!(LISTED.iter().all(|id| exists(id)));
        for (id, method, known) in [
            ("gemini-2.5-flash", "generateContent", true),
            ("gemini-2.5-flash", "embedContent", false),
            ("gemini-embedding-001", "asyncBatchEmbedContent", true),
            ("gemini-embedding-001", "generateContent", false),
            ("gemini-nobatch", "generateContent", true),
            ("gemini-nobatch", "batchGenerateContent", false),
            ("gemini-missing", "generateContent", false),
            ("gpt-4o", "generateContent", false),
            ("gemini-\"x", "generateContent", false),
        ] {
            assert_eq!(check("v1", id, method).is_ok(), known, "{id} {method}");
        }
    }

    #[test]
    fn models_come_in_pages() {
        let first = list(0, 5);
        let second = list(5, 5);
        assert_eq!((&first["nextPageToken"], &second["nextPageToken"]), (&json!("5"), &Value::Null));
        let count = |page: &Value| page["models"].as_array().map(Vec::len);
        assert_eq!((count(&first), count(&second)), (Some(5), Some(4)));
    }
}
