//! OpenRouter: batches whose requests and results are inline (its documentation, and clients made against the live API).

use std::sync::Arc;

use axum::extract::{Path, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::compatible::{result_lines, spliced};
use crate::faults::Op;
use crate::http::cut;
use crate::json::{Fields, inline_lines};
use crate::net::Control;
use crate::openai::Batch;
use crate::openai::batches::{Create, members, string};
use crate::openai::endpoint::Endpoint;
use crate::openai::error::ApiError;
use crate::openai::profile::{Lines, Models, Profile};
use crate::openai::routes::{Shell, batches, serve};
use crate::shared::Shared;

/// What is different.
pub(crate) static PROFILE: Profile = Profile {
    name: "openrouter",
    key: "sk-or-",
    models: Models::Any,
    endpoints: &[Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::Embeddings],
    max_lines: Some(5_000),
    lines: Lines::Bodies,
    inline_results: true,
    batch: view,
    error,
    ..Profile::openai()
};

/// Bytes of a creation.
const MAX_BODY: usize = 200_000_000;

/// Everything below `/openrouter/api`.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes = Router::new()
        .route("/v1/batches", post(create).get(batches::list))
        .route("/v1/batches/{id}", get(retrieve).delete(delete));
    serve(shared, &PROFILE, routes)
}

/// `POST /v1/batches`: accepted, whatever its validation will say of it.
async fn create(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let (owner, body) = match batches::creation(&shell, request, MAX_BODY).await {
        Ok(creation) => creation,
        Err(error) => return shell.refuse(&error),
    };
    match shell.create(&control, owner, parse(&body), |batch| batch.to_string()).await {
        Ok(batch) => shell.json(202, batch),
        Err(error) => shell.refuse(&error),
    }
}

fn parse(body: &[u8]) -> Result<Create, ApiError> {
    const KNOWN: [&str; 6] =
        ["endpoint", "model", "provider", "completion_window", "callback_url", "requests"];
    let fields = members(body)?;
    if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("Unrecognized key: \"{name}\""), name, ""));
    }
    let endpoint = string(&fields, "endpoint")?;
    let endpoint = PROFILE
        .endpoint(endpoint)
        .ok_or_else(|| ApiError::unsupported_value("endpoint", endpoint, &PROFILE.paths()))?;
    let model = string(&fields, "model")?.to_owned();
    if !PROFILE.has_model(&model) {
        return Err(ApiError::invalid(format!("{model} is not a valid model ID"), "model", ""));
    }
    if !PROFILE.batches(&model) {
        let message = format!("Model '{model}' does not have a :batch endpoint.");
        return Err(ApiError::invalid(message, "model", ""));
    }
    if fields.get("completion_window").is_some_and(|window| window != "24h") {
        let message = "completion_window must be \"24h\"";
        return Err(ApiError::invalid(message, "completion_window", ""));
    }
    let inline = Some(requests(body)?);
    Ok(Create { model: Some(model), inline, ..Create::at(endpoint) })
}

/// The requests as lines. The API reads the body as a stream: what it must know comes before them.
fn requests(body: &[u8]) -> Result<Bytes, ApiError> {
    let fields = Fields::parse(std::str::from_utf8(body).unwrap_or_default());
    let fields = fields.ok_or_else(|| ApiError::new(400, "Invalid JSON"))?;
    let requests = fields.get("requests").ok_or_else(|| ApiError::missing("requests"))?;
    if fields.names().last() != Some("requests") {
        let message = "\"requests\" must be the last key of the request body";
        return Err(ApiError::invalid(message, "requests", ""));
    }
    let lines = inline_lines(requests).filter(|lines| !lines.is_empty());
    lines.ok_or_else(|| ApiError::invalid("requests must be a non-empty array", "requests", ""))
}

/// The batch object, without its results.
fn view(batch: &Batch) -> Value {
    let message = batch.errors.first().map(|error| match error.line {
        Some(line) => format!("Request {line}: {}", error.message),
        None => error.message.clone(),
    });
    json!({
        "id": &*batch.id,
        "object": "batch",
        "endpoint": batch.endpoint.path(),
        "model": batch.asked_model,
        "completion_window": batch.window,
        "status": batch.status.as_str(),
        "request_counts": batch.counts,
        "usage": {"prompt_tokens": batch.usage.0, "completion_tokens": batch.usage.1},
        "created_at": batch.created / 1000,
        "expires_at": batch.expires / 1000,
        "finalized_at": batch.times.ended.map(|time| time / 1000),
        "error": message.map(|message| json!({"message": message})),
    })
}

/// `GET /v1/batches/{id}`, with the results once it has ended.
async fn retrieve(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match shell.batch_credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let decision = shell.begin_batch(Op::Retrieve, &owner, &id);
    let wanted = id.clone();
    let batch = shell.perform(&control, (Op::Retrieve, &id), &decision, move |core, model, now| {
        let view = model.retrieve(core, now, &owner, &wanted)?;
        let batch = model.batch(&owner, &wanted)?;
        if !batch.status.is_terminal() {
            return Ok(view.to_string());
        }
        let results = result_lines(model, batch, now);
        Ok(spliced(&view, "results", results.iter().map(|line| &line[..])))
    });
    match batch.await {
        Ok(text) => cut(shell.json(200, String::new()), text.into(), &decision),
        Err(error) => shell.refuse(&error),
    }
}

/// `DELETE /v1/batches/{id}`
async fn delete(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let gone = shell.on_batch(&control, &headers, (Op::Delete, &id), move |_, model, _, owner| {
        model.remove(owner, &wanted)?;
        Ok(json!({"id": wanted, "object": "batch", "deleted": true}))
    });
    shell.answer(gone.await)
}

/// Errors have the status for a code.
fn error(error: &ApiError) -> (u16, Value) {
    let message = match error.status {
        401 if error.code.is_none() => "No auth credentials found",
        401 => "User not found.",
        _ => &error.message,
    };
    (error.status, json!({"error": {"message": message, "code": error.status}}))
}
