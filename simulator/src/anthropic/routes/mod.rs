//! The HTTP routes of Anthropic's API.

mod batches;
mod messages;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use super::error::ApiError;
use super::request::{Dialect, model_exists};
use crate::credential::Credential;
use crate::faults::Instead;
use crate::shared::Shared;

type Shell = State<Arc<Shared>>;

const VERSION: &str = "anthropic-version";

/// Ids that `GET /v1/models` lists.
const LISTED_MODELS: [&str; 5] =
    ["claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-sonnet-4-5", "claude-haiku-4-5"];

pub(crate) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/messages", post(messages::create))
        .route("/v1/messages/count_tokens", post(messages::count_tokens))
        .route("/v1/messages/batches", post(batches::create).get(batches::list))
        .route("/v1/messages/batches/{id}", get(batches::retrieve).delete(batches::delete))
        .route("/v1/messages/batches/{id}/cancel", post(batches::cancel))
        .route("/v1/messages/batches/{id}/results", get(batches::results))
        // Covers only the routes added before it.
        .method_not_allowed_fallback(not_allowed)
}

/// Whether a call to a path that other providers have too is meant for this one.
pub(crate) fn is_meant(headers: &HeaderMap) -> bool {
    headers.contains_key(VERSION)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The key, of either of the two headers that SDKs put it in.
fn key(headers: &HeaderMap) -> &str {
    match header(headers, "x-api-key") {
        "" => header(headers, AUTHORIZATION.as_str()).strip_prefix("Bearer ").unwrap_or_default().trim(),
        key => key,
    }
}

/// Who calls, and what the headers say about the body: 401 without a key, 400 without a version.
fn authorize(headers: &HeaderMap) -> Result<(Credential, Dialect), ApiError> {
    let key = key(headers);
    if !key.starts_with("sk-ant-") || key.starts_with("sk-ant-invalid") {
        let sent = headers.contains_key("x-api-key") || headers.contains_key(AUTHORIZATION);
        let message = if sent { "invalid x-api-key" } else { "x-api-key header is required" };
        return Err(ApiError::new(401, message));
    }
    let newer = match header(headers, VERSION) {
        "2023-06-01" => false,
        "2026-10-21" => true,
        "" => return Err(ApiError::invalid("anthropic-version: header is required")),
        other => {
            let message = format!("anthropic-version: \"{other}\" is not a valid version");
            return Err(ApiError::invalid(message));
        }
    };
    let workspace = header(headers, "anthropic-workspace-id");
    let betas = betas(headers)?;
    let long_output = betas.contains(&"output-300k-2026-03-24");
    let dialect = Dialect { newer, beta: !betas.is_empty(), long_output };
    Ok((Credential::new(key, "", workspace), dialect))
}

/// Who calls, if that key may use batches (403 otherwise).
fn authorize_batches(headers: &HeaderMap) -> Result<(Credential, Dialect), ApiError> {
    let authorized = authorize(headers)?;
    if key(headers).starts_with("sk-ant-nobatch") {
        return Err(ApiError::new(403, "Your API key does not have permission to use Message Batches"));
    }
    Ok(authorized)
}

/// The betas that are asked for; each must look like one, a name with a date.
fn betas(headers: &HeaderMap) -> Result<Vec<&str>, ApiError> {
    let lists = headers.get_all("anthropic-beta").iter().filter_map(|value| value.to_str().ok());
    let betas: Vec<&str> =
        lists.flat_map(|list| list.split(',')).map(str::trim).filter(|b| !b.is_empty()).collect();
    let is_one =
        |beta: &str| beta.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') && beta.contains('-');
    match betas.iter().find(|beta| !is_one(beta)) {
        Some(other) => {
            Err(ApiError::invalid(format!("Unexpected value(s) `{other}` for the `anthropic-beta` header")))
        }
        None => Ok(betas),
    }
}

/// What a fault puts in place of an answer; `id` is the batch that is not found.
fn refusal(id: &str, instead: &Instead) -> ApiError {
    match instead {
        Instead::Status { code, retry_after, error_code, message } => {
            let code = (*code).clamp(400, 599);
            let default = match code {
                401 => "invalid x-api-key",
                429 => "This request would exceed your organization's rate limit",
                529 => "Overloaded",
                500.. => "Internal server error",
                _ => "This call was made to fail",
            };
            let message = message.clone().unwrap_or_else(|| default.to_owned());
            ApiError { code: error_code.clone(), retry_after: *retry_after, ..ApiError::new(code, message) }
        }
        _ => ApiError::new(404, format!("Message batch {id} not found")),
    }
}

fn request_id(shared: &Shared) -> String {
    format!("req_{:024x}", shared.next_request())
}

/// An answer with its body and the headers that all answers have.
fn respond(request_id: &str, status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("anthropic-organization-id", HeaderValue::from_static("org-simulator"));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        headers.insert("request-id", id);
    }
    response
}

fn answer(shared: &Shared, result: Result<Value, ApiError>) -> Response {
    match result {
        Ok(value) => respond(&request_id(shared), 200, "application/json", Body::from(value.to_string())),
        Err(error) => refuse(shared, &error),
    }
}

fn refuse(shared: &Shared, error: &ApiError) -> Response {
    let id = request_id(shared);
    let mut response =
        respond(&id, error.status, "application/json", Body::from(error.view(&id).to_string()));
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// `GET /v1/models`
pub(crate) fn models(shared: &Shared, headers: &HeaderMap) -> Response {
    let list = authorize(headers).map(|_| {
        json!({
            "data": LISTED_MODELS.map(model_view),
            "has_more": false,
            "first_id": LISTED_MODELS.first(),
            "last_id": LISTED_MODELS.last(),
        })
    });
    answer(shared, list)
}

/// `GET /v1/models/{id}`
pub(crate) fn model(shared: &Shared, headers: &HeaderMap, id: &str) -> Response {
    let found = authorize(headers)
        .and_then(|_| if model_exists(id) { Ok(model_view(id)) } else { Err(ApiError::no_model(id)) });
    answer(shared, found)
}

fn model_view(id: &str) -> Value {
    json!({
        "type": "model",
        "id": id,
        "display_name": id,
        "created_at": "2026-01-01T00:00:00Z",
        "lifecycle": "active",
        "max_tokens": 128_000,
    })
}

/// The answer to a path that nobody has.
pub(crate) fn unknown(shared: &Shared) -> Response {
    refuse(shared, &ApiError::new(404, "Not found"))
}

async fn not_allowed(State(shared): Shell) -> Response {
    refuse(&shared, &ApiError::new(405, "Method Not Allowed"))
}
