//! The plain endpoints: one call, one answer, at full price.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Request as HttpRequest, State};
use axum::http::{HeaderValue, Uri};
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;

use super::Shell;
use crate::core::Core;
use crate::credential::{Credential, sha256};
use crate::faults::{Decision, Op};
use crate::http::{cut, read_body, trickle};
use crate::json::Fields;
use crate::ledger::{Entry, Mode};
use crate::net::Control;
use crate::openai::answer::{self, Style};
use crate::openai::endpoint::Endpoint;
use crate::openai::error::ApiError;
use crate::openai::model::Model;
use crate::openai::request::{Request, model_of};
use crate::openai::stream::events;
use crate::rng::Rng;

/// Bytes of a body; larger ones get 413.
const MAX_BODY: usize = 100_000_000;

/// What stands for a multipart body, which is not looked into.
const MULTIPART: &str = r#"{"prompt":"multipart"}"#;

/// `POST` to any endpoint that answers directly.
pub(crate) async fn call(
    State(shell): State<Shell>,
    Extension(control): Extension<Control>,
    uri: Uri,
    request: HttpRequest,
) -> Response {
    match shell.profile.endpoint(uri.path()) {
        Some(endpoint) => serve(&shell, &control, endpoint, None, request).await,
        None => shell.refuse(&ApiError::new(404, format!("Invalid URL (POST {})", uri.path()))),
    }
}

/// Answers a call of an endpoint, by the model that the path named, if it did.
pub(crate) async fn serve(
    shell: &Shell,
    control: &Control,
    endpoint: Endpoint,
    model: Option<&str>,
    request: HttpRequest,
) -> Response {
    let owner = match shell.credential(request.headers()) {
        Ok(owner) => owner,
        Err(error) => return shell.refuse(&error),
    };
    let decision = shell.begin(Op::Sync);
    let multipart =
        request.headers().get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"multipart/"));
    let Some(body) = read_body(request.into_body(), MAX_BODY).await else {
        return shell.refuse(&ApiError::new(413, "The request body is too large."));
    };
    let text = if multipart { MULTIPART } else { std::str::from_utf8(&body).unwrap_or_default() };
    let outcome =
        read(shell, endpoint, model, text).map(|request| Outcome::of(shell, &owner, &body, &request));
    match outcome {
        Ok(outcome) => deliver(shell, control, &decision, outcome).await,
        Err(error) => shell.refuse(&error),
    }
}

fn read<'a>(
    shell: &Shell,
    endpoint: Endpoint,
    model: Option<&'a str>,
    text: &'a str,
) -> Result<Request<'a>, ApiError> {
    let profile = shell.profile;
    let fields = Fields::parse(text).ok_or_else(|| {
        let message = "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your \
                       HTTP library correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)";
        ApiError::invalid(message, "", "")
    })?;
    let model = match model {
        Some(model) => model.into(),
        None => model_of(endpoint, &fields)?,
    };
    if !profile.has_model(&model) {
        return Err(ApiError::no_model(&model));
    }
    if !profile.answers(&model) {
        let message = format!("The deployment '{model}' answers no direct calls: it is for batches.");
        return Err(ApiError::invalid(message, "model", "OperationNotSupported"));
    }
    (profile.check)(endpoint, &fields)?;
    Request::check(endpoint, model, fields, text.len())
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
    fn of(shell: &Shell, owner: &Credential, body: &Bytes, request: &Request<'_>) -> Self {
        let shared = &shell.shared;
        let flex = request.service_tier().is_some_and(|tier| tier == "flex");
        let style = Style {
            id: Rng::labelled(shared.config.seed, &format!("sync {}", shared.next_request())).next_u64(),
            created: shared.now() / 1000,
            awkward: shared.config.awkward_answers,
            dimensions: shared.config.embedding_dimensions,
            tier: if flex { "flex" } else { "default" },
            profile: shell.profile,
        };
        let mut output_tokens = 0;
        let result = match answer::failure(request) {
            Some(error) => Err(error),
            None => {
                let mut whole = Vec::new();
                output_tokens = answer::write(request, &style, &mut whole);
                let events = if request.stream() { events(request, &style) } else { None };
                Ok(events.map_or_else(|| Parts::Whole(whole.into()), Parts::Events))
            }
        };
        let entry = Entry {
            provider: shell.profile.name,
            credential: owner.clone(),
            batch: None,
            custom_id: None,
            model: request.model.as_ref().into(),
            endpoint: request.endpoint.path(),
            body_hash: sha256(body),
            body: (shared.config.keep_bodies > 0).then(|| body.clone()),
            marker: request.magic.echo.as_deref().map(Into::into),
            input_tokens: request.input_tokens,
            output_tokens,
            mode: if flex { Mode::Flex } else { Mode::Sync },
            status: result.as_ref().err().map_or(200, |error| shell.profile.refusal(error).0),
            billed: result.is_ok(),
        };
        Self { entry, slow: Duration::from_millis(request.magic.slow) + shared.config.sync_time, result }
    }
}

/// Bills at once, since a caller that leaves pays all the same, then answers in its time.
async fn deliver(shell: &Shell, control: &Control, decision: &Decision, outcome: Outcome) -> Response {
    let Outcome { entry, slow, result } = outcome;
    let work = move |core: &mut Core, _: &mut Model, _| {
        core.ledger.record(entry);
        result
    };
    match shell.perform(control, (Op::Sync, ""), decision, work).await {
        Err(error) => {
            tokio::time::sleep(slow).await;
            shell.refuse(&error)
        }
        Ok(Parts::Whole(body)) => {
            tokio::time::sleep(slow).await;
            cut(headed(shell.respond(200, "application/json", Body::empty())), body, decision)
        }
        Ok(Parts::Events(events)) => {
            headed(shell.respond(200, "text/event-stream; charset=utf-8", trickle(events, slow)))
        }
    }
}

/// With the headers that tell of the caller's limits.
fn headed(mut response: Response) -> Response {
    for (name, value) in [
        ("x-ratelimit-limit-requests", "10000"),
        ("x-ratelimit-remaining-requests", "9999"),
        ("x-ratelimit-reset-requests", "6ms"),
        ("openai-organization", "org-simulator"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
