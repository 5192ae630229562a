//! The HTTP routes of the `OpenAI` API and of those made after it.

pub(crate) mod batches;
pub(crate) mod files;
mod shell;
pub(crate) mod sync;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::error::ApiError;
use super::profile::{OPENAI, Profile};
use crate::anthropic;
use crate::shared::Shared;

pub(crate) use shell::Shell;

/// `OpenAI`'s own routes.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let routes = files_routes().merge(batch_routes());
    serve(shared, &OPENAI, routes)
}

/// `/v1/files`
pub(crate) fn files_routes() -> Router<Shell> {
    Router::new().route("/v1/files", post(files::upload).get(files::list)).merge(file_routes())
}

/// `/v1/files/{id}`
pub(crate) fn file_routes() -> Router<Shell> {
    Router::new()
        .route("/v1/files/{id}", get(files::retrieve).delete(files::delete))
        .route("/v1/files/{id}/content", get(files::content))
}

/// `/v1/batches`
pub(crate) fn batch_routes() -> Router<Shell> {
    Router::new()
        .route("/v1/batches", post(batches::create).get(batches::list))
        .route("/v1/batches/{id}", get(batches::retrieve))
        .route("/v1/batches/{id}/cancel", post(batches::cancel))
}

/// An API of its own routes, the models, the plain endpoints, and refusals of all else.
pub(crate) fn serve(
    shared: &Arc<Shared>,
    profile: &'static Profile,
    routes: Router<Shell>,
) -> Router<Arc<Shared>> {
    let router = routes
        .route("/v1/models", get(models))
        .route("/v1/models/{*id}", get(model).delete(delete_model))
        .fallback(unknown);
    let endpoints = profile.endpoints.iter();
    endpoints
        .fold(router, |router, endpoint| router.route(endpoint.path(), post(sync::call)))
        // Covers only the routes added before it.
        .method_not_allowed_fallback(not_allowed)
        .with_state(Shell { shared: shared.clone(), profile })
}

/// Whether a call is meant for Anthropic, whose address is `OpenAI`'s.
fn for_anthropic(shell: &Shell, headers: &HeaderMap) -> bool {
    shell.profile.name == OPENAI.name && anthropic::is_meant(headers)
}

async fn models(State(shell): State<Shell>, headers: HeaderMap) -> Response {
    if for_anthropic(&shell, &headers) {
        return anthropic::models(&shell.shared, &headers);
    }
    let list = shell.credential(&headers).map(|_| {
        let listed = shell.profile.listed_models();
        let models: Vec<Value> = listed.iter().map(|id| model_view(&shell, id)).collect();
        json!({"object": "list", "data": models})
    });
    shell.answer(list)
}

async fn model(State(shell): State<Shell>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    if for_anthropic(&shell, &headers) {
        return anthropic::model(&shell.shared, &headers, &id);
    }
    let found = shell.credential(&headers).and_then(|_| known(&shell, &id).map(|()| model_view(&shell, &id)));
    shell.answer(found)
}

async fn delete_model(State(shell): State<Shell>, headers: HeaderMap, Path(id): Path<String>) -> Response {
    let deleted = shell.credential(&headers).and_then(|_| {
        known(&shell, &id)?;
        match id.starts_with("ft:") {
            true => Ok(json!({"id": id, "object": "model", "deleted": true})),
            false => Err(ApiError::new(403, format!("You do not have access to delete the model '{id}'."))),
        }
    });
    shell.answer(deleted)
}

fn known(shell: &Shell, id: &str) -> Result<(), ApiError> {
    if shell.profile.has_model(id) { Ok(()) } else { Err(ApiError::no_model(id).param("model")) }
}

fn model_view(shell: &Shell, id: &str) -> Value {
    json!({"id": id, "object": "model", "created": 1_700_000_000, "owned_by": shell.profile.name})
}

async fn unknown(State(shell): State<Shell>, method: Method, headers: HeaderMap, uri: Uri) -> Response {
    if for_anthropic(&shell, &headers) {
        return anthropic::unknown(&shell.shared);
    }
    shell.refuse(&ApiError::new(404, format!("Invalid URL ({method} {})", uri.path())))
}

async fn not_allowed(State(shell): State<Shell>, method: Method, uri: Uri) -> Response {
    let message = format!(
        "Not allowed to {method} on {}. (HINT: Perhaps you meant to use a different HTTP method?)",
        uri.path()
    );
    shell.refuse(&ApiError::new(405, message))
}
