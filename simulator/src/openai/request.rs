//! One call's body: checked as the provider would, never rebuilt.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::endpoint::Endpoint;
use super::error::ApiError;
use crate::json::{self, Fields};
use crate::magic::Magic;
use crate::text::{last_user_text, spoken};

/// A body that passed the checks of its endpoint.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// Where it was sent.
    pub endpoint: Endpoint,
    /// The model it names, or the endpoint's default.
    pub model: Cow<'a, str>,
    /// The text that the answer is derived from.
    pub text: String,
    /// What that text asks of the simulator.
    pub magic: Magic,
    /// Raw inputs of an embeddings call; one element otherwise.
    pub inputs: Vec<Cow<'a, str>>,
    /// How many answers are wanted (`n`).
    pub n: usize,
    /// The prompt's size in tokens: a quarter of the body's bytes.
    pub input_tokens: u64,
    /// All members of the body.
    pub fields: Fields<'a>,
}

/// Reads the model out of a body's members.
pub(crate) fn model_of<'a>(endpoint: Endpoint, fields: &Fields<'a>) -> Result<Cow<'a, str>, ApiError> {
    match (fields.get("model"), endpoint.default_model()) {
        (Some(raw), _) => {
            json::text(raw).ok_or_else(|| ApiError::wrong_type("model", "a string", json::type_name(raw)))
        }
        (None, Some(default)) => Ok(default.into()),
        (None, None) => Err(ApiError::missing("model")),
    }
}

impl<'a> Request<'a> {
    /// Checks a body of `bytes` bytes whose model was read before.
    pub(crate) fn check(
        endpoint: Endpoint,
        model: Cow<'a, str>,
        fields: Fields<'a>,
        bytes: usize,
    ) -> Result<Self, ApiError> {
        let mut inputs = Vec::new();
        let text = match endpoint {
            Endpoint::ChatCompletions => chat_text(&fields)?,
            Endpoint::Responses => responses_text(&fields)?,
            Endpoint::Embeddings => {
                inputs = embedding_inputs(&fields)?;
                inputs[0].to_string()
            }
            Endpoint::Completions => any_text(&fields, "prompt", false)?,
            Endpoint::Moderations => any_text(&fields, "input", true)?,
            Endpoint::ImagesGenerations | Endpoint::ImagesEdits | Endpoint::Videos => {
                any_text(&fields, "prompt", true)?
            }
        };
        check_numbers(&fields)?;
        let n = fields.get("n").and_then(json::integer).unwrap_or(1).clamp(1, 128) as usize;
        let (magic, input_tokens) = (Magic::of(&text), (bytes as u64 / 4).max(1));
        Ok(Self { endpoint, model, text, magic, inputs, n, input_tokens, fields })
    }

    /// Whether the caller wants server-sent events.
    pub(crate) fn stream(&self) -> bool {
        self.fields.is_true("stream")
    }

    /// The `service_tier` that was asked for.
    pub(crate) fn service_tier(&self) -> Option<Cow<'a, str>> {
        self.fields.text("service_tier")
    }
}

fn chat_text(fields: &Fields<'_>) -> Result<String, ApiError> {
    const ROLES: [&str; 6] = ["system", "assistant", "user", "function", "tool", "developer"];
    let raw = fields.get("messages").ok_or_else(|| ApiError::missing("messages"))?;
    let messages = objects("messages", raw)?;
    if messages.is_empty() {
        return Err(empty_array("messages"));
    }
    for (index, message) in messages.iter().enumerate() {
        let param = format!("messages[{index}].role");
        let role = message.text("role").ok_or_else(|| ApiError::missing(&param))?;
        if !ROLES.contains(&role.as_ref()) {
            return Err(ApiError::unsupported_value(&param, &role, &ROLES));
        }
        let param = format!("messages[{index}].content");
        match message.get("content") {
            None if matches!(role.as_ref(), "assistant" | "function") => {}
            None => {
                let message = format!("Invalid value for '{param}': expected a string, got null.");
                return Err(ApiError::invalid(message, &param, "invalid_type"));
            }
            Some(raw) if raw.get().starts_with(['"', '[']) => {}
            Some(raw) => {
                let got = json::type_name(raw);
                return Err(ApiError::wrong_type(&param, "one of a string or array of objects", got));
            }
        }
    }
    Ok(last_user_text(&messages))
}

fn responses_text(fields: &Fields<'_>) -> Result<String, ApiError> {
    match fields.get("input") {
        None if fields.get("prompt").is_some() => Ok(String::new()),
        None => Err(ApiError::missing("input")),
        Some(raw) if raw.get().starts_with('"') => Ok(json::text(raw).unwrap_or_default().into_owned()),
        Some(raw) if raw.get().starts_with('[') => {
            let items = objects("input", raw)?;
            if items.is_empty() { Err(empty_array("input")) } else { Ok(last_user_text(&items)) }
        }
        Some(raw) => {
            let expected = "one of a string or an array of objects";
            Err(ApiError::wrong_type("input", expected, json::type_name(raw)))
        }
    }
}

fn any_text(fields: &Fields<'_>, name: &str, required: bool) -> Result<String, ApiError> {
    match fields.get(name) {
        None if required => Err(ApiError::missing(name)),
        None => Ok(String::new()),
        Some(raw) if raw.get().starts_with(['"', '[']) => Ok(spoken(raw)),
        Some(raw) => Err(ApiError::wrong_type(name, "one of a string or an array", json::type_name(raw))),
    }
}

/// The inputs of an embeddings call: a string, strings, token numbers, or lists of token numbers.
fn embedding_inputs<'a>(fields: &Fields<'a>) -> Result<Vec<Cow<'a, str>>, ApiError> {
    let raw = fields.get("input").ok_or_else(|| ApiError::missing("input"))?;
    if let Some(text) = json::text(raw) {
        return if text.is_empty() { Err(bad_input()) } else { Ok(vec![text]) };
    }
    let items = json::list(raw).ok_or_else(bad_input)?;
    let kind = items.first().and_then(|item| item.get().chars().next()).ok_or_else(bad_input)?;
    if kind.is_ascii_digit() {
        let tokens = items.iter().all(|item| json::integer(item).is_some());
        return if tokens { Ok(vec![raw.get().into()]) } else { Err(bad_input()) };
    }
    if items.len() > 2048 {
        let message = "Invalid 'input': array too long. Expected an array with maximum length 2048.";
        return Err(ApiError::invalid(message, "input", "array_above_max_length"));
    }
    let inputs = items.into_iter().map(|item| match kind {
        '"' => json::text(item).filter(|text| !text.is_empty()),
        '[' => json::array_len(item).filter(|&len| len > 0).map(|_| item.get().into()),
        _ => None,
    });
    inputs.collect::<Option<Vec<_>>>().ok_or_else(bad_input)
}

fn bad_input() -> ApiError {
    ApiError::invalid(
        "'$.input' is invalid. Please check the API reference: https://platform.openai.com/docs/api-reference.",
        "",
        "",
    )
}

fn empty_array(param: &str) -> ApiError {
    let message = format!(
        "Invalid '{param}': empty array. Expected an array with minimum length 1, but got an empty array instead."
    );
    ApiError::invalid(message, param, "empty_array")
}

fn objects<'a>(param: &str, raw: &'a RawValue) -> Result<Vec<Fields<'a>>, ApiError> {
    let wrong = |raw: &RawValue| ApiError::wrong_type(param, "an array of objects", json::type_name(raw));
    let items = json::list(raw).ok_or_else(|| wrong(raw))?;
    let read = |(index, item): (usize, &'a RawValue)| {
        json::object(item).ok_or_else(|| {
            ApiError::wrong_type(&format!("{param}[{index}]"), "an object", json::type_name(item))
        })
    };
    items.into_iter().enumerate().map(read).collect()
}

/// Checks the types and ranges of numbers and flags that most endpoints share.
fn check_numbers(fields: &Fields<'_>) -> Result<(), ApiError> {
    for (name, low, high) in
        [("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0), ("frequency_penalty", -2.0, 2.0)]
    {
        let Some(raw) = fields.get(name) else { continue };
        let value =
            json::number(raw).ok_or_else(|| ApiError::wrong_type(name, "a decimal", json::type_name(raw)))?;
        let (bound, word, sign) =
            if value < low { (low, "below_min", ">=") } else { (high, "above_max", "<=") };
        if value < low || value > high {
            let text = word.replace('_', " ").replace("max", "maximum").replace("min", "minimum");
            let message = format!(
                "Invalid '{name}': decimal {text} value. Expected a value {sign} {bound}, but got {value} instead."
            );
            return Err(ApiError::invalid(message, name, &format!("decimal_{word}_value")));
        }
    }
    for name in ["n", "max_tokens", "max_completion_tokens", "max_output_tokens", "dimensions"] {
        let Some(raw) = fields.get(name) else { continue };
        let value = json::integer(raw)
            .ok_or_else(|| ApiError::wrong_type(name, "an integer", json::type_name(raw)))?;
        let (bound, word, sign) = if value < 1 { (1, "below_min", ">=") } else { (128, "above_max", "<=") };
        if value < 1 || (name == "n" && value > 128) {
            let text = word.replace('_', " ").replace("max", "maximum").replace("min", "minimum");
            let message = format!(
                "Invalid '{name}': integer {text} value. Expected a value {sign} {bound}, but got {value} instead."
            );
            return Err(ApiError::invalid(message, name, &format!("integer_{word}_value")));
        }
    }
    match fields.get("stream") {
        Some(raw) if !matches!(raw.get(), "true" | "false") => {
            Err(ApiError::wrong_type("stream", "a boolean", json::type_name(raw)))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(endpoint: Endpoint, body: &str) -> Result<Request<'_>, ApiError> {
        let fields = Fields::parse(body).unwrap();
        let model = model_of(endpoint, &fields)?;
        Request::check(endpoint, model, fields, body.len())
    }

    fn refused(endpoint: Endpoint, body: &str) -> (String, String) {
        let error = read(endpoint, body).expect_err(body);
        assert_eq!(error.status, 400);
        (error.param.unwrap_or_default(), error.code.unwrap_or_default())
    }

    #[test]
    fn the_last_user_text_counts() {
        let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"echo:no"},
            {"role":"user","content":[{"type":"text","text":"echo:yes"},{"type":"image_url","image_url":{"url":"x"}}]},
            {"role":"assistant","content":null,"tool_calls":[]}],"n":3}"#;
        let request = read(Endpoint::ChatCompletions, body).unwrap();
        assert_eq!((request.magic.echo.as_deref(), request.n), (Some("yes"), 3));
        let body =
            r#"{"model":"o3","input":[{"role":"user","content":[{"type":"input_text","text":"echo:r"}]}]}"#;
        assert_eq!(read(Endpoint::Responses, body).unwrap().magic.echo.as_deref(), Some("r"));
        assert_eq!(
            read(Endpoint::Moderations, r#"{"input":"echo:m"}"#).unwrap().model,
            "omni-moderation-latest"
        );
    }

    #[test]
    fn embeddings_take_four_kinds_of_input() {
        for (input, count) in [(r#""a""#, 1), (r#"["a","b"]"#, 2), ("[1,2,3]", 1), ("[[1],[2]]", 2)] {
            let body = format!(r#"{{"model":"text-embedding-3-small","input":{input}}}"#);
            assert_eq!(read(Endpoint::Embeddings, &body).unwrap().inputs.len(), count, "{input}");
        }
        for input in ["\"\"", "[]", "{}", "[\"a\",1]", "[[]]", "[1,\"a\"]", "7"] {
            let body = format!(r#"{{"model":"m","input":{input}}}"#);
            assert!(read(Endpoint::Embeddings, &body).is_err(), "{input}");
        }
    }

    #[test]
    fn bad_bodies_are_refused_as_documented() {
        let chat = Endpoint::ChatCompletions;
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(refused(chat, r#"{"messages":[]}"#), pair("model", "missing_required_parameter"));
        assert_eq!(refused(chat, r#"{"model":"m"}"#), pair("messages", "missing_required_parameter"));
        assert_eq!(refused(chat, r#"{"model":"m","messages":[]}"#), pair("messages", "empty_array"));
        assert_eq!(refused(chat, r#"{"model":"m","messages":"hi"}"#), pair("messages", "invalid_type"));
        assert_eq!(refused(chat, r#"{"model":"m","messages":[1]}"#), pair("messages[0]", "invalid_type"));
        let bad_role = r#"{"model":"m","messages":[{"role":"me","content":"x"}]}"#;
        assert_eq!(refused(chat, bad_role), pair("messages[0].role", "invalid_value"));
        let hot = r#"{"model":"m","temperature":3,"messages":[{"role":"user","content":"x"}]}"#;
        assert_eq!(refused(chat, hot), pair("temperature", "decimal_above_max_value"));
        let many = r#"{"model":"m","n":0,"messages":[{"role":"user","content":"x"}]}"#;
        assert_eq!(refused(chat, many), pair("n", "integer_below_min_value"));
        assert_eq!(refused(Endpoint::Responses, r#"{"model":"m","input":1}"#), pair("input", "invalid_type"));
    }
}
