//! Routes for operators: counters, liveness, readiness.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;

use super::answer::{refusal, whole};
use super::payload::Payload;
use super::route::{Ours, ours};
use super::server::{Answering, Handler};
use super::socket::Socket;
use crate::dialect::{Dialect, Problem};
use crate::hold::Holder;
use crate::stats::Stats;

/// Content types of the pages.
pub(crate) const JSON: &str = "application/json";
pub(crate) const CSV: &str = "text/csv; charset=utf-8";

/// Answers `/stats`, `/stats/usage.csv`, `/healthz` and `/readyz`, and nothing else.
#[derive(Clone)]
pub struct Admin {
    holder: Holder,
    stats: Arc<Stats>,
}

impl Admin {
    /// The routes of an ingress.
    pub fn new(holder: Holder, stats: Arc<Stats>) -> Self {
        Self { holder, stats }
    }

    pub(super) fn answer(&self, method: &Method, ours: Ours) -> Response<Payload> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response =
                refusal(Dialect::OpenAi, &Problem::new(StatusCode::METHOD_NOT_ALLOWED, "Use GET here."));
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response.map(Payload::from);
        }
        let (status, body) = match ours {
            Ours::Stats => (StatusCode::OK, self.stats.to_json(self.holder.gauge())),
            Ours::Usage => (StatusCode::OK, self.stats.to_csv()),
            Ours::Health => (StatusCode::OK, Bytes::from_static(br#"{"status":"ok"}"#)),
            Ours::Ready if self.holder.is_ready() => {
                (StatusCode::OK, Bytes::from_static(br#"{"status":"ready"}"#))
            }
            Ours::Ready => {
                (StatusCode::SERVICE_UNAVAILABLE, Bytes::from_static(br#"{"status":"not ready"}"#))
            }
        };
        let mut headers = HeaderMap::with_capacity(2);
        let kind = if ours == Ours::Usage { CSV } else { JSON };
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        whole(status, headers, body).map(Payload::from)
    }
}

/// For paths that are ours but not served on this listener: they never go to a provider.
pub(super) fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path on this address.")
}

impl Handler for Admin {
    fn handle(self: Arc<Self>, request: Request<Incoming>, _: Option<Arc<Socket>>) -> Answering {
        let answer = match ours(request.uri().path()) {
            Some(ours) => self.answer(request.method(), ours),
            None => refusal(Dialect::OpenAi, &nothing_here()).map(Payload::from),
        };
        Box::pin(std::future::ready(answer))
    }
}
