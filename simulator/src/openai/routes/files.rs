//! `/v1/files`.

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_RANGE, RANGE};
use serde_json::Value;

use super::{Shell, answer, credential, refusal, refuse, respond};
use crate::faults::{Decision, Instead, Op};
use crate::http::{cut, perform, shorten};
use crate::net::Control;
use crate::openai::error::ApiError;
use crate::openai::files::{ListFiles, Upload};
use crate::shared::World;

/// Bytes of a form part that is not the file.
const MAX_PART: usize = 4096;

/// `POST /v1/files`
pub(super) async fn upload(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let owner = match credential(request.headers()) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::Upload, None));
    if decision.instead == Some(Instead::Reset) {
        // Before the body is read: a caller that sends a large one finds out in the middle of it.
        return control.reset().await;
    }
    let upload = match receive(request, shared.config.max_file_bytes).await {
        Ok(upload) => upload,
        Err(error) => return refuse(&shared, &error),
    };
    let lag = decision.list_lag;
    let result = perform(
        &shared,
        &control,
        &decision,
        |instead| Err(refusal(Op::Upload, "", instead)),
        move |World { core, openai, .. }, now| openai.files.upload(core, now, &owner, upload, lag),
    );
    answer(&shared, result.await)
}

/// Reads a form; of a file that is too large only the size.
async fn receive(request: Request, max_file: u64) -> Result<Upload, ApiError> {
    let broken = |error: &dyn std::fmt::Display| {
        ApiError::new(400, format!("Could not parse multipart form: {error}"))
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(&error))?;
    let mut upload = Upload::default();
    while let Some(mut part) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        let is_file = name == "file";
        if is_file {
            upload.name = Some(part.file_name().unwrap_or_default().to_owned());
        }
        let most = if is_file { max_file } else { MAX_PART as u64 };
        let (mut size, mut content) = (0, BytesMut::new());
        while let Some(chunk) = part.chunk().await.map_err(|error| broken(&error))? {
            size += chunk.len() as u64;
            if size <= most {
                content.extend_from_slice(&chunk);
            } else {
                content = BytesMut::new();
            }
        }
        let text = || Some(String::from_utf8_lossy(&content).into_owned());
        match name.as_str() {
            "purpose" => upload.purpose = text(),
            "expires_after[anchor]" => upload.anchor = text(),
            "expires_after[seconds]" => upload.seconds = text(),
            "file" => (upload.size, upload.content) = (size, content.freeze()),
            _ => {}
        }
    }
    Ok(upload)
}

/// `GET /v1/files`
pub(super) async fn list(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(query): Query<ListFiles>,
) -> Response {
    let owner = match credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::ListFiles, None));
    let refused = |instead: &Instead| Err(refusal(Op::ListFiles, "", instead));
    let work = move |World { openai, .. }: &mut World, now| openai.files.list(now, &owner, &query);
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/files/{id}`
pub(super) async fn retrieve(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = begin(&shared, Op::File, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::File, &id, instead));
    let wanted = id.clone();
    let work = move |World { openai, .. }: &mut World, now| {
        openai.files.get(now, &owner, &wanted).map(|file| file.view())
    };
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `DELETE /v1/files/{id}`
pub(super) async fn delete(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = begin(&shared, Op::Delete, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Delete, &id, instead));
    let wanted = id.clone();
    let work = move |World { core, openai, .. }: &mut World, now| -> Result<Value, ApiError> {
        openai.delete_file(core, now, &owner, &wanted)
    };
    answer(&shared, perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /v1/files/{id}/content`
pub(super) async fn content(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = begin(&shared, Op::Content, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Content, &id, instead));
    let wanted = id.clone();
    let work = move |World { openai, .. }: &mut World, now| {
        openai.files.get(now, &owner, &wanted).map(|file| file.content.clone())
    };
    let content: Result<Bytes, ApiError> = perform(&shared, &control, &decision, refused, work).await;
    let content = match content {
        Ok(content) => shorten(content, decision.short_by),
        Err(error) => return refuse(&shared, &error),
    };
    let from = range_start(&headers).filter(|from| shared.config.ranges && *from < content.len());
    let mut response =
        respond(&shared, if from.is_some() { 206 } else { 200 }, "application/octet-stream", Body::empty());
    let part = content.slice(from.unwrap_or(0)..);
    if let Some(from) = from
        && let Ok(range) =
            HeaderValue::from_str(&format!("bytes {from}-{}/{}", content.len() - 1, content.len()))
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    cut(response, part, &decision)
}

fn begin(
    shared: &crate::shared::Shared,
    op: Op,
    owner: &crate::credential::Credential,
    id: &str,
) -> Decision {
    shared.with(|World { core, openai, .. }, now| {
        let age = openai.files.get(now, owner, id).ok().map(|file| now.saturating_sub(file.created));
        core.begin(op, age.map(|age| (id, age)))
    })
}

/// The N of `Range: bytes=N-`.
fn range_start(headers: &HeaderMap) -> Option<usize> {
    headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
