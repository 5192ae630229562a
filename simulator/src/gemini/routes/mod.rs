//! The HTTP routes of the Gemini API.

mod batches;
mod door;
mod files;
mod models;
mod uploads;

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get, post};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use serde_json::{Value, json};

pub(crate) use door::door;

use super::error::ApiError;
use crate::credential::Credential;
use crate::faults::{Instead, Op};
use crate::shared::Shared;

type Shell = State<Arc<Shared>>;

/// The parameters behind the question mark.
type Params = Query<HashMap<String, String>>;

/// What `/v1/...` becomes at the door when it is a call of this API; `OpenAI` has the same paths.
const V1: &str = "/_gemini/v1";

pub(crate) fn routes() -> Router<Arc<Shared>> {
    let router =
        [("/v1beta", "/v1beta"), (V1, "/v1")].into_iter().fold(Router::new(), |router, (at, version)| {
            router
                .route(&format!("{at}/models"), get(models::list))
                .route(&format!("{at}/models/{{call}}"), get(models::one).post(models::call))
                .route(&format!("{at}/batches"), get(batches::list))
                .route(
                    &format!("{at}/batches/{{id}}"),
                    get(batches::retrieve).delete(batches::delete).post(batches::cancel),
                )
                .route(&format!("{at}/files"), get(files::list))
                .route(&format!("{at}/files/{{id}}"), get(files::retrieve).delete(files::delete))
                .route(&format!("/upload{version}/files"), post(uploads::upload))
                .route(&format!("/download{version}/files/{{id}}"), get(files::retrieve))
                .route(&format!("{at}/{{*rest}}"), any(unknown))
        });
    // Covers only the routes added before it.
    router.method_not_allowed_fallback(unknown)
}

/// The version that a path names.
fn version(uri: &Uri) -> &'static str {
    if uri.path().contains("/v1beta/") { "v1beta" } else { "v1" }
}

fn key<'a>(headers: &'a HeaderMap, params: &'a HashMap<String, String>) -> &'a str {
    let header = headers.get("x-goog-api-key").and_then(|value| value.to_str().ok());
    header.or(params.get("key").map(String::as_str)).unwrap_or_default()
}

/// Who calls, if the key looks like one; the parameters must be known, too.
fn credential(headers: &HeaderMap, params: &HashMap<String, String>) -> Result<Credential, ApiError> {
    const KNOWN: [&str; 12] = [
        "key",
        "alt",
        "$alt",
        "fields",
        "prettyPrint",
        "pageSize",
        "page_size",
        "pageToken",
        "page_token",
        "upload_id",
        "upload_protocol",
        "uploadType",
    ];
    if let Some(name) = params.keys().find(|name| !KNOWN.contains(&name.as_str())) {
        let message = format!(
            "Invalid JSON payload received. Unknown name \"{name}\": Cannot bind query parameter. Field '{name}' could not \
             be found in request message."
        );
        return Err(ApiError::at("", message));
    }
    let key = key(headers, params);
    if key.is_empty() {
        let message = "Method doesn't allow unregistered callers (callers without established identity). Please use API \
                       Key or other form of API consumer identity to call this API.";
        return Err(ApiError::new(403, message));
    }
    if !key.starts_with("AIza") || key.starts_with("AIza-invalid") {
        let error = ApiError::invalid("API key not valid. Please pass a valid API key.");
        return Err(ApiError { reason: Some("API_KEY_INVALID"), ..error });
    }
    Ok(Credential::of_key(key))
}

/// Who calls, if that key may create batches.
fn batch_credential(headers: &HeaderMap, params: &HashMap<String, String>) -> Result<Credential, ApiError> {
    let credential = credential(headers, params)?;
    if key(headers, params).starts_with("AIza-nobatch") {
        return Err(ApiError::new(403, "The caller does not have permission"));
    }
    Ok(credential)
}

/// The size and the token of a page: at most `most` of what is listed.
fn page(
    params: &HashMap<String, String>,
    default: usize,
    most: usize,
) -> Result<(usize, Option<u64>), ApiError> {
    let given = |camel: &str, snake: &str| {
        params.get(camel).or_else(|| params.get(snake)).filter(|text| !text.is_empty())
    };
    let size = match given("pageSize", "page_size") {
        None => default,
        Some(text) => {
            let wrong = || {
                ApiError::at("page_size", format!("Invalid value at 'page_size' (TYPE_INT32), \"{text}\""))
            };
            match text.parse::<usize>().map_err(|_| wrong())? {
                0 => default,
                size => size.min(most),
            }
        }
    };
    let token = given("pageToken", "page_token").map(|text| text.parse());
    let token = token.transpose().map_err(|_| ApiError::at("page_token", "The page token is invalid."))?;
    Ok((size, token))
}

/// What a fault puts in place of an answer.
fn refusal(op: Op, id: &str, instead: &Instead) -> ApiError {
    match instead {
        Instead::Status { code, retry_after, error_code, message } => {
            let code = (*code).clamp(400, 599);
            let default = match code {
                401 => "Request had invalid authentication credentials.",
                429 => "Resource has been exhausted (e.g. check quota).",
                503 => "The model is overloaded. Please try again later.",
                500.. => "An internal error has occurred. Please retry.",
                _ => "This call was made to fail.",
            };
            let error = ApiError::new(code, message.as_deref().unwrap_or(default));
            let status = error_code.clone().unwrap_or_else(|| error.status.clone());
            ApiError { status, retry_after: *retry_after, ..error }
        }
        _ => match op {
            Op::File | Op::Content | Op::Delete => ApiError::no_file(id),
            _ => ApiError::not_found(),
        },
    }
}

/// An answer with its body and the headers that all answers have.
fn respond(status: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("server-timing", HeaderValue::from_static("gfet4t7; dur=1"));
    headers.insert("vary", HeaderValue::from_static("Origin, X-Origin, Referer"));
    response
}

const JSON: &str = "application/json; charset=UTF-8";

fn answer(result: Result<Value, ApiError>) -> Response {
    match result {
        Ok(value) => respond(200, JSON, Body::from(value.to_string())),
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &ApiError) -> Response {
    let mut response = respond(error.http, JSON, Body::from(error.body()));
    if let Some(seconds) = error.retry_after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// What is answered when all is said with the status.
fn nothing(result: Result<(), ApiError>) -> Response {
    answer(result.map(|()| json!({})))
}

async fn unknown(method: Method, uri: Uri) -> Response {
    let path = uri.path().strip_prefix("/_gemini").unwrap_or(uri.path());
    refuse(&ApiError::new(404, format!("The requested URL was not found: {method} {path}")))
}
