//! Batches: `/batches`, and their creation, which is a method of a model.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;

use super::{JSON, Params, Shell, batch_credential, credential, nothing, page, refusal, refuse, respond};
use crate::credential::Credential;
use crate::faults::{Decision, Instead, Op};
use crate::gemini::batches::{Create, MAX_INLINE};
use crate::gemini::error::ApiError;
use crate::gemini::method::Task;
use crate::http::{cut, perform, read_body};
use crate::net::Control;
use crate::shared::{Shared, World};

/// `POST /models/{m}:batchGenerateContent` and `:asyncBatchEmbedContent`, for a model that knows them.
pub(super) async fn create(
    shared: &Arc<Shared>,
    control: &Control,
    (headers, params): (&HeaderMap, &HashMap<String, String>),
    (task, model): (Task, &str),
    body: Body,
) -> Response {
    let owner = match batch_credential(headers, params) {
        Ok(owner) => owner,
        Err(error) => return refuse(&error),
    };
    let Some(body) = read_body(body, MAX_INLINE).await else {
        let message = format!("Request payload size exceeds the limit: {MAX_INLINE} bytes.");
        return refuse(&ApiError::invalid(message));
    };
    let create = match Create::parse(task, model, &body) {
        Ok(create) => create,
        Err(error) => {
            shared.with(|world, _| {
                world.core.begin(Op::Create, None);
                world.core.violation(format!("a batch creation was malformed: {}", error.message));
            });
            return refuse(&error);
        }
    };
    let file = create.file().unwrap_or_default().to_owned();
    let decision = shared.with(|World { core, gemini, .. }, now| {
        let age = gemini.files.get(now, &owner, &file).ok().map(|file| now.saturating_sub(file.created));
        core.begin(Op::Create, age.map(|age| (file.as_str(), age)))
    });
    let refused = |instead: &Instead| Err(refusal(Op::Create, &file, instead));
    let made = decision.clone();
    let work =
        move |World { core, gemini, .. }: &mut World, now| gemini.create(core, now, &owner, create, &made);
    match perform(shared, control, &decision, refused, work).await {
        Ok(operation) => respond(200, JSON, Body::from(operation.body())),
        Err(error) => refuse(&error),
    }
}

/// `GET /batches`
pub(super) async fn list(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(params): Params,
) -> Response {
    let (owner, (size, token)) =
        match credential(&headers, &params).and_then(|owner| Ok((owner, page(&params, 50, 100)?))) {
            Ok(asked) => asked,
            Err(error) => return refuse(&error),
        };
    let decision = shared.with(|world, _| world.core.begin(Op::List, None));
    let refused = |instead: &Instead| Err(refusal(Op::List, "", instead));
    let work =
        move |World { core, gemini, .. }: &mut World, now| Ok(gemini.list(core, now, &owner, token, size));
    let (operations, next) = match perform(&shared, &control, &decision, refused, work).await {
        Ok(listed) => listed,
        Err(error) => return refuse(&error),
    };
    let operations: Vec<String> = operations.iter().map(|operation| operation.body()).collect();
    // Google leaves out what is empty.
    let list = match operations.is_empty() {
        true => Vec::new(),
        false => vec![format!("\"operations\":[{}]", operations.join(","))],
    };
    let token = next.map(|next| format!("\"nextPageToken\":\"{next}\""));
    let body = list.into_iter().chain(token).collect::<Vec<_>>().join(",");
    respond(200, JSON, Body::from(format!("{{{body}}}")))
}

/// `GET /batches/{id}`
pub(super) async fn retrieve(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(params): Params,
    Path(id): Path<String>,
) -> Response {
    let owner = match credential(&headers, &params) {
        Ok(owner) => owner,
        Err(error) => return refuse(&error),
    };
    let decision = begin(&shared, Op::Retrieve, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Retrieve, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, gemini, .. }: &mut World, now| gemini.retrieve(core, now, &owner, &wanted);
    match perform(&shared, &control, &decision, refused, work).await {
        // A poll may be a download, too.
        Ok(operation) => cut(respond(200, JSON, Body::empty()), Bytes::from(operation.body()), &decision),
        Err(error) => refuse(&error),
    }
}

/// `POST /batches/{id}:cancel`
pub(super) async fn cancel(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(params): Params,
    Path(call): Path<String>,
) -> Response {
    let owner = match credential(&headers, &params) {
        Ok(owner) => owner,
        Err(error) => return refuse(&error),
    };
    let Some(id) = call.strip_suffix(":cancel").map(str::to_owned) else {
        return refuse(&ApiError::not_found());
    };
    let decision = begin(&shared, Op::Cancel, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Cancel, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, gemini, .. }: &mut World, now| gemini.cancel(core, now, &owner, &wanted);
    nothing(perform(&shared, &control, &decision, refused, work).await)
}

/// `DELETE /batches/{id}`
pub(super) async fn delete(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(params): Params,
    Path(id): Path<String>,
) -> Response {
    let owner = match credential(&headers, &params) {
        Ok(owner) => owner,
        Err(error) => return refuse(&error),
    };
    let decision = begin(&shared, Op::DeleteBatch, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::DeleteBatch, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, gemini, .. }: &mut World, now| gemini.delete(core, now, &owner, &wanted);
    nothing(perform(&shared, &control, &decision, refused, work).await)
}

fn begin(shared: &Arc<Shared>, op: Op, owner: &Credential, id: &str) -> Decision {
    shared.with(|World { core, gemini, .. }, now| {
        let age = gemini.batch(owner, id).ok().map(|batch| now.saturating_sub(batch.created));
        core.begin(op, age.map(|age| (id, age)))
    })
}
