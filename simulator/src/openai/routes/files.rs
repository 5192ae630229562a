//! `/v1/files`.

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use bytes::BytesMut;
use http::header::{CONTENT_RANGE, RANGE};

use super::Shell;
use crate::faults::{Instead, Op};
use crate::http::{cut, shorten};
use crate::net::Control;
use crate::openai::error::ApiError;
use crate::openai::files::{ListFiles, Upload};

/// Bytes of a form part that is not the file.
const MAX_PART: usize = 4096;

/// `POST /v1/files`
pub(crate) async fn upload(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let owner = match shell.credential(request.headers()) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let decision = shell.begin(Op::Upload);
    if decision.instead == Some(Instead::Reset) {
        // Before the body is read: a caller that sends a large one finds out in the middle of it.
        return control.reset().await;
    }
    let most = shell.shared.config.max_file_bytes.min(shell.profile.max_file_bytes);
    let upload = match receive(request, most, shell.profile.dotted_names).await {
        Ok(upload) => upload,
        Err(error) => return shell.refuse(&error),
    };
    let lag = decision.list_lag;
    let file = shell.perform(&control, (Op::Upload, ""), &decision, move |core, model, now| {
        model.files.upload(core, now, &owner, upload, lag)
    });
    shell.answer(file.await)
}

/// Reads a form; of a file that is too large only the size.
async fn receive(request: Request, max_file: u64, dotted: bool) -> Result<Upload, ApiError> {
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
            // As Azure's documentation writes it; OpenAI takes only the other.
            "expires_after.anchor" if dotted => upload.anchor = text(),
            "expires_after.seconds" if dotted => upload.seconds = text(),
            "file" => (upload.size, upload.content) = (size, content.freeze()),
            _ => {}
        }
    }
    Ok(upload)
}

/// `GET /v1/files`
pub(crate) async fn list(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(query): Query<ListFiles>,
) -> Response {
    let list = shell.on_all(&control, &headers, Op::ListFiles, move |_, model, now, owner| {
        model.files.list(now, owner, &query)
    });
    shell.answer(list.await)
}

/// `GET /v1/files/{id}`
pub(crate) async fn retrieve(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let file = shell.on_file(&control, &headers, (Op::File, &id), move |_, model, now, owner| {
        model.files.retrieve(now, owner, &wanted)
    });
    shell.answer(file.await)
}

/// `DELETE /v1/files/{id}`
pub(crate) async fn delete(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let gone = shell.on_file(&control, &headers, (Op::Delete, &id), move |core, model, now, owner| {
        model.delete_file(core, now, owner, &wanted)
    });
    shell.answer(gone.await)
}

/// `GET /v1/files/{id}/content`
pub(crate) async fn content(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let owner = match shell.credential(&headers) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let decision = shell.begin_file(Op::Content, &owner, &id);
    let wanted = id.clone();
    let content = shell.perform(&control, (Op::Content, &id), &decision, move |_, model, now| {
        model.files.get(now, &owner, &wanted).map(|file| file.content.clone())
    });
    let content = match content.await {
        Ok(content) => shorten(content, decision.short_by),
        Err(error) => return shell.refuse(&error),
    };
    let from = range_start(&headers).filter(|from| shell.shared.config.ranges && *from < content.len());
    let mut response =
        shell.respond(if from.is_some() { 206 } else { 200 }, "application/octet-stream", Body::empty());
    let part = content.slice(from.unwrap_or(0)..);
    if let Some(from) = from
        && let Ok(range) =
            HeaderValue::from_str(&format!("bytes {from}-{}/{}", content.len() - 1, content.len()))
    {
        response.headers_mut().insert(CONTENT_RANGE, range);
    }
    cut(response, part, &decision)
}

/// The N of `Range: bytes=N-`.
fn range_start(headers: &HeaderMap) -> Option<usize> {
    headers.get(RANGE)?.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
}
