//! `/v1/batch/jobs`.

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Paging;
use crate::compatible::{result_lines, spliced};
use crate::faults::Op;
use crate::json::{Fields, inline_lines};
use crate::net::Control;
use crate::openai::batches::{Create, members, metadata, string};
use crate::openai::error::ApiError;
use crate::openai::routes::{Shell, batches};
use crate::openai::{Batch, Status};

/// Bytes of a job with its requests in it.
const MAX_BODY: usize = 256_000_000;

/// Longest `timeout_hours`: a week.
const MAX_HOURS: u64 = 168;

/// `POST /v1/batch/jobs`
pub(super) async fn create(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let (owner, body) = match batches::creation(&shell, request, MAX_BODY).await {
        Ok(creation) => creation,
        Err(error) => return shell.refuse(&error),
    };
    let create = parse(&shell, &body);
    shell.answer(shell.create(&control, owner, create, |job| job).await)
}

fn parse(shell: &Shell, body: &[u8]) -> Result<Create, ApiError> {
    const KNOWN: [&str; 7] =
        ["endpoint", "input_files", "requests", "model", "agent_id", "metadata", "timeout_hours"];
    let fields = members(body)?;
    if let Some(name) = fields.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(ApiError::invalid("Extra inputs are not permitted", name, "extra_forbidden"));
    }
    let endpoint = string(&fields, "endpoint")?;
    let endpoint = shell
        .profile
        .endpoint(endpoint)
        .ok_or_else(|| ApiError::unsupported_value("endpoint", endpoint, &shell.profile.paths()))?;
    let hours = match fields.get("timeout_hours") {
        None => 24,
        Some(hours) => hours.as_u64().filter(|hours| (1..=MAX_HOURS).contains(hours)).ok_or_else(|| {
            ApiError::invalid("Input should be from 1 to 168", "timeout_hours", "less_than_equal")
        })?,
    };
    let model = match fields.get("model") {
        None | Some(Value::Null) => None,
        Some(_) => Some(string(&fields, "model")?.to_owned()),
    };
    let (input_file, inline) = input(&fields, body)?;
    let metadata = metadata(fields.get("metadata"))?;
    Ok(Create { input_file, inline, metadata, hours, model, ..Create::at(endpoint) })
}

/// The one input file, or the requests.
fn input(fields: &serde_json::Map<String, Value>, body: &[u8]) -> Result<(String, Option<Bytes>), ApiError> {
    let given = |name: &str| fields.get(name).filter(|value| !value.is_null());
    match (given("input_files"), given("requests")) {
        (Some(files), None) => {
            let files = files.as_array().map(Vec::as_slice).unwrap_or_default();
            match files {
                [Value::String(file)] => Ok((file.clone(), None)),
                _ => Err(ApiError::wrong_type("input_files", "a list of one file id", "another value")),
            }
        }
        (None, Some(_)) => {
            let text = std::str::from_utf8(body).unwrap_or_default();
            let lines = Fields::parse(text).and_then(|fields| fields.get("requests").and_then(inline_lines));
            let lines = lines.filter(|lines| !lines.is_empty());
            let lines = lines
                .ok_or_else(|| ApiError::wrong_type("requests", "a list of requests", "another value"))?;
            Ok((String::new(), Some(lines)))
        }
        _ => {
            let message = "Exactly one of 'input_files' and 'requests' must be given.";
            Err(ApiError::invalid(message, "input_files", "value_error"))
        }
    }
}

/// The job object.
pub(super) fn view(job: &Batch) -> Value {
    let status = match job.status {
        Status::Validating => "QUEUED",
        Status::InProgress | Status::Finalizing => "RUNNING",
        Status::Completed => "SUCCESS",
        Status::Failed => "FAILED",
        Status::Expired => "TIMEOUT_EXCEEDED",
        Status::Cancelling => "CANCELLATION_REQUESTED",
        Status::Cancelled => "CANCELLED",
    };
    let errors: Vec<Value> =
        job.errors.iter().map(|error| json!({"message": error.message, "count": 1})).collect();
    let inputs: Vec<&str> =
        Some(job.input_file.as_str()).into_iter().filter(|file| !file.is_empty()).collect();
    json!({
        "id": &*job.id,
        "object": "batch",
        "input_files": inputs,
        "metadata": job.metadata,
        "endpoint": job.endpoint.path(),
        "model": job.asked_model,
        "agent_id": null,
        "output_file": job.file_id(&job.output_file),
        "error_file": job.file_id(&job.error_file),
        "errors": errors,
        "status": status,
        "created_at": job.created / 1000,
        "started_at": job.times.in_progress.map(|time| time / 1000),
        "completed_at": job.times.ended.map(|time| time / 1000),
        "total_requests": job.counts.total,
        "completed_requests": job.counts.completed + job.counts.failed,
        "succeeded_requests": job.counts.completed,
        "failed_requests": job.counts.failed,
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct Retrieve {
    inline: Option<bool>,
}

/// `GET /v1/batch/jobs/{id}`, with `inline=true` together with its results.
pub(super) async fn retrieve(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<Retrieve>,
) -> Response {
    let wanted = id.clone();
    let job = shell.on_batch(&control, &headers, (Op::Retrieve, &id), move |core, model, now, owner| {
        let view = model.retrieve(core, now, owner, &wanted)?;
        let batch = model.batch(owner, &wanted)?;
        if query.inline != Some(true) || !batch.status.is_terminal() {
            return Ok(view.to_string());
        }
        let results = result_lines(model, batch, now);
        Ok(spliced(&view, "outputs", results.iter().map(|line| &line[..])))
    });
    match job.await {
        Ok(text) => shell.json(200, text),
        Err(error) => shell.refuse(&error),
    }
}

/// `GET /v1/batch/jobs`, newest first unless `order_by=created`.
pub(super) async fn list(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(paging): Query<Paging>,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::List, move |core, model, now, owner| {
        let mut all = model.listed(core, now, owner);
        if paging.order_by.as_deref() == Some("created") {
            all.reverse();
        }
        paging.of(all, |batch| batch.view())
    });
    shell.answer(list.await)
}

/// `DELETE /v1/batch/jobs/{id}`
pub(super) async fn delete(
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
