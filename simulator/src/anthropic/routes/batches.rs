//! `/v1/messages/batches`.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;
use http::header::HOST;
use serde_json::Value;

use super::{Shell, answer, authorize_batches, header, refusal, refuse, request_id, respond};
use crate::anthropic::create::{Create, MAX_BYTES, too_large};
use crate::anthropic::error::ApiError;
use crate::anthropic::model::{Caller, ListBatches};
use crate::anthropic::request::Dialect;
use crate::credential::Credential;
use crate::faults::{Decision, Ending, Instead, Op};
use crate::http::{cut, perform, read_body, shorten};
use crate::net::Control;
use crate::shared::{Shared, World};

/// `POST /v1/messages/batches`
pub(super) async fn create(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let headers = request.headers().clone();
    let (owner, dialect) = match authorize_batches(&headers) {
        Ok(authorized) => authorized,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::Create, None));
    if decision.instead == Some(Instead::Reset) {
        // Before the body is read: a caller that sends a large one finds out in the middle of it.
        return control.reset().await;
    }
    let create = match read(request, dialect).await {
        Ok(create) => create,
        Err(error) => {
            shared.with(|world, _| {
                world.core.violation(format!("a batch creation was malformed: {}", error.message));
            });
            return refuse(&shared, &error);
        }
    };
    let caller = caller(&headers, owner, &decision);
    let made = decision.clone();
    let refused = |instead: &Instead| Err(refusal("", instead));
    let work = move |World { core, anthropic, .. }: &mut World, now| {
        Ok(anthropic.create(core, now, &caller, create, &made))
    };
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

async fn read(request: Request, dialect: Dialect) -> Result<Create, ApiError> {
    let body = read_body(request.into_body(), MAX_BYTES).await.ok_or_else(too_large)?;
    // Slow for the largest.
    let parsed = tokio::task::spawn_blocking(move || Create::parse(&body, dialect)).await;
    parsed.unwrap_or_else(|_| Err(ApiError::new(500, "Internal server error")))
}

/// `GET /v1/messages/batches`
pub(super) async fn list(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(query): Query<ListBatches>,
) -> Response {
    let owner = match authorize_batches(&headers) {
        Ok((owner, _)) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::List, None));
    let caller = caller(&headers, owner, &decision);
    let refused = |instead: &Instead| Err(refusal("", instead));
    let work =
        move |World { core, anthropic, .. }: &mut World, now| anthropic.list(core, now, &caller, &query);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/messages/batches/{id}`
pub(super) async fn retrieve(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let (caller, decision) = match begin(&shared, &headers, Op::Retrieve, &id) {
        Ok(begun) => begun,
        Err(error) => return refuse(&shared, &error),
    };
    let wanted = id.clone();
    let refused = |instead: &Instead| Err(refusal(&id, instead));
    let work =
        move |World { core, anthropic, .. }: &mut World, now| anthropic.retrieve(core, now, &caller, &wanted);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `POST /v1/messages/batches/{id}/cancel`
pub(super) async fn cancel(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let (caller, decision) = match begin(&shared, &headers, Op::Cancel, &id) {
        Ok(begun) => begun,
        Err(error) => return refuse(&shared, &error),
    };
    let wanted = id.clone();
    let refused = |instead: &Instead| Err(refusal(&id, instead));
    let work =
        move |World { core, anthropic, .. }: &mut World, now| anthropic.cancel(core, now, &caller, &wanted);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `DELETE /v1/messages/batches/{id}`
pub(super) async fn delete(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let (caller, decision) = match begin(&shared, &headers, Op::Delete, &id) {
        Ok(begun) => begun,
        Err(error) => return refuse(&shared, &error),
    };
    let wanted = id.clone();
    let refused = |instead: &Instead| Err(refusal(&id, instead));
    let work = move |World { core, anthropic, .. }: &mut World, _| -> Result<Value, ApiError> {
        anthropic.delete(core, &caller.owner, &wanted)
    };
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/messages/batches/{id}/results`
pub(super) async fn results(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let (caller, decision) = match begin(&shared, &headers, Op::Content, &id) {
        Ok(begun) => begun,
        Err(error) => return refuse(&shared, &error),
    };
    let wanted = id.clone();
    let refused = |instead: &Instead| Err(refusal(&id, instead));
    let work =
        move |World { core, anthropic, .. }: &mut World, _| anthropic.results(core, &caller.owner, &wanted);
    let results: Result<Bytes, ApiError> = perform(&shared, &control, &decision, refused, work).await;
    match results {
        Ok(results) => {
            let response = respond(&request_id(&shared), 200, "application/x-jsonl", Body::empty());
            cut(response, shorten(results, decision.short_by), &decision)
        }
        Err(error) => refuse(&shared, &error),
    }
}

/// Who calls about a batch, and what the faults decide for it.
fn begin(
    shared: &Arc<Shared>,
    headers: &HeaderMap,
    op: Op,
    id: &str,
) -> Result<(Caller, Decision), ApiError> {
    let (owner, _) = authorize_batches(headers)?;
    let decision = shared.with(|World { core, anthropic, .. }, now| {
        let age = anthropic.created(&owner, id).map(|created| now.saturating_sub(created));
        core.begin(op, age.map(|age| (id, age)))
    });
    Ok((caller(headers, owner, &decision), decision))
}

fn caller(headers: &HeaderMap, owner: Credential, decision: &Decision) -> Caller {
    let base = format!("http://{}", header(headers, HOST.as_str()));
    Caller { owner, base, hears: decision.ending == Ending::Answered }
}
