//! `/v1/batches`.

use axum::Extension;
use axum::extract::{Path, Query, Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use bytes::Bytes;

use super::Shell;
use crate::credential::Credential;
use crate::faults::Op;
use crate::http::read_body;
use crate::net::Control;
use crate::openai::batches::{Create, ListBatches};
use crate::openai::error::ApiError;

/// Bytes of a `POST /v1/batches` body; 16 pairs of metadata are far smaller.
const MAX_BODY: usize = 1 << 20;

/// Who creates a batch, and the body of the creation, of at most `limit` bytes.
pub(crate) async fn creation(
    shell: &Shell,
    request: Request,
    limit: usize,
) -> Result<(Credential, Bytes), ApiError> {
    let owner = shell.batch_credential(request.headers())?;
    let body = read_body(request.into_body(), limit).await;
    body.map(|body| (owner, body)).ok_or_else(|| ApiError::new(413, "The request body is too large."))
}

/// `POST /v1/batches`
pub(crate) async fn create(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let (owner, body) = match creation(&shell, request, MAX_BODY).await {
        Ok(creation) => creation,
        Err(error) => return shell.refuse(&error),
    };
    let create = Create::parse(shell.profile, &body);
    shell.answer(shell.create(&control, owner, create, |batch| batch).await)
}

/// `GET /v1/batches`
pub(crate) async fn list(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(query): Query<ListBatches>,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::List, move |core, model, now, owner| {
        model.list(core, now, owner, &query)
    });
    shell.answer(list.await)
}

/// `GET /v1/batches/{id}`
pub(crate) async fn retrieve(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let batch = shell.on_batch(&control, &headers, (Op::Retrieve, &id), move |core, model, now, owner| {
        model.retrieve(core, now, owner, &wanted)
    });
    shell.answer(batch.await)
}

/// `POST /v1/batches/{id}/cancel`
pub(crate) async fn cancel(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let batch = shell.on_batch(&control, &headers, (Op::Cancel, &id), move |core, model, now, owner| {
        model.cancel(core, now, owner, &wanted)
    });
    shell.answer(batch.await)
}
