//! Mistral: jobs in place of batches, lines without a target, and files and errors of its own form (its SDK's types;
//! the form of errors is from memory).

mod answer;
mod jobs;

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde_json::{Value, json};

use crate::core::Millis;
use crate::faults::Op;
use crate::json::Fields;
use crate::net::Control;
use crate::openai::endpoint::Endpoint;
use crate::openai::error::ApiError;
use crate::openai::files::File;
use crate::openai::profile::{Lines, Models, Profile};
use crate::openai::routes::{Shell, batches, file_routes, files, serve};
use crate::shared::Shared;

/// What is different.
pub(crate) static PROFILE: Profile = Profile {
    name: "mistral",
    key: "",
    models: Models::Any,
    endpoints: &[Endpoint::ChatCompletions, Endpoint::Embeddings],
    max_lines: Some(1_000_000),
    lifetime_s: None,
    lines: Lines::Bodies,
    uuids: true,
    batch: jobs::view,
    file,
    error,
    check,
    answer: answer::write,
    ..Profile::openai()
};

/// Everything below `/mistral`.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes = file_routes()
        .route("/v1/files", post(files::upload).get(list_files))
        .route("/v1/batch/jobs", post(jobs::create).get(jobs::list))
        .route("/v1/batch/jobs/{id}", get(jobs::retrieve).delete(jobs::delete))
        .route("/v1/batch/jobs/{id}/cancel", post(batches::cancel));
    serve(shared, &PROFILE, routes)
}

/// The parameters of a list.
#[derive(Debug, Default, serde::Deserialize)]
struct Paging {
    page: Option<String>,
    page_size: Option<String>,
    order_by: Option<String>,
}

impl Paging {
    /// One page of all objects.
    fn of<T>(&self, all: Vec<T>, view: impl Fn(&T) -> Value) -> Result<Value, ApiError> {
        let number = |text: &Option<String>, name: &str, default: usize, least: usize| match text {
            None => Ok(default),
            Some(text) => {
                let number = text.parse().ok().filter(|number| *number >= least);
                number.ok_or_else(|| ApiError::wrong_type(name, "an integer", "another value"))
            }
        };
        let (page, size) = (number(&self.page, "page", 0, 0)?, number(&self.page_size, "page_size", 100, 1)?);
        let shown = all.iter().skip(page.saturating_mul(size)).take(size).map(view);
        Ok(json!({"object": "list", "data": shown.collect::<Vec<_>>(), "total": all.len()}))
    }
}

/// `GET /v1/files`, newest first.
async fn list_files(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(paging): Query<Paging>,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::ListFiles, move |_, model, now, owner| {
        let shown = |file: &&File| file.owner == *owner && file.listed_from <= now;
        let mut all: Vec<&File> = model.files.alive(now).filter(shown).collect();
        all.reverse();
        paging.of(all, |it| file(it, now))
    });
    shell.answer(list.await)
}

fn file(file: &File, _: Millis) -> Value {
    let result = file.purpose == "batch_output";
    let kind = match (result, file.name.ends_with("_error.jsonl")) {
        (false, _) => "batch_request",
        (true, false) => "batch_result",
        (true, true) => "batch_error",
    };
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.content.len(),
        "created_at": file.created / 1000,
        "filename": file.name,
        "purpose": if result { "batch" } else { file.purpose.as_str() },
        "sample_type": kind,
        "source": if result { "mistral" } else { "upload" },
        "num_lines": memchr::memchr_iter(b'\n', &file.content).count(),
        "mimetype": "application/jsonl",
        "signature": null,
        "expires_at": file.expires.map(|time| time / 1000),
        "deleted": false,
    })
}

/// What does not fit the schema is 422 with a list of details; all else is one flat object.
fn error(error: &ApiError) -> (u16, Value) {
    match (error.status, &error.param) {
        (401, _) => (401, json!({"detail": "Unauthorized"})),
        (400, Some(param)) if param == "file_id" => (
            404,
            json!({"object": "error", "message": error.message, "type": error.kind, "param": null, "code": null}),
        ),
        (400, Some(param)) => {
            let mut loc = vec!["body"];
            loc.extend(param.split('.'));
            let kind = error.code.as_deref().unwrap_or("value_error");
            (422, json!({"detail": [{"type": kind, "loc": loc, "msg": error.message}]}))
        }
        (status, _) => {
            let (message, code) = (&error.message, error.code.as_deref());
            (
                status,
                json!({"object": "error", "message": message, "type": error.kind, "param": null, "code": code}),
            )
        }
    }
}

/// A member that the API does not know is refused.
fn check(endpoint: Endpoint, fields: &Fields<'_>) -> Result<(), ApiError> {
    const CHAT: [&str; 30] = [
        "model",
        "messages",
        "temperature",
        "top_p",
        "max_tokens",
        "stream",
        "stop",
        "random_seed",
        "metadata",
        "response_format",
        "tools",
        "tool_choice",
        "presence_penalty",
        "frequency_penalty",
        "min_tokens",
        "repetition_penalty",
        "top_k",
        "logprobs",
        "top_logprobs",
        "prompt_logprobs",
        "top_prompt_logprobs",
        "n",
        "prediction",
        "parallel_tool_calls",
        "reasoning_effort",
        "prompt_mode",
        "guardrails",
        "prompt_cache_key",
        "service_tier",
        "safe_prompt",
    ];
    const EMBEDDINGS: [&str; 6] =
        ["model", "input", "metadata", "output_dimension", "output_dtype", "encoding_format"];
    let known: &[&str] = if endpoint == Endpoint::Embeddings { &EMBEDDINGS } else { &CHAT };
    match fields.names().find(|name| !known.contains(name)) {
        Some(name) => Err(ApiError::invalid("Extra inputs are not permitted", name, "extra_forbidden")),
        None => Ok(()),
    }
}
