//! One message's body: checked as the provider would, never rebuilt.
//!
//! Which fields there are is from the types of Anthropic's own SDK; the wording of errors follows what the API says.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::error::ApiError;
use crate::json::{self, Fields};
use crate::magic::Magic;
use crate::text::last_user_text;

/// What a call's headers change about its body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dialect {
    /// `anthropic-version: 2026-10-21`, which refuses what 2023-06-01 allowed.
    pub newer: bool,
    /// Some `anthropic-beta`: fields of beta features are known.
    pub beta: bool,
    /// The beta `output-300k-2026-03-24`.
    pub long_output: bool,
}

/// How a body arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// `POST /v1/messages`
    Sync,
    /// `params` in a batch.
    Batch,
    /// `POST /v1/messages/count_tokens`
    Count,
}

/// A body that passed all checks.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The model it names.
    pub model: Cow<'a, str>,
    /// The text that the answer is derived from.
    pub text: String,
    /// What that text asks of the simulator.
    pub magic: Magic,
    /// Most tokens of the answer; 0 only warms the cache.
    pub max_tokens: i64,
    /// The prompt's size in tokens: a quarter of the bytes of its messages, system and tools.
    pub input_tokens: u64,
    /// Whether the caller wants server-sent events.
    pub stream: bool,
}

/// Most output tokens of any model here.
const MAX_OUTPUT: i64 = 128_000;

/// Most output tokens with the beta for it, in batches only.
const MAX_LONG_OUTPUT: i64 = 300_000;

const FIELDS: [&str; 21] = [
    "cache_control",
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "output_config",
    "service_tier",
    "speed",
    "stop_sequences",
    "stream",
    "system",
    "temperature",
    "thinking",
    "tool_choice",
    "tools",
    "top_k",
    "top_p",
    "user_profile_id",
];

const BETA_FIELDS: [&str; 13] = [
    "billing_policy",
    "cache_hint",
    "compaction",
    "context_hint",
    "context_management",
    "fallback_credit_token",
    "fallbacks",
    "mcp_servers",
    "output_format",
    "previous_thread_event_id",
    "research_preview_2026_02",
    "store",
    "thread",
];

/// Fields that count nothing.
const NOT_COUNTED: [&str; 10] = [
    "container",
    "diagnostics",
    "inference_geo",
    "max_tokens",
    "metadata",
    "service_tier",
    "stop_sequences",
    "stream",
    "top_k",
    "top_p",
];

/// Fields that no batch takes, whatever their value.
const NOT_BATCHED: [&str; 5] = ["cache_hint", "context_hint", "previous_thread_event_id", "speed", "store"];

/// Whether a model id exists.
pub(crate) fn model_exists(id: &str) -> bool {
    id.starts_with("claude-") && !id.ends_with("-missing")
}

impl<'a> Request<'a> {
    /// Checks a body.
    pub(crate) fn check(fields: &Fields<'a>, dialect: Dialect, way: Way) -> Result<Self, ApiError> {
        check_names(fields, dialect, way)?;
        let model = fields.get("model").ok_or_else(|| ApiError::missing("model"))?;
        let model = json::text(model).ok_or_else(|| not_a("model", "string"))?;
        if !model_exists(&model) {
            return Err(ApiError::no_model(&model));
        }
        let max_tokens = max_tokens(fields, dialect, way, &model)?;
        let stream = match fields.get("stream").map(RawValue::get) {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(not_a("stream", "boolean")),
        };
        if way == Way::Batch {
            check_batched(fields, stream, max_tokens, &model)?;
        }
        check_settings(fields, dialect, max_tokens)?;
        let text = check_messages(fields, dialect)?;
        let prompt =
            ["messages", "system", "tools"].map(|name| fields.get(name).map_or(0, |raw| raw.get().len()));
        let input_tokens = (prompt.iter().sum::<usize>() as u64 / 4).max(1);
        let magic = Magic::of(&text);
        Ok(Self { model, text, magic, max_tokens, input_tokens, stream })
    }
}

fn not_a(field: &str, kind: &str) -> ApiError {
    ApiError::invalid(format!("{field}: Input should be a valid {kind}"))
}

fn check_names(fields: &Fields<'_>, dialect: Dialect, way: Way) -> Result<(), ApiError> {
    let known = |name: &str| {
        let counted = way != Way::Count || !NOT_COUNTED.contains(&name);
        counted && (FIELDS.contains(&name) || (dialect.beta && BETA_FIELDS.contains(&name)))
    };
    fields.names().find(|name| !known(name)).map_or(Ok(()), |name| Err(ApiError::extra(name)))
}

fn max_tokens(fields: &Fields<'_>, dialect: Dialect, way: Way, model: &str) -> Result<i64, ApiError> {
    if way == Way::Count {
        return Ok(MAX_OUTPUT);
    }
    let raw = fields.get("max_tokens").ok_or_else(|| ApiError::missing("max_tokens"))?;
    let asked = json::integer(raw).ok_or_else(|| not_a("max_tokens", "integer"))?;
    let most = if way == Way::Batch && dialect.long_output { MAX_LONG_OUTPUT } else { MAX_OUTPUT };
    if asked < 0 {
        return Err(ApiError::invalid("max_tokens: Input should be greater than or equal to 0"));
    }
    if asked > most {
        let message = format!(
            "max_tokens: {asked} > {most}, which is the maximum allowed number of output tokens for {model}"
        );
        return Err(ApiError::invalid(message));
    }
    Ok(asked)
}

/// What a batch refuses and a plain call takes.
fn check_batched(fields: &Fields<'_>, stream: bool, max_tokens: i64, model: &str) -> Result<(), ApiError> {
    if stream {
        return Err(ApiError::invalid("stream: Streaming is not supported in batches"));
    }
    if max_tokens == 0 {
        return Err(ApiError::invalid("max_tokens: Input should be greater than or equal to 1 in batches"));
    }
    if model.contains("nobatch") {
        return Err(ApiError::invalid(format!("model: {model} is not available in batches")));
    }
    let preview = fields.text("research_preview_2026_02").is_some_and(|value| value == "active");
    let refused = NOT_BATCHED.into_iter().find(|name| fields.get(name).is_some());
    match refused.or(preview.then_some("research_preview_2026_02")) {
        Some(name) => Err(ApiError::invalid(format!("{name}: Not supported in batches"))),
        None => Ok(()),
    }
}

/// Checks everything but the messages, the model and the number of tokens.
fn check_settings(fields: &Fields<'_>, dialect: Dialect, max_tokens: i64) -> Result<(), ApiError> {
    for (name, most) in [("temperature", 1.0), ("top_p", 1.0), ("top_k", f64::INFINITY)] {
        let Some(raw) = fields.get(name) else { continue };
        if dialect.newer {
            return Err(ApiError::invalid(format!("{name}: Not supported by anthropic-version 2026-10-21")));
        }
        let value = json::number(raw).ok_or_else(|| not_a(name, "number"))?;
        if value < 0.0 || value > most {
            let bound = if value < 0.0 { "greater than or equal to 0" } else { "less than or equal to 1" };
            return Err(ApiError::invalid(format!("{name}: Input should be {bound}")));
        }
    }
    match fields.get("service_tier").map(RawValue::get) {
        None | Some("\"auto\"" | "\"standard_only\"") => {}
        Some(_) => return Err(ApiError::invalid("service_tier: Input should be 'auto' or 'standard_only'")),
    }
    if let Some(raw) = fields.get("stop_sequences") {
        let items = json::list(raw).ok_or_else(|| not_a("stop_sequences", "list"))?;
        if items.into_iter().any(|item| json::text(item).is_none()) {
            return Err(not_a("stop_sequences.0", "string"));
        }
    }
    match fields.get("system") {
        Some(raw) if !raw.get().starts_with(['"', '[']) => return Err(not_a("system", "string")),
        Some(raw) => {
            json::list(raw).map_or(Ok(()), |blocks| check_blocks("system", blocks, "system", dialect))?
        }
        None => {}
    }
    check_thinking(fields, max_tokens)?;
    check_tools(fields)
}

fn check_thinking(fields: &Fields<'_>, max_tokens: i64) -> Result<(), ApiError> {
    let Some(raw) = fields.get("thinking") else { return Ok(()) };
    let thinking = json::object(raw).ok_or_else(|| not_a("thinking", "dictionary"))?;
    match thinking.text("type").as_deref() {
        Some("adaptive" | "disabled") => Ok(()),
        Some("enabled") => {
            let budget = thinking.get("budget_tokens").and_then(json::integer);
            match budget.ok_or_else(|| ApiError::missing("thinking.enabled.budget_tokens"))? {
                ..1024 => {
                    let message =
                        "thinking.enabled.budget_tokens: Input should be greater than or equal to 1024";
                    Err(ApiError::invalid(message))
                }
                budget if budget >= max_tokens => {
                    Err(ApiError::invalid("`max_tokens` must be greater than `thinking.budget_tokens`"))
                }
                _ => Ok(()),
            }
        }
        _ => Err(ApiError::invalid("thinking: Input tag should be 'adaptive', 'disabled' or 'enabled'")),
    }
}

/// Tools of the caller's own need a name and a schema; the provider's need a type.
fn check_tools(fields: &Fields<'_>) -> Result<(), ApiError> {
    let Some(raw) = fields.get("tools") else { return Ok(()) };
    for (index, raw) in json::list(raw).ok_or_else(|| not_a("tools", "list"))?.into_iter().enumerate() {
        let place = format!("tools.{index}");
        let tool = json::object(raw).ok_or_else(|| not_a(&place, "dictionary"))?;
        if tool.text("type").is_some_and(|kind| kind != "custom") {
            continue;
        }
        for field in ["name", "input_schema"] {
            if tool.get(field).is_none() {
                return Err(ApiError::missing(&format!("{place}.custom.{field}")));
            }
        }
    }
    Ok(())
}

/// Checks the messages and returns the text of the last one of the user.
fn check_messages(fields: &Fields<'_>, dialect: Dialect) -> Result<String, ApiError> {
    let raw = fields.get("messages").ok_or_else(|| ApiError::missing("messages"))?;
    let items = json::list(raw).ok_or_else(|| not_a("messages", "list"))?;
    if items.is_empty() {
        return Err(ApiError::invalid("messages: at least one message is required"));
    }
    let mut messages = Vec::with_capacity(items.len());
    for (index, raw) in items.into_iter().enumerate() {
        let place = format!("messages.{index}");
        let message = json::object(raw).ok_or_else(|| not_a(&place, "dictionary"))?;
        check_message(&place, &message, dialect)?;
        messages.push(message);
    }
    if messages[0].text("role").is_some_and(|role| role != "user") {
        return Err(ApiError::invalid("messages: first message must use the \"user\" role"));
    }
    Ok(last_user_text(&messages))
}

fn check_message(place: &str, message: &Fields<'_>, dialect: Dialect) -> Result<(), ApiError> {
    if let Some(name) = message.names().find(|name| !["role", "content"].contains(name)) {
        return Err(ApiError::extra(&format!("{place}.{name}")));
    }
    let role = message.get("role").ok_or_else(|| ApiError::missing(&format!("{place}.role")))?;
    let role =
        json::text(role).filter(|role| ["user", "assistant", "system"].contains(&role.as_ref())).ok_or_else(
            || ApiError::invalid(format!("{place}.role: Input should be 'user', 'assistant' or 'system'")),
        )?;
    let content = message.get("content").ok_or_else(|| ApiError::missing(&format!("{place}.content")))?;
    if let Some(text) = json::text(content) {
        return if text.is_empty() && role == "user" {
            Err(ApiError::invalid(format!("{place}: user messages must have non-empty content")))
        } else {
            Ok(())
        };
    }
    let blocks = json::list(content).ok_or_else(|| not_a(&format!("{place}.content"), "list"))?;
    if blocks.is_empty() && role == "user" {
        return Err(ApiError::invalid(format!("{place}: user messages must have non-empty content")));
    }
    check_blocks(&format!("{place}.content"), blocks, &role, dialect)
}

fn check_blocks(place: &str, blocks: Vec<&RawValue>, role: &str, dialect: Dialect) -> Result<(), ApiError> {
    for (index, raw) in blocks.into_iter().enumerate() {
        let place = format!("{place}.{index}");
        let block = json::object(raw).ok_or_else(|| not_a(&place, "dictionary"))?;
        let kind = block.text("type").ok_or_else(|| ApiError::missing(&format!("{place}.type")))?;
        if kind == "text" {
            let text = block.text("text").ok_or_else(|| ApiError::missing(&format!("{place}.text.text")))?;
            if text.is_empty() {
                return Err(ApiError::invalid("messages: text content blocks must be non-empty"));
            }
        }
        if !dialect.newer {
            continue;
        }
        let cites = block.get("citations").is_some_and(|raw| json::array_len(raw) != Some(0));
        let refused = match (&*kind, role) {
            ("document", "assistant") => Some("document blocks in assistant turns"),
            ("text", "user") if cites => Some("citations on text blocks of the user"),
            _ => None,
        };
        if let Some(what) = refused {
            let message = format!("{place}: anthropic-version 2026-10-21 does not support {what}");
            return Err(ApiError::invalid(message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Dialect = Dialect { newer: false, beta: false, long_output: false };
    const NEW: Dialect = Dialect { newer: true, beta: false, long_output: false };

    fn body(extra: &str) -> String {
        format!(
            r#"{{"model":"claude-x","max_tokens":9,"messages":[{{"role":"user","content":"echo:a"}}]{extra}}}"#
        )
    }

    fn outcome(body: &str, dialect: Dialect, way: Way) -> Result<i64, String> {
        let fields = Fields::parse(body).unwrap();
        let request = Request::check(&fields, dialect, way);
        request
            .map(|request| request.max_tokens)
            .map_err(|error| error.message.split([':', ' ']).next().unwrap_or_default().to_owned())
    }

    fn refused(body: &str) -> String {
        outcome(body, OLD, Way::Sync).expect_err(body)
    }

    #[test]
    fn fields_are_checked() {
        assert_eq!(outcome(&body(""), OLD, Way::Sync), Ok(9));
        for (extra, field) in [
            (r#","foo":1"#, "foo"),
            (r#","store":true"#, "store"),
            (r#","temperature":2"#, "temperature"),
            (r#","top_k":-1"#, "top_k"),
            (r#","stream":1"#, "stream"),
            (r#","service_tier":"flex""#, "service_tier"),
            (r#","system":7"#, "system"),
            (r#","stop_sequences":"x""#, "stop_sequences"),
            (r#","max_tokens":1.5"#, "max_tokens"),
            (r#","max_tokens":128001"#, "max_tokens"),
            (r#","thinking":{"type":"enabled","budget_tokens":5}"#, "thinking.enabled.budget_tokens"),
            (r#","tools":[{"name":"x"}]"#, "tools.0.custom.input_schema"),
        ] {
            assert_eq!(refused(&body(extra)), field);
        }
        assert_eq!(refused(r#"{"max_tokens":1,"messages":[]}"#), "model");
        assert_eq!(refused(r#"{"model":"claude-x","messages":[]}"#), "max_tokens");
        assert_eq!(refused(r#"{"model":"claude-x","max_tokens":1}"#), "messages");
    }

    #[test]
    fn messages_are_checked() {
        for (messages, field) in [
            ("[]", "messages"),
            ("{}", "messages"),
            ("[1]", "messages.0"),
            (r#"[{"content":"x"}]"#, "messages.0.role"),
            (r#"[{"role":"tool","content":"x"}]"#, "messages.0.role"),
            (r#"[{"role":"user"}]"#, "messages.0.content"),
            (r#"[{"role":"user","content":""}]"#, "messages.0"),
            (r#"[{"role":"user","content":"x","name":"y"}]"#, "messages.0.name"),
            (r#"[{"role":"user","content":[{"text":"x"}]}]"#, "messages.0.content.0.type"),
            (r#"[{"role":"assistant","content":"x"}]"#, "messages"),
            (r#"[{"role":"system","content":"x"}]"#, "messages"),
        ] {
            let body = format!(r#"{{"model":"claude-x","max_tokens":9,"messages":{messages}}}"#);
            assert_eq!(refused(&body), field, "{messages}");
        }
    }

    #[test]
    fn versions_and_ways_differ() {
        let warm = body(r#","max_tokens":0"#);
        assert_eq!(outcome(&warm, OLD, Way::Sync), Ok(0));
        assert_eq!(outcome(&warm, OLD, Way::Batch), Err("max_tokens".into()));
        assert_eq!(outcome(&body(r#","stream":true"#), OLD, Way::Batch), Err("stream".into()));
        assert_eq!(outcome(&body(r#","speed":"fast""#), OLD, Way::Batch), Err("speed".into()));
        let long = Dialect { beta: true, long_output: true, ..OLD };
        assert_eq!(outcome(&body(r#","max_tokens":300000"#), long, Way::Batch), Ok(300_000));
        assert_eq!(outcome(&body(r#","max_tokens":300000"#), long, Way::Sync), Err("max_tokens".into()));
        assert_eq!(outcome(&body(r#","store":true"#), long, Way::Batch), Err("store".into()));
        for name in ["temperature", "top_p", "top_k"] {
            let body = body(&format!(r#","{name}":1"#));
            assert_eq!(outcome(&body, OLD, Way::Sync), Ok(9));
            assert_eq!(outcome(&body, NEW, Way::Sync), Err(name.into()));
        }
        let cited = r#"{"model":"claude-x","max_tokens":9,"messages":[{"role":"user","content":
            [{"type":"text","text":"x","citations":[{}]}]}]}"#;
        assert_eq!(outcome(cited, OLD, Way::Sync), Ok(9));
        assert_eq!(outcome(cited, NEW, Way::Sync), Err("messages.0.content.0".into()));
        assert_eq!(outcome(&body(""), OLD, Way::Count), Err("max_tokens".into()));
    }
}
