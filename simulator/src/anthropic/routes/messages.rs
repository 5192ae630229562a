//! `/v1/messages`: one call, one answer, at full price; and the counting of tokens, which is free.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::HeaderValue;
use axum::response::Response;
use bytes::Bytes;
use serde_json::json;

use super::{Shell, answer as reply, authorize, refusal, refuse, request_id, respond};
use crate::anthropic::answer::{self, Answer, Style};
use crate::anthropic::error::ApiError;
use crate::anthropic::request::{Dialect, Request, Way};
use crate::anthropic::stream::events;
use crate::credential::{Credential, sha256};
use crate::faults::{Decision, Instead, Op};
use crate::http::{cut, perform, read_body, trickle};
use crate::json::Fields;
use crate::ledger::{Entry, Mode};
use crate::net::Control;
use crate::rng::Rng;
use crate::shared::{Shared, World};

/// Bytes of a body: 32 MB (Anthropic's documentation); larger ones get 413.
const MAX_BODY: usize = 32_000_000;

/// `POST /v1/messages`
pub(super) async fn create(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    request: HttpRequest,
) -> Response {
    let (owner, dialect) = match authorize(request.headers()) {
        Ok(authorized) => authorized,
        Err(error) => return refuse(&shared, &error),
    };
    let decision = shared.with(|world, _| world.core.begin(Op::Sync, None));
    let Some(body) = read_body(request.into_body(), MAX_BODY).await else {
        return refuse(&shared, &ApiError::new(413, "Request exceeds the maximum size"));
    };
    let outcome = read(&body, dialect, Way::Sync, |request| Outcome::of(&shared, &owner, &body, request));
    match outcome {
        Ok(outcome) => deliver(&shared, &control, &decision, outcome).await,
        Err(error) => refuse(&shared, &error),
    }
}

/// `POST /v1/messages/count_tokens`
pub(super) async fn count_tokens(State(shared): Shell, request: HttpRequest) -> Response {
    let dialect = match authorize(request.headers()) {
        Ok((_, dialect)) => dialect,
        Err(error) => return refuse(&shared, &error),
    };
    let Some(body) = read_body(request.into_body(), MAX_BODY).await else {
        return refuse(&shared, &ApiError::new(413, "Request exceeds the maximum size"));
    };
    let count = read(&body, dialect, Way::Count, |request| json!({"input_tokens": request.input_tokens}));
    reply(&shared, count)
}

fn read<T>(
    body: &[u8],
    dialect: Dialect,
    way: Way,
    act: impl FnOnce(&Request<'_>) -> T,
) -> Result<T, ApiError> {
    let fields = std::str::from_utf8(body).ok().and_then(Fields::parse);
    let fields = fields.ok_or_else(|| ApiError::invalid("The request body is not valid JSON"))?;
    Request::check(&fields, dialect, way).map(|request| act(&request))
}

/// A call's answer, made before anything is entered or sent.
struct Outcome {
    entry: Entry,
    slow: Duration,
    result: Result<Parts, ApiError>,
}

/// A body in one piece, or as events.
enum Parts {
    Whole(Bytes),
    Events(Vec<Bytes>),
}

impl Outcome {
    fn of(shared: &Shared, owner: &Credential, body: &Bytes, request: &Request<'_>) -> Self {
        let id = Rng::labelled(shared.config.seed, &format!("message {}", shared.next_request())).next_u64();
        let style = Style { id, awkward: shared.config.awkward_answers, tier: "standard" };
        let answer = Answer::of(request, &style);
        let result = match answer::failure(request) {
            Some(error) => Err(error),
            None if request.stream => Ok(Parts::Events(events(&answer))),
            None => Ok(Parts::Whole(answer.message().into())),
        };
        let entry = Entry {
            provider: crate::anthropic::NAME,
            credential: owner.clone(),
            batch: None,
            custom_id: None,
            model: request.model.as_ref().into(),
            endpoint: crate::anthropic::ENDPOINT,
            body_hash: sha256(body),
            body: (shared.config.keep_bodies > 0).then(|| body.clone()),
            marker: request.magic.echo.as_deref().map(Into::into),
            input_tokens: request.input_tokens,
            output_tokens: if result.is_ok() { answer.output_tokens } else { 0 },
            mode: Mode::Sync,
            status: result.as_ref().err().map_or(200, |error| error.status),
            billed: result.is_ok(),
        };
        Self { entry, slow: Duration::from_millis(request.magic.slow) + shared.config.sync_time, result }
    }
}

/// Bills at once, since a caller that leaves pays all the same, then answers in its time.
async fn deliver(shared: &Arc<Shared>, control: &Control, decision: &Decision, outcome: Outcome) -> Response {
    let Outcome { entry, slow, result } = outcome;
    let refused = |instead: &Instead| Err(refusal("", instead));
    let work = move |World { core, .. }: &mut World, _| {
        core.ledger.record(entry);
        result
    };
    let id = request_id(shared);
    match perform(shared, control, decision, refused, work).await {
        Err(error) => {
            tokio::time::sleep(slow).await;
            refuse(shared, &error)
        }
        Ok(Parts::Whole(body)) => {
            tokio::time::sleep(slow).await;
            cut(headed(respond(&id, 200, "application/json", Body::empty())), body, decision)
        }
        Ok(Parts::Events(events)) => {
            let body = trickle(events, slow);
            headed(respond(&id, 200, "text/event-stream; charset=utf-8", body))
        }
    }
}

/// With the headers that tell of the caller's limits.
fn headed(mut response: Response) -> Response {
    for (name, value) in [
        ("anthropic-ratelimit-requests-limit", "4000"),
        ("anthropic-ratelimit-requests-remaining", "3999"),
        ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
