//! `/models` and what can be asked of a model: one call, one answer, at full price.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use serde_json::json;

use super::{JSON, Params, Shell, batches, credential, page, refusal, refuse, respond, version};
use crate::credential::{Credential, sha256};
use crate::faults::{Decision, Instead, Op};
use crate::gemini::answer::{self, Style};
use crate::gemini::error::ApiError;
use crate::gemini::messages::EMBED_MANY;
use crate::gemini::method::{self, Method, Task};
use crate::gemini::request::{self, Request, parse};
use crate::gemini::schema::{many, text};
use crate::gemini::stream::{array, chunks, events};
use crate::http::{cut, perform, read_body};
use crate::json;
use crate::ledger::{Entry, Mode};
use crate::net::Control;
use crate::rng::Rng;
use crate::shared::{Shared, World};

/// Bytes of a body; larger ones are refused.
const MAX_BODY: usize = 100_000_000;

/// `GET /models`
pub(super) async fn list(headers: HeaderMap, Query(params): Params) -> Response {
    let listed = credential(&headers, &params).and_then(|_| {
        let (size, token) = page(&params, 50, 1_000)?;
        Ok(method::list(token.unwrap_or(0).min(1_000) as usize, size))
    });
    super::answer(listed)
}

/// `GET /models/{m}`
pub(super) async fn one(headers: HeaderMap, Query(params): Params, Path(id): Path<String>) -> Response {
    super::answer(credential(&headers, &params).and_then(|_| method::one(&id)))
}

/// `POST /models/{m}:{method}`
pub(super) async fn call(
    State(shared): Shell,
    Extension(control): Extension<Control>,
    Query(params): Params,
    Path(call): Path<String>,
    uri: Uri,
    request: HttpRequest,
) -> Response {
    let (model, name) = call.rsplit_once(':').unwrap_or((&call, ""));
    let sse = params.get("alt").or(params.get("$alt")).is_some_and(|alt| alt == "sse");
    let Some(asked) = Method::of(name) else { return refuse(&ApiError::not_found()) };
    // Without events a stream is an array, and so are its errors.
    let refuse = |error: &ApiError| match asked {
        Method::Stream if !sse => respond(error.http, JSON, Body::from(format!("[{}]", error.body()))),
        _ => refuse(error),
    };
    let owner = credential(request.headers(), &params)
        .and_then(|owner| method::check(version(&uri), model, name).map(|()| owner));
    let owner = match owner {
        Ok(owner) => owner,
        Err(error) => return refuse(&error),
    };
    let (head, body) = request.into_parts();
    match asked {
        Method::CreateGenerate | Method::CreateEmbed => {
            let task = if asked == Method::CreateEmbed { Task::Embed } else { Task::Generate };
            return batches::create(&shared, &control, (&head.headers, &params), (task, model), body).await;
        }
        _ => {}
    }
    let decision = shared.with(|world, _| world.core.begin(Op::Sync, None));
    let Some(body) = read_body(body, MAX_BODY).await else {
        let message = format!("Request payload size exceeds the limit: {MAX_BODY} bytes.");
        return refuse(&ApiError::invalid(message));
    };
    let call = Call { shared: &shared, owner: &owner, model, sse, asked };
    match call.outcome(&body) {
        Ok(outcome) => match deliver(&shared, &control, &decision, outcome).await {
            Ok(response) => response,
            Err(error) => refuse(&error),
        },
        Err(error) => refuse(&error),
    }
}

/// A call of a model.
struct Call<'a> {
    shared: &'a Shared,
    owner: &'a Credential,
    model: &'a str,
    sse: bool,
    asked: Method,
}

/// A call's answer, made before anything is entered or sent.
struct Outcome {
    entries: Vec<Entry>,
    slow: Duration,
    result: Result<Parts, ApiError>,
}

/// A body in one piece, or in several with their content type.
enum Parts {
    Whole(Bytes),
    Pieces(&'static str, Vec<Bytes>),
}

impl Call<'_> {
    fn outcome(&self, body: &Bytes) -> Result<Outcome, ApiError> {
        let text = std::str::from_utf8(body)
            .map_err(|_| ApiError::at("", "Invalid JSON payload received. It is not UTF-8."))?;
        match self.asked {
            Method::Embed => Ok(self.one(Task::Embed, text, body)?),
            Method::EmbedMany => self.embed_many(text, body),
            Method::CountTokens => {
                let total = request::count_tokens(self.model, text)?;
                let body = json!({
                    "totalTokens": total,
                    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": total}],
                });
                let whole = Parts::Whole(body.to_string().into());
                Ok(Outcome { entries: Vec::new(), slow: self.shared.config.sync_time, result: Ok(whole) })
            }
            _ => Ok(self.one(Task::Generate, text, body)?),
        }
    }

    fn one(&self, task: Task, text: &str, body: &Bytes) -> Result<Outcome, ApiError> {
        let request = Request::read(task, self.model, text)?;
        let style = self.style();
        let mut output_tokens = 0;
        let result = match answer::failure(&request) {
            Some(error) => Err(error),
            None => {
                let mut whole = Vec::new();
                output_tokens = answer::write(&request, &style, &mut whole);
                Ok(match (self.asked, self.sse) {
                    (Method::Stream, true) => {
                        Parts::Pieces("text/event-stream", events(&chunks(&request, &style)))
                    }
                    (Method::Stream, false) => Parts::Pieces(JSON, array(&chunks(&request, &style))),
                    _ => Parts::Whole(whole.into()),
                })
            }
        };
        let status = result.as_ref().err().map_or(200, |error| error.http);
        let entries = vec![self.entry(&request, body, output_tokens, status)];
        Ok(Outcome { entries, slow: self.slow(&request), result })
    }

    /// Each of the requests is answered, and entered, as if it had come alone; one that fails fails all.
    fn embed_many(&self, text_of_body: &str, body: &Bytes) -> Result<Outcome, ApiError> {
        let fields = parse(text_of_body)?;
        EMBED_MANY.check(&fields, "")?;
        let list = many(&fields, "requests");
        if list.is_empty() {
            return Err(ApiError::invalid(
                "* BatchEmbedContentsRequest.requests: requests is not specified\n",
            ));
        }
        let mut requests = Vec::with_capacity(list.len());
        for (index, raw) in list.into_iter().enumerate() {
            let fields = json::object(raw).unwrap_or_default();
            if text(&fields, "model").is_none_or(|model| model.is_empty()) {
                let path = format!("BatchEmbedContentsRequest.requests[{index}].model");
                return Err(ApiError::invalid(format!("* {path}: model is not specified\n")));
            }
            requests.push((Request::checked(Task::Embed, self.model, &fields, raw.get().len())?, raw));
        }
        let failed = requests.iter().find_map(|(request, _)| answer::failure(request));
        let status = failed.as_ref().map_or(200, |error| error.http);
        let entry = |(request, raw): &(Request, &serde_json::value::RawValue)| {
            self.entry(request, &body.slice_ref(raw.get().as_bytes()), 0, status)
        };
        let style = self.style();
        let embeddings: Vec<String> =
            requests.iter().map(|(request, _)| answer::embedded(request, &style)).collect();
        let whole = format!(r#"{{"embeddings":[{}]}}"#, embeddings.join(","));
        Ok(Outcome {
            entries: requests.iter().map(entry).collect(),
            slow: requests.iter().map(|(request, _)| self.slow(request)).max().unwrap_or_default(),
            result: failed.map_or_else(|| Ok(Parts::Whole(whole.into())), Err),
        })
    }

    fn style(&self) -> Style {
        let config = &self.shared.config;
        Style {
            id: Rng::labelled(config.seed, &format!("sync {}", self.shared.next_request())).next_u64(),
            awkward: config.awkward_answers,
            dimensions: config.embedding_dimensions,
        }
    }

    fn slow(&self, request: &Request) -> Duration {
        Duration::from_millis(request.magic.slow) + self.shared.config.sync_time
    }

    fn entry(&self, request: &Request, body: &Bytes, output_tokens: u64, status: u16) -> Entry {
        Entry {
            provider: crate::gemini::NAME,
            credential: self.owner.clone(),
            batch: None,
            custom_id: None,
            model: self.model.into(),
            endpoint: request.task.method(),
            body_hash: sha256(body),
            body: (self.shared.config.keep_bodies > 0).then(|| body.clone()),
            marker: request.magic.echo.as_deref().map(Into::into),
            input_tokens: request.input_tokens,
            output_tokens,
            mode: if request.flex { Mode::Flex } else { Mode::Sync },
            status,
            billed: status == 200,
        }
    }
}

/// Bills at once, since a caller that leaves pays all the same, then answers in its time.
async fn deliver(
    shared: &Arc<Shared>,
    control: &Control,
    decision: &Decision,
    outcome: Outcome,
) -> Result<Response, ApiError> {
    let Outcome { entries, slow, result } = outcome;
    let refused = |instead: &Instead| Err(refusal(Op::Sync, "", instead));
    let work = move |World { core, .. }: &mut World, _| {
        entries.into_iter().for_each(|entry| core.ledger.record(entry));
        result
    };
    let result = perform(shared, control, decision, refused, work).await;
    let Ok(Parts::Pieces(content_type, pieces)) = result else {
        tokio::time::sleep(slow).await;
        return match result? {
            Parts::Whole(body) => Ok(cut(respond(200, JSON, Body::empty()), body, decision)),
            Parts::Pieces(..) => Err(ApiError::new(500, "An internal error has occurred.")),
        };
    };
    let pause = slow / pieces.len().max(1) as u32;
    let body = stream::iter(pieces).then(move |piece| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok::<_, std::convert::Infallible>(piece)
    });
    Ok(respond(200, content_type, Body::from_stream(body)))
}
