//! `/upload/.../files`: the resumable protocol.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use http::header::HOST;

use super::{JSON, Params, Shell, credential, refusal, refuse, respond, version};
use crate::faults::{Instead, Op};
use crate::gemini::error::ApiError;
use crate::gemini::uploads::{Chunk, GRANULARITY, Start};
use crate::http::{perform, read_body};
use crate::net::Control;
use crate::shared::{Shared, World};

/// Bytes of a body that begins an upload.
const MAX_START: usize = 64 << 10;

/// `POST /upload/{version}/files`: begins an upload, or goes on with one, which needs no key.
pub(super) async fn upload(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    Query(params): Params,
    request: Request,
) -> Response {
    let command = header(request.headers(), "x-goog-upload-command").to_ascii_lowercase();
    let words: Vec<&str> = command.split(',').map(str::trim).collect();
    match (params.get("upload_id"), words.as_slice()) {
        (None, ["start"]) => match credential(request.headers(), &params) {
            Ok(owner) => start(&shared, &control, owner, request).await,
            Err(error) => refuse(&error),
        },
        (Some(id), ["upload"]) => receive(&shared, &control, id, request, false).await,
        (Some(id), ["upload", "finalize"] | ["finalize"]) => {
            receive(&shared, &control, id, request, true).await
        }
        (Some(id), ["query"]) => query(&shared, id),
        (Some(id), ["cancel"]) => match shared.with(|world, _| world.gemini.uploads.cancel(id)) {
            Ok(()) => told(respond(200, JSON, Body::empty()), "cancelled"),
            Err(error) => refuse(&error),
        },
        _ => refuse(&ApiError::invalid(format!("Invalid upload command '{command}'."))),
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// With the status of the upload.
fn told(mut response: Response, status: &'static str) -> Response {
    response.headers_mut().insert("x-goog-upload-status", HeaderValue::from_static(status));
    response
}

async fn start(
    shared: &Arc<Shared>,
    control: &Control,
    owner: crate::credential::Credential,
    request: Request,
) -> Response {
    let decision = shared.with(|world, _| world.core.begin(Op::StartUpload, None));
    let (head, body) = request.into_parts();
    let given = |name| Some(header(&head.headers, name).to_owned()).filter(|text| !text.is_empty());
    let protocol = header(&head.headers, "x-goog-upload-protocol");
    if protocol != "resumable" {
        return refuse(&ApiError::invalid(format!("Invalid upload protocol '{protocol}'.")));
    }
    let size = given("x-goog-upload-header-content-length").map(|text| text.parse());
    let Ok(size) = size.transpose() else {
        return refuse(&ApiError::invalid("X-Goog-Upload-Header-Content-Length is not a number."));
    };
    let Some(body) = read_body(body, MAX_START).await else {
        return refuse(&ApiError::new(413, "The request body is too large."));
    };
    let start = Start::new(size, given("x-goog-upload-header-content-type"));
    let start = match start.describe(&String::from_utf8_lossy(&body)) {
        Ok(start) => start,
        Err(error) => return refuse(&error),
    };
    let refused = |instead: &Instead| Err(refusal(Op::StartUpload, "", instead));
    let work =
        move |World { core, gemini, .. }: &mut World, now| gemini.uploads.start(core, now, &owner, start);
    let id = match perform(shared, control, &decision, refused, work).await {
        Ok(id) => id,
        Err(error) => return refuse(&error),
    };
    let host =
        head.uri.authority().map_or_else(|| header(&head.headers, HOST.as_str()), |name| name.as_str());
    let version = version(&head.uri);
    let url = format!("http://{host}/upload/{version}/files?upload_id={id}&upload_protocol=resumable");
    let mut response = told(respond(200, JSON, Body::empty()), "active");
    let headers = response.headers_mut();
    if let Ok(url) = HeaderValue::from_str(&url) {
        headers.insert("x-goog-upload-url", url);
    }
    headers.insert("x-goog-upload-chunk-granularity", HeaderValue::from(GRANULARITY));
    response
}

async fn receive(
    shared: &Arc<Shared>,
    control: &Control,
    id: &str,
    request: Request,
    last: bool,
) -> Response {
    let decision = shared.with(|world, _| world.core.begin(Op::Upload, None));
    if decision.instead == Some(Instead::Reset) {
        // Before the body is read: a caller that sends a large one finds out in the middle of it.
        return control.reset().await;
    }
    let offset = header(request.headers(), "x-goog-upload-offset").parse();
    let most = usize::try_from(shared.config.max_file_bytes).unwrap_or(usize::MAX);
    let Some(data) = read_body(request.into_body(), most).await else {
        return refuse(&ApiError::invalid(format!("File size exceeds the limit of {most} bytes.")));
    };
    let Ok(offset) = offset else {
        return refuse(&ApiError::invalid("X-Goog-Upload-Offset is missing or not a number."));
    };
    let (id, list_lag) = (id.to_owned(), decision.list_lag);
    let refused = |instead: &Instead| Err(refusal(Op::Upload, "", instead));
    let work = move |World { core, gemini, .. }: &mut World, now| {
        let chunk = Chunk { offset, data, last, list_lag };
        gemini.uploads.receive(core, now, &mut gemini.files, &id, chunk)
    };
    match perform(shared, control, &decision, refused, work).await {
        Ok(Some(file)) => told(respond(200, JSON, Body::from(file.to_string())), "final"),
        Ok(None) => told(respond(200, JSON, Body::empty()), "active"),
        Err(error) => refuse(&error),
    }
}

/// Tells how much of an upload has arrived.
fn query(shared: &Arc<Shared>, id: &str) -> Response {
    match shared.with(|world, _| world.gemini.uploads.progress(id)) {
        Ok((received, finished)) => {
            let mut response = respond(200, JSON, Body::empty());
            response.headers_mut().insert("x-goog-upload-size-received", HeaderValue::from(received));
            told(response, if finished { "final" } else { "active" })
        }
        Err(error) => refuse(&error),
    }
}
