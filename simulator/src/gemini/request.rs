//! One request to a model: checked as the provider would, never rebuilt.

use serde_json::value::RawValue;

use super::error::ApiError;
use super::messages::{COUNT, EMBED, GENERATE};
use super::method::Task;
use super::schema::{self, get, integer, many, object};
use crate::json::{self, Fields};
use crate::magic::Magic;

/// A request that passed all checks.
#[derive(Debug)]
pub(crate) struct Request {
    /// What it wants.
    pub task: Task,
    /// Its model, without `models/`.
    pub model: String,
    /// The text that the answer is derived from.
    pub text: String,
    /// What that text asks of the simulator.
    pub magic: Magic,
    /// How many candidates are wanted.
    pub n: usize,
    /// Dimensions of the embedding, if it names them.
    pub dimensions: Option<usize>,
    /// Whether it asks for the tier `flex`.
    pub flex: bool,
    /// The prompt's size in tokens: a quarter of the request's bytes.
    pub input_tokens: u64,
}

/// Reads a body that must be one JSON object.
pub(crate) fn parse(text: &str) -> Result<Fields<'_>, ApiError> {
    Fields::parse(text).ok_or_else(|| {
        ApiError::at("", "Invalid JSON payload received. Expected an object with valid members.")
    })
}

impl Request {
    /// Checks a request to a model.
    pub(crate) fn read(task: Task, model: &str, text: &str) -> Result<Self, ApiError> {
        let fields = parse(text)?;
        let message = if task == Task::Generate { &GENERATE } else { &EMBED };
        message.check(&fields, "")?;
        Self::checked(task, model, &fields, text.len())
    }

    /// Checks a request of `bytes` bytes whose names and types are known to be right.
    pub(crate) fn checked(
        task: Task,
        model: &str,
        fields: &Fields<'_>,
        bytes: usize,
    ) -> Result<Self, ApiError> {
        check_model(model, fields)?;
        let config = object(fields, "generationConfig").unwrap_or_default();
        let text = match task {
            Task::Generate => {
                check_config(&config)?;
                spoken_contents("GenerateContentRequest", fields)?
            }
            Task::Embed => {
                let content = object(fields, "content");
                let content = content.ok_or_else(|| unset("EmbedContentRequest.content", "content"))?;
                check_content(&content, "EmbedContentRequest.content")?;
                spoken(&content)
            }
        };
        Ok(Self {
            task,
            model: model.to_owned(),
            magic: Magic::of(&text),
            text,
            n: integer(&config, "candidateCount").unwrap_or(1).clamp(1, 8) as usize,
            dimensions: integer(fields, "outputDimensionality").map(|asked| asked.clamp(1, 4096) as usize),
            flex: schema::text(fields, "serviceTier").is_some_and(|tier| tier.eq_ignore_ascii_case("flex")),
            input_tokens: (bytes as u64 / 4).max(1),
        })
    }
}

/// The tokens of a `countTokens` body.
pub(crate) fn count_tokens(model: &str, text: &str) -> Result<u64, ApiError> {
    let fields = parse(text)?;
    COUNT.check(&fields, "")?;
    check_model(model, &fields)?;
    match get(&fields, "generateContentRequest") {
        Some(raw) => {
            let inner = json::object(raw).unwrap_or_default();
            Ok(Request::checked(Task::Generate, model, &inner, raw.get().len())?.input_tokens)
        }
        None => {
            spoken_contents("CountTokensRequest", &fields)?;
            Ok((text.len() as u64 / 4).max(1))
        }
    }
}

/// A request may name its model again; it must be the one in the path.
pub(crate) fn check_model(model: &str, fields: &Fields<'_>) -> Result<(), ApiError> {
    match schema::text(fields, "model") {
        Some(named) if !named.is_empty() && named.strip_prefix("models/").unwrap_or(&named) != model => {
            let message = format!("The model '{named}' of the request is not 'models/{model}' of its path.");
            Err(ApiError::at("model", message))
        }
        _ => Ok(()),
    }
}

fn check_config(config: &Fields<'_>) -> Result<(), ApiError> {
    let number = |name| get(config, name).and_then(json::number);
    for (name, spelled, high) in [("temperature", "temperature", 2.0), ("topP", "top_p", 1.0)] {
        if number(name).is_some_and(|value| !(0.0..=high).contains(&value)) {
            let field = format!("generation_config.{spelled}");
            let message = format!(
                "* GenerateContentRequest.{field}: {spelled} must be in the range [0.0, {high:.1}].\n"
            );
            return Err(ApiError::at(&field, message));
        }
    }
    for (name, spelled) in [("maxOutputTokens", "max_output_tokens"), ("candidateCount", "candidate_count")] {
        if integer(config, name).is_some_and(|value| value < 1) {
            let field = format!("generation_config.{spelled}");
            let message = format!("* GenerateContentRequest.{field}: {spelled} must be positive.\n");
            return Err(ApiError::at(&field, message));
        }
    }
    Ok(())
}

/// Checks the contents and returns the text of the last one of a user, else of the last one.
fn spoken_contents(of: &str, fields: &Fields<'_>) -> Result<String, ApiError> {
    let contents: Vec<Fields<'_>> = many(fields, "contents").into_iter().filter_map(json::object).collect();
    if contents.is_empty() {
        return Err(unset(&format!("{of}.contents"), "contents"));
    }
    for (index, content) in contents.iter().enumerate() {
        check_content(content, &format!("{of}.contents[{index}]"))?;
        if content.text("role").is_some_and(|role| !["", "user", "model", "function"].contains(&&*role)) {
            return Err(ApiError::invalid("Please use a valid role: user, model."));
        }
    }
    let of_user = |content: &&Fields<'_>| {
        content.text("role").is_none_or(|role| role.is_empty() || role == "user")
            && !spoken(content).is_empty()
    };
    let content = contents.iter().rev().find(of_user).or(contents.last());
    Ok(content.map(spoken).unwrap_or_default())
}

fn check_content(content: &Fields<'_>, path: &str) -> Result<(), ApiError> {
    let parts = many(content, "parts");
    if parts.is_empty() {
        return Err(ApiError::invalid(format!("* {path}.parts: contents.parts must not be empty.\n")));
    }
    for (index, part) in parts.into_iter().enumerate() {
        if !has_data(part) {
            return Err(ApiError::invalid(format!(
                "* {path}.parts[{index}].data: required oneof field 'data' must have one initialized field\n"
            )));
        }
    }
    Ok(())
}

fn has_data(part: &RawValue) -> bool {
    const DATA: [&str; 9] = [
        "text",
        "inlineData",
        "fileData",
        "functionCall",
        "functionResponse",
        "executableCode",
        "codeExecutionResult",
        "toolCall",
        "toolResponse",
    ];
    json::object(part).is_some_and(|part| DATA.iter().any(|name| get(&part, name).is_some()))
}

/// The texts of a content's parts, one a line.
fn spoken(content: &Fields<'_>) -> String {
    let parts = many(content, "parts").into_iter().filter_map(json::object);
    parts.filter_map(|part| schema::text(&part, "text")).collect::<Vec<_>>().join("\n")
}

fn unset(path: &str, name: &str) -> ApiError {
    ApiError::invalid(format!("* {path}: {name} is not specified\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Request, ApiError> {
        Request::read(Task::Generate, "gemini-2.5-flash", body)
    }

    #[test]
    fn the_last_user_text_counts() {
        let body = r#"{"contents":[{"role":"user","parts":[{"text":"echo:no"}]},
            {"role":"user","parts":[{"text":"echo:yes"},{"inline_data":{"mime_type":"image/png","data":""}}]},
            {"role":"model","parts":[{"text":"echo:never"}]},
            {"role":"user","parts":[{"functionResponse":{"name":"f","response":{}}}]}],
            "generationConfig":{"candidateCount":2},"model":"models/gemini-2.5-flash","serviceTier":"FLEX"}"#;
        let request = read(body).unwrap();
        assert_eq!((request.magic.echo.as_deref(), request.n, request.flex), (Some("yes"), 2, true));
        let body = r#"{"content":{"parts":[{"text":"echo:e"}]},"output_dimensionality":3}"#;
        let request = Request::read(Task::Embed, "gemini-embedding-001", body).unwrap();
        assert_eq!((request.magic.echo.as_deref(), request.dimensions), (Some("e"), Some(3)));
    }

    #[test]
    fn bad_bodies_are_refused() {
        for (body, words) in [
            ("[]", "Invalid JSON payload"),
            ("{}", "GenerateContentRequest.contents: contents is not specified"),
            (r#"{"contents":[{"role":"user","parts":[]}]}"#, "parts must not be empty"),
            (r#"{"contents":[{"role":"user","parts":[{"thought":true}]}]}"#, "required oneof field 'data'"),
            (r#"{"contents":[{"role":"assistant","parts":[{"text":"x"}]}]}"#, "valid role"),
            (
                r#"{"contents":[{"parts":[{"text":"x"}]}],"model":"models/other"}"#,
                "is not 'models/gemini-2.5-flash'",
            ),
            (
                r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"temperature":2.5}}"#,
                "temperature must be",
            ),
            (
                r#"{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"maxOutputTokens":0}}"#,
                "must be positive",
            ),
        ] {
            let error = read(body).expect_err(body);
            assert!(error.http == 400 && error.message.contains(words), "{}", error.message);
        }
    }
}
