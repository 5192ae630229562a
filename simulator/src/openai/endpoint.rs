//! The endpoints that a batch may name, and the models that exist.

/// An endpoint that answers synchronously and in batches (`OpenAI` API specification, `POST /batches`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `/v1/responses`
    Responses,
    /// `/v1/chat/completions`
    ChatCompletions,
    /// `/v1/embeddings`
    Embeddings,
    /// `/v1/completions`
    Completions,
    /// `/v1/moderations`
    Moderations,
    /// `/v1/images/generations`
    ImagesGenerations,
    /// `/v1/images/edits`
    ImagesEdits,
    /// `/v1/videos`
    Videos,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Endpoint; 8] = [
        Endpoint::Responses,
        Endpoint::ChatCompletions,
        Endpoint::Embeddings,
        Endpoint::Completions,
        Endpoint::Moderations,
        Endpoint::ImagesGenerations,
        Endpoint::ImagesEdits,
        Endpoint::Videos,
    ];

    /// Every endpoint's path.
    pub const PATHS: [&str; 8] = [
        "/v1/responses",
        "/v1/chat/completions",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/moderations",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/videos",
    ];

    /// The path, with `/v1`.
    pub fn path(self) -> &'static str {
        Self::PATHS[self as usize]
    }

    /// The endpoint with exactly this path.
    pub fn of(path: &str) -> Option<Self> {
        Self::PATHS.iter().position(|known| *known == path).map(|index| Self::ALL[index])
    }

    /// The model that is used when the body names none, where the API allows that.
    pub fn default_model(self) -> Option<&'static str> {
        match self {
            Endpoint::Moderations => Some("omni-moderation-latest"),
            Endpoint::ImagesGenerations | Endpoint::ImagesEdits => Some("gpt-image-1"),
            Endpoint::Videos => Some("sora-2"),
            _ => None,
        }
    }
}

/// Ids that `GET /models` lists.
pub(crate) const LISTED_MODELS: [&str; 20] = [
    "gpt-3.5-turbo",
    "gpt-3.5-turbo-instruct",
    "gpt-4o",
    "gpt-4o-2024-08-06",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-image-1",
    "o3",
    "o4-mini",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "text-embedding-ada-002",
    "omni-moderation-latest",
    "dall-e-3",
    "davinci-002",
    "babbage-002",
    "sora-2",
];

/// Whether a model id exists: the families of the list above, and fine-tuned models of them (`ft:gpt-4o:...`).
pub(crate) fn model_exists(id: &str) -> bool {
    const FAMILIES: [&str; 8] = [
        "gpt-",
        "text-embedding-",
        "omni-moderation-",
        "text-moderation-",
        "dall-e-",
        "davinci",
        "babbage",
        "sora-",
    ];
    let id = id.strip_prefix("ft:").unwrap_or(id);
    let reasoning = id.strip_prefix('o').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    !id.ends_with("-missing") && (reasoning || FAMILIES.iter().any(|family| id.starts_with(family)))
}

/// Whether a model can be used in batches. Ids with `realtime`, `audio` or `nobatch` in them cannot.
pub(crate) fn model_batches(id: &str) -> bool {
    !["realtime", "audio", "nobatch"].iter().any(|word| id.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_models() {
        for endpoint in Endpoint::ALL {
            assert_eq!(Endpoint::of(endpoint.path()), Some(endpoint));
        }
        assert!(LISTED_MODELS.iter().all(|id| model_exists(id)));
        assert!(model_exists("o1-preview") && model_exists("ft:gpt-4o:me::1"));
        assert!(!model_exists("olive") && !model_exists("claude-3") && !model_exists("gpt-missing"));
        assert!(model_batches("gpt-4o") && !model_batches("gpt-4o-realtime-preview"));
    }
}
