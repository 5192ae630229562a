//! `/files` and `/download/.../files`.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;

use super::{Params, Shell, answer, credential, nothing, page, refusal, refuse, respond};
use crate::credential::Credential;
use crate::faults::{Decision, Instead, Op};
use crate::gemini::error::ApiError;
use crate::http::{cut, perform, shorten};
use crate::net::Control;
use crate::shared::{Shared, World};

/// `GET /files`
pub(super) async fn list(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    headers: HeaderMap,
    Query(params): Params,
) -> Response {
    let (owner, (size, token)) =
        match credential(&headers, &params).and_then(|owner| Ok((owner, page(&params, 10, 100)?))) {
            Ok(asked) => asked,
            Err(error) => return refuse(&error),
        };
    let decision = shared.with(|world, _| world.core.begin(Op::ListFiles, None));
    let refused = |instead: &Instead| Err(refusal(Op::ListFiles, "", instead));
    let work = move |World { gemini, .. }: &mut World, now| Ok(gemini.files.list(now, &owner, token, size));
    answer(perform(&shared, &control, &decision, refused, work).await)
}

/// `GET /files/{id}`, and `GET /files/{id}:download?alt=media` under both roots
pub(super) async fn retrieve(
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
    if let Some(id) = call.strip_suffix(":download") {
        return download(&shared, &control, owner, id, &params).await;
    }
    let decision = begin(&shared, Op::File, &owner, &call);
    let refused = |instead: &Instead| Err(refusal(Op::File, &call, instead));
    let wanted = call.clone();
    let work = move |World { gemini, .. }: &mut World, now| {
        gemini.files.get(now, &owner, &wanted).map(|file| file.view())
    };
    answer(perform(&shared, &control, &decision, refused, work).await)
}

async fn download(
    shared: &Arc<Shared>,
    control: &Control,
    owner: Credential,
    id: &str,
    params: &HashMap<String, String>,
) -> Response {
    if params.get("alt").is_none_or(|alt| alt != "media") {
        return refuse(&ApiError::invalid("A download needs 'alt=media'."));
    }
    let decision = begin(shared, Op::Content, &owner, id);
    let refused = |instead: &Instead| Err(refusal(Op::Content, id, instead));
    let wanted = id.to_owned();
    let work = move |World { gemini, .. }: &mut World, now| gemini.files.download(now, &owner, &wanted);
    match perform(shared, control, &decision, refused, work).await {
        Ok(content) => {
            let response = respond(200, "application/octet-stream", Body::empty());
            cut(response, shorten(content, decision.short_by), &decision)
        }
        Err(error) => refuse(&error),
    }
}

/// `DELETE /files/{id}`
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
    let decision = begin(&shared, Op::Delete, &owner, &id);
    let refused = |instead: &Instead| Err(refusal(Op::Delete, &id, instead));
    let wanted = id.clone();
    let work =
        move |World { core, gemini, .. }: &mut World, now| gemini.delete_file(core, now, &owner, &wanted);
    nothing(perform(&shared, &control, &decision, refused, work).await)
}

fn begin(shared: &Arc<Shared>, op: Op, owner: &Credential, id: &str) -> Decision {
    shared.with(|World { core, gemini, .. }, now| {
        let age = gemini.files.get(now, owner, id).ok().map(|file| now.saturating_sub(file.created));
        core.begin(op, age.map(|age| (id, age)))
    })
}
