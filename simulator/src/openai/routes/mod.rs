//! The HTTP routes of the `OpenAI` API.

mod batches;
mod files;
mod sync;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

use super::batches::no_input;
use super::endpoint::{LISTED_MODELS, model_exists};
use super::error::ApiError;
use crate::anthropic;
use crate::credential::Credential;
use crate::faults::{Instead, Op};
use crate::shared::Shared;

type Shell = State<Arc<Shared>>;

pub(crate) fn routes() -> Router<Arc<Shared>> {
    let router = Router::new()
        .route("/v1/files", post(files::upload).get(files::list))
        .route("/v1/files/{id}", get(files::retrieve).delete(files::delete))
        .route("/v1/files/{id}/content", get(files::content))
        .route("/v1/batches", post(batches::create).get(batches::list))
        .route("/v1/batches/{id}", get(batches::retrieve))
        .route("/v1/batches/{id}/cancel", post(batches::cancel))
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model).delete(delete_model))
        .fallback(unknown);
    super::endpoint::Endpoint::ALL
        .into_iter()
        .fold(router, |router, endpoint| router.route(endpoint.path(), post(sync::call)))
        // Covers only the routes added before it.
        .method_not_allowed_fallback(not_allowed)
}

/// Who calls, if the key looks like one (401 otherwise).
fn credential(headers: &HeaderMap) -> Result<Credential, ApiError> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let given = header(AUTHORIZATION.as_str());
    let Some(key) = given.strip_prefix("Bearer ").map(str::trim).filter(|key| !key.is_empty()) else {
        let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                       Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
        return Err(ApiError::new(401, message));
    };
    if !key.starts_with("sk-") || key.len() < 4 || key.starts_with("sk-invalid") {
        let shown: String = key.chars().take(4).collect();
        let message = format!(
            "Incorrect API key provided: {shown}****. You can find your API key at https://platform.openai.com/account/api-keys."
        );
        return Err(ApiError::new(401, message).code("invalid_api_key"));
    }
    Ok(Credential::new(key, header("openai-organization"), header("openai-project")))
}

/// Who calls, if that key may use batches (403 otherwise).
fn batch_credential(headers: &HeaderMap) -> Result<Credential, ApiError> {
    let credential = credential(headers)?;
    let key = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    if key.strip_prefix(b"Bearer ").is_some_and(|key| key.starts_with(b"sk-nobatch")) {
        let message =
            "You have insufficient permissions for this operation. Missing scopes: api.batch.write.";
        return Err(ApiError::new(403, message).code("missing_scope"));
    }
    Ok(credential)
}

/// What a fault puts in place of an answer.
fn refusal(op: Op, id: &str, instead: &Instead) -> ApiError {
    match instead {
        Instead::Status { code, retry_after, error_code, message } => {
            let code = (*code).clamp(400, 599);
            let default = match code {
                401 => "Incorrect API key provided.",
                429 => "Rate limit reached.",
                503 => "The server is currently overloaded. Please try again later.",
                500.. => "The server had an error while processing your request. Sorry about that!",
                _ => "This call was made to fail.",
            };
            let message = message.clone().unwrap_or_else(|| default.to_owned());
            let error = ApiError::new(code, message).code(error_code.as_deref().unwrap_or_default());
            ApiError { retry_after: *retry_after, ..error }
        }
        _ => match op {
            Op::Create => no_input(id),
            Op::Retrieve | Op::Cancel => ApiError::new(404, format!("No batch found with id '{id}'.")),
            _ => ApiError::new(404, format!("No such File object: {id}")).param("id"),
        },
    }
}

/// An answer with its body and the headers that all answers have.
fn respond(shared: &Shared, status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
    headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
    if let Ok(id) = HeaderValue::from_str(&format!("req_{:032x}", shared.next_request())) {
        headers.insert("x-request-id", id);
    }
    response
}

fn answer(shared: &Shared, result: Result<Value, ApiError>) -> Response {
    match result {
        Ok(value) => respond(shared, 200, "application/json", Body::from(value.to_string())),
        Err(error) => refuse(shared, &error),
    }
}

fn refuse(shared: &Shared, error: &ApiError) -> Response {
    let mut response = respond(shared, error.status, "application/json", Body::from(error.body()));
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn models(State(shared): Shell, headers: HeaderMap) -> Response {
    if anthropic::is_meant(&headers) {
        return anthropic::models(&shared, &headers);
    }
    let list = credential(&headers).map(|_| {
        let models: Vec<Value> = LISTED_MODELS.iter().map(|id| model_view(id)).collect();
        json!({"object": "list", "data": models})
    });
    answer(&shared, list)
}

async fn model(State(shared): Shell, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if anthropic::is_meant(&headers) {
        return anthropic::model(&shared, &headers, &id);
    }
    let found = credential(&headers).and_then(|_| known(&id).map(|()| model_view(&id)));
    answer(&shared, found)
}

async fn delete_model(State(shared): Shell, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let deleted = credential(&headers).and_then(|_| {
        known(&id)?;
        match id.starts_with("ft:") {
            true => Ok(json!({"id": id, "object": "model", "deleted": true})),
            false => Err(ApiError::new(403, format!("You do not have access to delete the model '{id}'."))),
        }
    });
    answer(&shared, deleted)
}

fn known(id: &str) -> Result<(), ApiError> {
    if model_exists(id) { Ok(()) } else { Err(ApiError::no_model(id).param("model")) }
}

fn model_view(id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": "openai"})
}

async fn unknown(State(shared): Shell, method: Method, headers: HeaderMap, uri: Uri) -> Response {
    if anthropic::is_meant(&headers) {
        return anthropic::unknown(&shared);
    }
    refuse(&shared, &ApiError::new(404, format!("Invalid URL ({method} {})", uri.path())))
}

async fn not_allowed(State(shared): Shell, method: Method, uri: Uri) -> Response {
    let message = format!(
        "Not allowed to {method} on {}. (HINT: Perhaps you meant to use a different HTTP method?)",
        uri.path()
    );
    refuse(&shared, &ApiError::new(405, message))
}
