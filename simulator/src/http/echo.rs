//! Routes that show what arrived: for tests of a relay. No key is asked for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use axum::routing::any;
use http::header::{CONNECTION, CONTENT_TYPE, SET_COOKIE, UPGRADE};
use http::{HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use hyper_util::rt::TokioIo;
use serde_json::json;

use crate::credential::hex;
use crate::shared::Shared;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/v1/echo", any(echo))
        .route("/v1/echo/{*rest}", any(echo))
        .route("/v1/mirror", any(mirror))
        .route("/v1/upgrade", any(upgrade))
}

/// Answers what arrived, as JSON, with two cookies.
async fn echo(request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let mut hash = aws_lc_rs::digest::Context::new(&aws_lc_rs::digest::SHA256);
    let (mut length, mut whole) = (0, true);
    while let Some(frame) = body.frame().await {
        match frame.map(|frame| frame.into_data()) {
            Ok(Ok(data)) => {
                hash.update(&data);
                length += data.len();
            }
            Ok(Err(_trailers)) => {}
            Err(_) => whole = false,
        }
    }
    let headers: Vec<_> = head
        .headers
        .iter()
        .map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        })
        .collect();
    let answer = json!({
        "method": head.method.as_str(),
        "path": head.uri.path_and_query().map_or("/", |path| path.as_str()),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "body": {"sha256": hex(hash.finish().as_ref()), "len": length, "complete": whole},
    });
    let mut response = answer.to_string().into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.append(SET_COOKIE, HeaderValue::from_static("first=1; Path=/"));
    headers.append(SET_COOKIE, HeaderValue::from_static("second=2; Path=/; HttpOnly"));
    response
}

/// Sends the body back while it arrives.
async fn mirror(request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).cloned();
    let mut response = Response::new(request.into_body());
    if let Some(content_type) = content_type {
        response.headers_mut().insert(CONTENT_TYPE, content_type);
    }
    response
}

/// Switches to the protocol `echo`: every byte comes back.
async fn upgrade(mut request: Request) -> Response {
    let asked = request
        .headers()
        .get(UPGRADE)
        .is_some_and(|protocol| protocol.as_bytes().eq_ignore_ascii_case(b"echo"));
    if !asked {
        return (StatusCode::UPGRADE_REQUIRED, [(UPGRADE, "echo")], "send 'upgrade: echo'").into_response();
    }
    let upgraded = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
                // A broken connection ends the echo, that is all.
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = tokio::io::AsyncWriteExt::shutdown(&mut write).await;
            }
            Err(error) => tracing::debug!(%error, "an upgrade failed"),
        }
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static("echo"));
    response
}
