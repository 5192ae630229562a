//! The fields of the requests that are understood (Google's API reference and its official SDKs).

use super::schema::{Kind, Message};

use Kind::{Bool, Integer, Many, Number, Object, Text};

/// `GenerateContentRequest`.
pub(crate) static GENERATE: Message = Message(&[
    ("model", Text),
    ("contents", Many(&Kind::Message(&CONTENT))),
    ("systemInstruction", Kind::Message(&CONTENT)),
    ("tools", Many(&Kind::Message(&TOOL))),
    ("toolConfig", Kind::Message(&TOOL_CONFIG)),
    ("safetySettings", Many(&Kind::Message(&SAFETY))),
    ("generationConfig", Kind::Message(&GENERATION_CONFIG)),
    ("cachedContent", Text),
    ("serviceTier", Text),
    ("store", Bool),
    ("labels", Object),
    ("continuationToken", Text),
]);

/// `EmbedContentRequest`.
pub(crate) static EMBED: Message = Message(&[
    ("model", Text),
    ("content", Kind::Message(&CONTENT)),
    ("taskType", Text),
    ("title", Text),
    ("outputDimensionality", Integer),
    ("embedContentConfig", Object),
]);

/// `BatchEmbedContentsRequest`.
pub(crate) static EMBED_MANY: Message = Message(&[("requests", Many(&Kind::Message(&EMBED)))]);

/// `CountTokensRequest`.
pub(crate) static COUNT: Message = Message(&[
    ("model", Text),
    ("contents", Many(&Kind::Message(&CONTENT))),
    ("generateContentRequest", Kind::Message(&GENERATE)),
]);

/// `BatchGenerateContentRequest`.
pub(crate) static CREATE_GENERATE: Message =
    Message(&[("model", Text), ("batch", Kind::Message(&GENERATE_BATCH))]);

/// `AsyncBatchEmbedContentRequest`.
pub(crate) static CREATE_EMBED: Message = Message(&[("model", Text), ("batch", Kind::Message(&EMBED_BATCH))]);

/// A file's description in the body that starts its upload.
pub(crate) static UPLOAD: Message = Message(&[("file", Kind::Message(&FILE))]);

static CONTENT: Message = Message(&[("parts", Many(&Kind::Message(&PART))), ("role", Text)]);

static PART: Message = Message(&[
    ("text", Text),
    ("inlineData", Kind::Message(&BLOB)),
    ("fileData", Kind::Message(&FILE_DATA)),
    ("functionCall", Kind::Message(&FUNCTION_CALL)),
    ("functionResponse", Kind::Message(&FUNCTION_RESPONSE)),
    ("executableCode", Object),
    ("codeExecutionResult", Object),
    ("thought", Bool),
    ("thoughtSignature", Text),
    ("videoMetadata", Object),
    ("mediaResolution", Object),
    ("toolCall", Object),
    ("toolResponse", Object),
    ("partMetadata", Object),
    ("audioTranscription", Object),
    ("mediaProcessing", Text),
    ("speechMetadata", Object),
    ("documentMetadata", Object),
    ("spreadsheetMetadata", Object),
    ("audioMetadata", Object),
]);

static BLOB: Message = Message(&[("mimeType", Text), ("data", Text), ("displayName", Text)]);

static FILE_DATA: Message = Message(&[("mimeType", Text), ("fileUri", Text), ("displayName", Text)]);

static FUNCTION_CALL: Message = Message(&[("id", Text), ("name", Text), ("args", Object)]);

static FUNCTION_RESPONSE: Message = Message(&[
    ("id", Text),
    ("name", Text),
    ("response", Object),
    ("parts", Many(&Object)),
    ("willContinue", Bool),
    ("scheduling", Text),
]);

static TOOL: Message = Message(&[
    ("functionDeclarations", Many(&Kind::Message(&FUNCTION))),
    ("googleSearch", Object),
    ("googleSearchRetrieval", Object),
    ("codeExecution", Object),
    ("urlContext", Object),
    ("computerUse", Object),
    ("fileSearch", Object),
    ("googleMaps", Object),
    ("mcpServers", Many(&Object)),
]);

static FUNCTION: Message = Message(&[
    ("name", Text),
    ("description", Text),
    ("parameters", Object),
    ("parametersJsonSchema", Object),
    ("response", Object),
    ("responseJsonSchema", Object),
    ("behavior", Text),
]);

static TOOL_CONFIG: Message = Message(&[
    ("functionCallingConfig", Kind::Message(&FUNCTION_CALLING)),
    ("retrievalConfig", Object),
    ("includeServerSideToolInvocations", Bool),
]);

static FUNCTION_CALLING: Message = Message(&[("mode", Text), ("allowedFunctionNames", Many(&Text))]);

static SAFETY: Message = Message(&[("category", Text), ("threshold", Text)]);

static GENERATION_CONFIG: Message = Message(&[
    ("temperature", Number),
    ("topP", Number),
    ("topK", Integer),
    ("candidateCount", Integer),
    ("maxOutputTokens", Integer),
    ("stopSequences", Many(&Text)),
    ("presencePenalty", Number),
    ("frequencyPenalty", Number),
    ("seed", Integer),
    ("responseMimeType", Text),
    ("responseSchema", Object),
    ("responseJsonSchema", Object),
    ("responseFormat", Object),
    ("responseLogprobs", Bool),
    ("logprobs", Integer),
    ("responseModalities", Many(&Text)),
    ("mediaResolution", Text),
    ("speechConfig", Object),
    ("thinkingConfig", Kind::Message(&THINKING)),
    ("imageConfig", Object),
    ("enableEnhancedCivicAnswers", Bool),
    ("audioTranscriptionConfig", Object),
]);

static THINKING: Message =
    Message(&[("includeThoughts", Bool), ("thinkingBudget", Integer), ("thinkingLevel", Text)]);

static GENERATE_BATCH: Message = Message(&[
    ("name", Text),
    ("model", Text),
    ("displayName", Text),
    ("inputConfig", Kind::Message(&GENERATE_INPUT)),
    ("priority", Integer),
    ("webhookConfig", Object),
]);

static GENERATE_INPUT: Message =
    Message(&[("requests", Kind::Message(&GENERATE_INLINE)), ("fileName", Text)]);

static GENERATE_INLINE: Message = Message(&[("requests", Many(&Kind::Message(&GENERATE_ITEM)))]);

static GENERATE_ITEM: Message = Message(&[("request", Kind::Message(&GENERATE)), ("metadata", Object)]);

static EMBED_BATCH: Message = Message(&[
    ("name", Text),
    ("model", Text),
    ("displayName", Text),
    ("inputConfig", Kind::Message(&EMBED_INPUT)),
    ("priority", Integer),
    ("webhookConfig", Object),
]);

static EMBED_INPUT: Message = Message(&[("requests", Kind::Message(&EMBED_INLINE)), ("fileName", Text)]);

static EMBED_INLINE: Message = Message(&[("requests", Many(&Kind::Message(&EMBED_ITEM)))]);

static EMBED_ITEM: Message = Message(&[("request", Kind::Message(&EMBED)), ("metadata", Object)]);

static FILE: Message = Message(&[
    ("name", Text),
    ("displayName", Text),
    ("mimeType", Text),
    ("sizeBytes", Integer),
    ("uri", Text),
]);
