//! xAI: batches without a status, whose results are paged and never in a file (what its REST clients read; its SDK speaks
//! gRPC).

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::compatible::{day, result_lines, spliced};
use crate::core::Millis;
use crate::faults::Op;
use crate::http::cut;
use crate::net::Control;
use crate::openai::batches::{Create, members, string};
use crate::openai::endpoint::Endpoint;
use crate::openai::error::ApiError;
use crate::openai::files::{File, limit};
use crate::openai::profile::{Lines, Models, Profile};
use crate::openai::routes::{Shell, batches, files_routes, serve};
use crate::openai::{Batch, Status};
use crate::shared::Shared;

/// What is different.
pub(crate) static PROFILE: Profile = Profile {
    name: "xai",
    key: "xai-",
    models: Models::Any,
    endpoints: &[Endpoint::ChatCompletions, Endpoint::Responses, Endpoint::ImagesGenerations],
    purpose: None,
    lifetime_s: None,
    lines: Lines::Mixed,
    inline_results: true,
    batch: view,
    file,
    error,
    ..Profile::openai()
};

/// Bytes of a creation.
const MAX_BODY: usize = 1 << 20;

/// Everything below `/xai`.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes = files_routes()
        .route("/v1/batches", post(create).get(list))
        // The router has no segments that end in a verb: the handler takes `{id}:cancel` apart.
        .route("/v1/batches/{id}", get(batches::retrieve).post(cancel))
        .route("/v1/batches/{id}/results", get(results));
    serve(shared, &PROFILE, routes)
}

/// `POST /v1/batches`
async fn create(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let (owner, body) = match batches::creation(&shell, request, MAX_BODY).await {
        Ok(creation) => creation,
        Err(error) => return shell.refuse(&error),
    };
    shell.answer(shell.create(&control, owner, parse(&body), |batch| batch).await)
}

fn parse(body: &[u8]) -> Result<Create, ApiError> {
    let fields = members(body)?;
    let (name, input_file) = (string(&fields, "name")?.to_owned(), string(&fields, "input_file_id")?);
    match fields.keys().find(|key| !["name", "input_file_id"].contains(&key.as_str())) {
        Some(key) => Err(ApiError::invalid(format!("Unknown field: {key}"), key, "")),
        None => {
            let input_file = input_file.to_owned();
            Ok(Create { name, input_file, ..Create::at(Endpoint::ChatCompletions) })
        }
    }
}

/// The batch object: counters from which a client derives how far it is. Over REST times are bare days.
fn view(batch: &Batch) -> Value {
    let time = |time: Option<Millis>| time.map(day);
    let (failed, counts) = (batch.status == Status::Failed, batch.counts);
    let done = counts.completed + counts.failed;
    let ended = batch.status.is_terminal();
    let cancelled = if ended { counts.total.saturating_sub(done) } else { 0 };
    // The results come all at once: something is pending until they are there.
    let pending = if ended { 0 } else { counts.total.saturating_sub(done).max(1).min(counts.total) };
    let message = batch.errors.first().map(|error| match error.line {
        Some(line) => format!("line {line}: {}", error.message),
        None => error.message.clone(),
    });
    json!({
        "batch_id": &*batch.id,
        "name": batch.name,
        "create_time": time(Some(batch.created)),
        "expire_time": time(Some(batch.expires)),
        "create_api_key_id": batch.owner.as_str(),
        // Only when its results are there, since clients take this for the end.
        "cancel_time": time(batch.times.ended.filter(|_| failed || batch.status == Status::Cancelled)),
        "cancel_by_xai_message": message,
        "input_file_id": batch.input_file,
        "state": {
            "num_requests": counts.total,
            "num_pending": pending,
            "num_success": counts.completed,
            "num_error": counts.failed,
            "num_cancelled": cancelled,
        },
    })
}

fn file(file: &File, _: Millis) -> Value {
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.content.len(),
        "created_at": file.created / 1000,
        "expires_at": file.expires.map(|time| time / 1000),
        "filename": file.name,
        // Whatever was sent, it is not kept.
        "purpose": "",
    })
}

/// Errors are two sentences.
fn error(error: &ApiError) -> (u16, Value) {
    let code = match error.status {
        401 | 403 => "The caller does not have permission to execute the specified operation",
        404 => "Some requested entity was not found",
        429 => "Some resource has been exhausted",
        500.. => "The service is currently unavailable",
        _ => "Client specified an invalid argument",
    };
    (error.status, json!({"code": code, "error": error.message}))
}

#[derive(Debug, Deserialize)]
struct Paging {
    limit: Option<String>,
    pagination_token: Option<String>,
}

impl Paging {
    /// One page of all objects, and the token of the next one: how many were before it.
    fn of<T>(&self, all: Vec<T>) -> Result<(Vec<T>, Option<String>), ApiError> {
        let size = limit(self.limit.as_deref(), 100, 1000)?;
        let from = match self.pagination_token.as_deref().filter(|token| !token.is_empty()) {
            None => 0,
            Some(token) => token
                .parse::<usize>()
                .map_err(|_| ApiError::invalid("Invalid pagination token", "pagination_token", ""))?,
        };
        let next = from.saturating_add(size);
        let token = (next < all.len()).then(|| next.to_string());
        Ok((all.into_iter().skip(from).take(size).collect(), token))
    }
}

/// `GET /v1/batches`
async fn list(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(paging): Query<Paging>,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::List, move |core, model, now, owner| {
        let (page, token) = paging.of(model.listed(core, now, owner))?;
        let page: Vec<Value> = page.into_iter().map(Batch::view).collect();
        Ok(json!({"batches": page, "pagination_token": token}))
    });
    shell.answer(list.await)
}

/// `POST /v1/batches/{id}:cancel`
async fn cancel(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(target): Path<String>,
) -> Response {
    let Some(id) = target.strip_suffix(":cancel").map(str::to_owned) else {
        return shell.refuse(&ApiError::new(404, format!("Unknown operation on batch {target}")));
    };
    let wanted = id.clone();
    let batch = shell.on_batch(&control, &headers, (Op::Cancel, &id), move |core, model, now, owner| {
        model.cancel(core, now, owner, &wanted)
    });
    shell.answer(batch.await)
}

/// `GET /v1/batches/{id}/results`
async fn results(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(paging): Query<Paging>,
) -> Response {
    let owner = match shell.batch_credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let decision = shell.begin_batch(Op::Content, &owner, &id);
    let (wanted, short_by) = (id.clone(), decision.short_by);
    let page = shell.perform(&control, (Op::Content, &id), &decision, move |_, model, now| {
        let batch = model.batch(&owner, &wanted)?;
        let mut lines = result_lines(model, batch, now);
        lines.truncate(lines.len().saturating_sub(short_by));
        let (page, token) = paging.of(lines)?;
        let rows: Vec<Vec<u8>> = page.iter().map(row).collect();
        Ok(spliced(&json!({"pagination_token": token}), "results", rows.iter().map(Vec::as_slice)))
    });
    match page.await {
        Ok(text) => cut(shell.json(200, String::new()), text.into(), &decision),
        Err(error) => shell.refuse(&error),
    }
}

#[derive(Deserialize)]
struct Line<'a> {
    custom_id: String,
    #[serde(borrow)]
    response: Option<Answer<'a>>,
    error: Option<LineError>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    status_code: u16,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Serialize, Deserialize)]
struct LineError {
    code: String,
    message: String,
}

/// A result line in xAI's form; a line that was made unreadable stays so.
fn row(line: &Bytes) -> Vec<u8> {
    let Ok(Line { custom_id, response, error }) = serde_json::from_slice(line) else { return line.to_vec() };
    let id = json!(custom_id);
    let result = match (response, error) {
        (Some(Answer { status_code: 200, body }), _) => {
            format!(r#"{{"response":{{"{}":{body}}}}}"#, kind(body.get()))
        }
        (Some(Answer { status_code, body }), _) => {
            let body: Value = serde_json::from_str(body.get()).unwrap_or_default();
            json!({"error": {"code": status_code, "message": body["error"]}}).to_string()
        }
        (None, error) => json!({"error": error}).to_string(),
    };
    format!(r#"{{"batch_request_id":{id},"batch_result":{result}}}"#).into_bytes()
}

/// The member that an answer is under: it goes by the answer's endpoint.
fn kind(body: &str) -> &'static str {
    match body {
        _ if body.contains(r#""object":"chat.completion""#) => "chat_get_completion",
        _ if body.contains(r#""object":"response""#) => "responses",
        _ => "image_generation",
    }
}
