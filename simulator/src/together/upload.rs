//! Uploads: first a file's name, then its bytes to a storage that knows no keys, then word that they are there.

use axum::Extension;
use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::response::Response;
use http::header::{AUTHORIZATION, HOST, LOCATION};
use serde::Deserialize;

use crate::credential::{hex, sha256};
use crate::faults::{Instead, Op};
use crate::http::read_body;
use crate::net::Control;
use crate::openai::error::ApiError;
use crate::openai::files::NewFile;
use crate::openai::routes::Shell;

/// What proves that an address was given out: anybody who has it may write to it.
fn signature(shell: &Shell, id: &str) -> String {
    hex(&sha256(format!("{} {id}", shell.shared.config.seed).as_bytes())[..16])
}

/// `POST /v1/files`: a name and a purpose; the answer is where to put the bytes.
pub(super) async fn announce(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    request: Request,
) -> Response {
    let owner = match shell.credential(request.headers()) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_owned();
    let decision = shell.begin(Op::Upload);
    let name = match form(request).await {
        Ok(name) => name,
        Err(error) => return shell.refuse(&error),
    };
    let lag = decision.list_lag;
    let file = shell.perform(&control, (Op::Upload, ""), &decision, move |core, model, now| {
        let purpose = "batch-api".to_owned();
        let new = NewFile { name, purpose, content: Default::default(), lifetime: None };
        model.files.admit_upload(core, now, &owner)?;
        let file = model.files.add(core, now, &owner, new);
        (file.listed_from, file.polled) = (now + lag, false);
        Ok(file.id.clone())
    });
    let id = match file.await {
        Ok(id) => id,
        Err(error) => return shell.refuse(&error),
    };
    let place = format!("http://{host}/together/presigned/{id}?signature={}", signature(&shell, &id));
    let mut response = shell.respond(302, "text/plain", Body::empty());
    for (header, value) in [(LOCATION, place), (HeaderName::from_static("x-together-file-id"), id)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(header, value);
        }
    }
    response
}

/// The file's name, if the form is as it should be. The bytes have no place in it.
async fn form(request: Request) -> Result<String, ApiError> {
    let broken = |error: &dyn std::fmt::Display| {
        ApiError::new(400, format!("Could not parse multipart form: {error}"))
    };
    let mut form = Multipart::from_request(request, &()).await.map_err(|error| broken(&error))?;
    let (mut purpose, mut file_name, mut file_type) = (None, None, None);
    while let Some(part) = form.next_field().await.map_err(|error| broken(&error))? {
        let name = part.name().unwrap_or_default().to_owned();
        if name == "file" {
            return Err(ApiError::invalid(
                "The file's content is uploaded to the address given.",
                "file",
                "",
            ));
        }
        let text = part.text().await.map_err(|error| broken(&error))?;
        match name.as_str() {
            "purpose" => purpose = Some(text),
            "file_name" => file_name = Some(text),
            "file_type" => file_type = Some(text),
            _ => {}
        }
    }
    let purpose = purpose.ok_or_else(|| ApiError::missing("purpose"))?;
    if purpose != "batch-api" {
        return Err(ApiError::unsupported_value("purpose", &purpose, &["batch-api"]));
    }
    let file_type = file_type.ok_or_else(|| ApiError::missing("file_type"))?;
    if file_type != "jsonl" {
        return Err(ApiError::unsupported_value("file_type", &file_type, &["jsonl"]));
    }
    file_name.ok_or_else(|| ApiError::missing("file_name"))
}

#[derive(Debug, Deserialize)]
pub(super) struct Signed {
    signature: Option<String>,
}

/// `PUT` to the address that was given out. A key has no place there: the storage belongs to somebody else.
pub(super) async fn put(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    Path(id): Path<String>,
    Query(query): Query<Signed>,
    request: Request,
) -> Response {
    let storage_error = |status: u16, code: &str| {
        let text = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
        shell.respond(status, "application/xml", Body::from(text))
    };
    if query.signature.is_none_or(|given| given != signature(&shell, &id)) {
        return storage_error(403, "SignatureDoesNotMatch");
    }
    if request.headers().contains_key(AUTHORIZATION) {
        shell.shared.with(|world, _| world.core.violation("a key was sent to the storage"));
        return storage_error(400, "InvalidArgument");
    }
    let decision = shell.begin(Op::Upload);
    if decision.instead == Some(Instead::Reset) {
        return control.reset().await;
    }
    let most = shell.shared.config.max_file_bytes.min(shell.profile.max_file_bytes) as usize;
    let Some(body) = read_body(request.into_body(), most).await else {
        return storage_error(400, "EntityTooLarge");
    };
    let wanted = id.clone();
    let written = shell
        .perform(&control, (Op::Upload, &id), &decision, move |_, model, _| model.files.fill(&wanted, body));
    match written.await {
        Ok(()) => shell.respond(200, "application/xml", Body::empty()),
        Err(error) => storage_error(error.status, "NoSuchKey"),
    }
}

/// `POST /v1/files/{id}/preprocess`: from now on the file can be used.
pub(super) async fn preprocess(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Response {
    let wanted = id.clone();
    let file = shell.on_file(&control, &headers, (Op::Upload, &id), move |_, model, now, owner| {
        if model.files.get(now, owner, &wanted)?.content.is_empty() {
            return Err(ApiError::new(400, format!("File {wanted} has not been uploaded.")));
        }
        model.files.retrieve(now, owner, &wanted)
    });
    shell.answer(file.await)
}
