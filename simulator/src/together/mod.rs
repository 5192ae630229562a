//! Together: uploads in two steps, wrapped creations, statuses in capitals (its SDK's types and upload).

mod upload;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};
use serde_json::{Value, json};

use crate::compatible::iso;
use crate::core::Millis;
use crate::faults::Op;
use crate::net::Control;
use crate::openai::batches::{Create, members, string};
use crate::openai::endpoint::Endpoint;
use crate::openai::error::ApiError;
use crate::openai::files::File;
use crate::openai::profile::{Models, Profile};
use crate::openai::routes::{Shell, batches, file_routes, files, serve};
use crate::openai::{Batch, Status};
use crate::shared::Shared;

/// What is different.
pub(crate) static PROFILE: Profile = Profile {
    name: "together",
    key: "",
    models: Models::Any,
    endpoints: &[Endpoint::ChatCompletions, Endpoint::Completions, Endpoint::Embeddings],
    purpose: Some("batch-api"),
    max_file_bytes: 100_000_000,
    max_lines: Some(50_000),
    lifetime_s: None,
    uuids: true,
    batch: view,
    file,
    ..Profile::openai()
};

/// Bytes of a creation.
const MAX_BODY: usize = 1 << 20;

/// Everything below `/together`.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes = file_routes()
        .route("/v1/files", post(upload::announce).get(files::list))
        .route("/v1/files/{id}/preprocess", post(upload::preprocess))
        .route("/presigned/{id}", put(upload::put))
        .route("/v1/batches", post(create).get(list))
        .route("/v1/batches/{id}", get(batches::retrieve))
        .route("/v1/batches/{id}/cancel", post(batches::cancel));
    serve(shared, &PROFILE, routes)
}

fn file(file: &File, _: Millis) -> Value {
    let stage = if file.polled { "COMPLETED" } else { "PENDING" };
    json!({
        "id": file.id,
        "object": "file",
        "bytes": file.content.len(),
        "created_at": file.created / 1000,
        "filename": file.name,
        "purpose": "batch-api",
        "FileType": "jsonl",
        "Processed": file.polled,
        "processing_status": stage,
    })
}

/// `POST /v1/batches`: the job with a warning beside it.
async fn create(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let (owner, body) = match batches::creation(&shell, request, MAX_BODY).await {
        Ok(creation) => creation,
        Err(error) => return shell.refuse(&error),
    };
    let job = shell.create(&control, owner, parse(&body), |job| json!({"job": job, "warning": ""}));
    match job.await {
        Ok(job) => shell.json(201, job.to_string()),
        Err(error) => shell.refuse(&error),
    }
}

fn parse(body: &[u8]) -> Result<Create, ApiError> {
    const KNOWN: [&str; 5] = ["input_file_id", "endpoint", "completion_window", "model_id", "priority"];
    let fields = members(body)?;
    if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(ApiError::invalid(format!("Unknown field '{name}'."), name, ""));
    }
    let input_file = string(&fields, "input_file_id")?.to_owned();
    let endpoint = string(&fields, "endpoint")?;
    let chat = Endpoint::ChatCompletions;
    if endpoint != chat.path() {
        return Err(ApiError::unsupported_value("endpoint", endpoint, &[chat.path()]));
    }
    if let Some(window) = fields.get("completion_window").filter(|window| *window != "24h") {
        return Err(ApiError::unsupported_value("completion_window", &window.to_string(), &["24h"]));
    }
    let model = fields.get("model_id").and_then(Value::as_str).map(str::to_owned);
    Ok(Create { input_file, model, ..Create::at(chat) })
}

/// The job object.
fn view(job: &Batch) -> Value {
    let status = match job.status {
        Status::Validating => "VALIDATING",
        Status::InProgress | Status::Finalizing | Status::Cancelling => "IN_PROGRESS",
        Status::Completed => "COMPLETED",
        Status::Failed => "FAILED",
        Status::Expired => "EXPIRED",
        Status::Cancelled => "CANCELLED",
    };
    let done = (job.counts.completed + job.counts.failed) as f64;
    let error = job.errors.first().map(|error| match error.line {
        Some(line) => format!("line {line}: {}", error.message),
        None => error.message.clone(),
    });
    json!({
        "id": &*job.id,
        "user_id": job.owner.as_str(),
        "input_file_id": job.input_file,
        "status": status,
        "job_deadline": iso(job.expires, "Z"),
        "created_at": iso(job.created, "Z"),
        "completed_at": job.times.ended.map(|time| iso(time, "Z")),
        "endpoint": job.endpoint.path(),
        "progress": if job.counts.total == 0 { 0.0 } else { done * 100.0 / job.counts.total as f64 },
        "model_id": job.model.as_deref(),
        "output_file_id": job.file_id(&job.output_file),
        "error_file_id": job.file_id(&job.error_file),
        "error": error.unwrap_or_default(),
    })
}

/// `GET /v1/batches`: nothing but the jobs, newest first.
async fn list(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::List, move |core, model, now, owner| {
        Ok(Value::Array(model.listed(core, now, owner).into_iter().map(Batch::view).collect()))
    });
    shell.answer(list.await)
}
