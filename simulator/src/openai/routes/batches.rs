//! `/v1/batches`.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::{Shell, answer, batch_credential, refusal, refuse};
use crate::credential::Credential;
use crate::faults::{Decision, Instead, Op};
use crate::http::{perform, read_body};
use crate::net::Control;
use crate::openai::batches::{Create, ListBatches};
use crate::openai::error::ApiError;
use crate::shared::{Shared, World};

/// Bytes of a `POST /v1/batches` body; 16 pairs of metadata are far smaller.
const MAX_BODY: usize = 1 << 20;

/// `POST /v1/batches`
pub(super) async fn create(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let owner = match batch_credential(request.headers()) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let Some(body) = read_body(request.into_body(), MAX_BODY).await else {
        return refuse(&shared, &ApiError::new(413, "The request body is too large."));
    };
    let create = match Create::parse(&body) {
        Ok(create) => create,
        Err(error) => {
            shared.with(|world, _| {
                world.core.begin(Op::Create, None);
                world.core.violation(format!("a batch creation was malformed: {}", error.message));
            });
            return refuse(&shared, &error);
        }
    };
    let file = create.input_file.clone();
    let decision = shared.with(|World { core, openai, .. }, now| {
        let age = openai.files.get(now, &owner, &file).ok().map(|file| now.saturating_sub(file.created));
        core.begin(Op::Create, age.map(|age| (file.as_str(), age)))
    });
    let refused = |instead: &Instead| Err(refusal(Op::Create, &file, instead));
    let made = decision.clone();
    let work =
        move |World { core, openai, .. }: &mut World, now| openai.create(core, now, &owner, create, &made);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/batches`
pub(super) async fn list(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(query): Query<ListBatches>,
) -> Response {
    let owner = match batch_credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::List, None));
    let refused = |instead: &Instead| Err(refusal(Op::List, "", instead));
    let work = move |World { core, openai, .. }: &mut World, now| openai.list(core, now, &owner, &query);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/batches/{id}`
pub(super) async fn retrieve(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match batch_credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = begin(&shared, Op::Retrieve, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Retrieve, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, openai, .. }: &mut World, now| openai.retrieve(core, now, &owner, &wanted);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `POST /v1/batches/{id}/cancel`
pub(super) async fn cancel(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match batch_credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = begin(&shared, Op::Cancel, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Cancel, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, openai, .. }: &mut World, now| openai.cancel(core, now, &owner, &wanted);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

fn begin(shared: &Arc<Shared>, op: Op, owner: &Credential, id: &str) -> Decision {
    shared.with(|World { core, openai, .. }, now| {
        let age = openai.batch(owner, id).ok().map(|batch| now.saturating_sub(batch.created));
        core.begin(op, age.map(|age| (id, age)))
    })
}
