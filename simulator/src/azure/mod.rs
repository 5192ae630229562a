//! Azure `OpenAI`: the same API with deployments in place of models, two ways to write its paths, and habits of its own
//! (Azure documentation of Global Batch; the form of statuses and times is that of its examples).

use std::sync::Arc;

use axum::extract::{Path, Query, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::compatible::iso;
use crate::net::Control;
use crate::openai::error::ApiError;
use crate::openai::profile::{Models, Profile};
use crate::openai::routes::{Shell, batch_routes, batches, files, files_routes, serve, sync};
use crate::openai::{Batch, Status, batch};
use crate::shared::Shared;

/// What is different.
pub(crate) static PROFILE: Profile = Profile {
    name: "azure",
    key: "",
    key_header: Some("api-key"),
    models: Models::Deployments,
    short_paths: true,
    expires: false,
    max_lines: Some(100_000),
    lifetimes_s: (1_209_600, 2_592_000),
    lifetime_s: None,
    dotted_names: true,
    max_files: Some((500, 10_000)),
    polled_files: true,
    empty_error_file: true,
    list_member: "value",
    batch: view,
    error,
    ..Profile::openai()
};

/// Everything below `/azure/openai`.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let shell = Shell { shared: shared.clone(), profile: &PROFILE };
    let legacy = Router::new()
        .route("/files", post(files::upload).get(files::list))
        .route("/files/{id}", get(files::retrieve).delete(files::delete))
        .route("/files/{id}/content", get(files::content))
        .route("/batches", post(batches::create).get(batches::list))
        .route("/batches/{id}", get(batches::retrieve))
        .route("/batches/{id}/cancel", post(batches::cancel))
        .route("/responses", post(sync::call))
        .route("/deployments/{name}/{*endpoint}", post(deployment))
        .route_layer(from_fn_with_state(shell, versioned));
    serve(shared, &PROFILE, files_routes().merge(batch_routes()).merge(legacy))
}

#[derive(Deserialize)]
struct Version {
    #[serde(rename = "api-version")]
    version: Option<String>,
}

/// Lets only calls through that name a version: paths without `/v1` have no other.
async fn versioned(
    State(shell): State<Shell>,
    Query(query): Query<Version>,
    request: Request,
    next: Next,
) -> Response {
    if query.version.is_none_or(|version| version.is_empty()) {
        return shell.refuse(&ApiError::new(404, "Resource not found").code("404"));
    }
    next.run(request).await
}

/// `POST /deployments/{name}/chat/completions` and the like: the path names the model.
async fn deployment(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    Path((name, endpoint)): Path<(String, String)>,
    request: Request,
) -> Response {
    match shell.profile.endpoint(&format!("/v1/{endpoint}")) {
        Some(endpoint) => sync::serve(&shell, &control, endpoint, Some(&name), request).await,
        None => shell.refuse(&ApiError::new(404, "Resource not found").code("404")),
    }
}

/// The batch object: statuses in capitals, times as text, and no counts before there are any.
fn view(batch: &Batch) -> Value {
    let mut view = batch::view(batch);
    let Some(members) = view.as_object_mut() else { return view };
    for (name, value) in members.iter_mut().filter(|(name, _)| name.ends_with("_at")) {
        if let Some(seconds) = value.as_u64() {
            *value = json!(iso(seconds * 1000, if name == "created_at" { "+00:00" } else { "Z" }));
        }
    }
    members.insert("status".to_owned(), json!(format!("{:?}", batch.status)));
    if batch.status == Status::Validating {
        let none = json!({"total": null, "completed": null, "failed": null});
        members.insert("request_counts".to_owned(), none);
    }
    view
}

/// The gateway's own errors have only a code and a message.
fn error(error: &ApiError) -> (u16, Value) {
    let bare =
        |code: &str, message: &str| (error.status, json!({"error": {"code": code, "message": message}}));
    match error.status {
        401 => bare(
            "401",
            "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for \
             an active subscription and use a correct regional API endpoint for your resource.",
        ),
        404 if error.code.as_deref() == Some("model_not_found") => bare(
            "DeploymentNotFound",
            "The API deployment for this resource does not exist. If you created the deployment within the last 5 \
             minutes, please wait a moment and try again.",
        ),
        404 if error.code.as_deref() == Some("404") => bare("404", &error.message),
        _ => error.openai(),
    }
}
