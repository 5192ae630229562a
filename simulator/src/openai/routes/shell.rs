//! What a handler works with: the world, which API it serves, and how that API says things.

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use serde_json::Value;

use crate::core::{Core, Millis};
use crate::credential::Credential;
use crate::faults::{Decision, Instead, Op};
use crate::http::perform;
use crate::net::Control;
use crate::openai::batches::{missing, no_input};
use crate::openai::error::ApiError;
use crate::openai::model::Model;
use crate::openai::profile::Profile;
use crate::shared::{Shared, World};

/// The world, seen by the handlers of one API.
#[derive(Debug, Clone)]
pub(crate) struct Shell {
    /// All of it.
    pub shared: Arc<Shared>,
    /// The API.
    pub profile: &'static Profile,
}

impl Shell {
    /// Who calls, if the key looks like one (401 otherwise).
    pub(crate) fn credential(&self, headers: &HeaderMap) -> Result<Credential, ApiError> {
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let prefix = self.profile.key;
        let key = self.key(headers);
        if key.is_empty() {
            let message = "You didn't provide an API key. You need to provide your API key in an Authorization header using \
                           Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
            return Err(ApiError::new(401, message));
        }
        let rest = key.strip_prefix(prefix).unwrap_or_default();
        if rest.is_empty() || rest.starts_with("invalid") {
            let shown: String = key.chars().take(4).collect();
            let message = format!(
                "Incorrect API key provided: {shown}****. You can find your API key at https://platform.openai.com/account/api-keys."
            );
            return Err(ApiError::new(401, message).code("invalid_api_key"));
        }
        Ok(Credential::new(key, header("openai-organization"), header("openai-project")))
    }

    /// Who calls, if that key may use batches (403 otherwise).
    pub(crate) fn batch_credential(&self, headers: &HeaderMap) -> Result<Credential, ApiError> {
        let credential = self.credential(headers)?;
        let rest = self.key(headers).strip_prefix(self.profile.key).unwrap_or_default();
        if rest.starts_with("nobatch") {
            let message =
                "You have insufficient permissions for this operation. Missing scopes: api.batch.write.";
            return Err(ApiError::new(403, message).code("missing_scope"));
        }
        Ok(credential)
    }

    fn key<'a>(&self, headers: &'a HeaderMap) -> &'a str {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let bearer = text(AUTHORIZATION.as_str()).and_then(|given| given.strip_prefix("Bearer "));
        self.profile.key_header.and_then(text).or(bearer).map(str::trim).unwrap_or_default()
    }

    /// Counts a call and decides its faults.
    pub(crate) fn begin(&self, op: Op) -> Decision {
        self.shared.with(|world, _| world.core.begin(op, None))
    }

    /// The same for a call about a file.
    pub(crate) fn begin_file(&self, op: Op, owner: &Credential, id: &str) -> Decision {
        self.shared.with(|world, now| {
            let (core, model) = world.of(self.profile);
            let age = model.files.get(now, owner, id).ok().map(|file| now.saturating_sub(file.created));
            core.begin(op, age.map(|age| (id, age)))
        })
    }

    /// The same for a call about a batch.
    pub(crate) fn begin_batch(&self, op: Op, owner: &Credential, id: &str) -> Decision {
        self.shared.with(|world, now| {
            let (core, model) = world.of(self.profile);
            let age = model.batch(owner, id).ok().map(|batch| now.saturating_sub(batch.created));
            core.begin(op, age.map(|age| (id, age)))
        })
    }

    /// Carries out a call about `id` as its faults decide.
    pub(crate) async fn perform<T: Send + 'static>(
        &self,
        control: &Control,
        (op, id): (Op, &str),
        decision: &Decision,
        work: impl FnOnce(&mut Core, &mut Model, Millis) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let profile = self.profile;
        let refused = |instead: &Instead| Err(refusal(op, id, instead));
        let work = move |world: &mut World, now| {
            let (core, model) = world.of(profile);
            work(core, model, now)
        };
        perform(&self.shared, control, decision, refused, work).await
    }

    /// A whole call about one batch: whose it is, its faults, its work.
    pub(crate) async fn on_batch<T: Send + 'static>(
        &self,
        control: &Control,
        headers: &HeaderMap,
        (op, id): (Op, &str),
        work: impl FnOnce(&mut Core, &mut Model, Millis, &Credential) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let owner = self.batch_credential(headers)?;
        let decision = self.begin_batch(op, &owner, id);
        let work = move |core: &mut Core, model: &mut Model, now| work(core, model, now, &owner);
        self.perform(control, (op, id), &decision, work).await
    }

    /// A whole call about one file.
    pub(crate) async fn on_file<T: Send + 'static>(
        &self,
        control: &Control,
        headers: &HeaderMap,
        (op, id): (Op, &str),
        work: impl FnOnce(&mut Core, &mut Model, Millis, &Credential) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let owner = self.credential(headers)?;
        let decision = self.begin_file(op, &owner, id);
        let work = move |core: &mut Core, model: &mut Model, now| work(core, model, now, &owner);
        self.perform(control, (op, id), &decision, work).await
    }

    /// A whole call about no object in particular: a list.
    pub(crate) async fn on_all<T: Send + 'static>(
        &self,
        control: &Control,
        headers: &HeaderMap,
        op: Op,
        work: impl FnOnce(&mut Core, &mut Model, Millis, &Credential) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let owner = match op {
            Op::List => self.batch_credential(headers)?,
            _ => self.credential(headers)?,
        };
        let decision = self.begin(op);
        let work = move |core: &mut Core, model: &mut Model, now| work(core, model, now, &owner);
        self.perform(control, (op, ""), &decision, work).await
    }

    /// The whole creation of a batch that was read already, or refused while it was.
    pub(crate) async fn create<T: Send + 'static>(
        &self,
        control: &Control,
        owner: Credential,
        create: Result<crate::openai::batches::Create, ApiError>,
        shown: impl FnOnce(Value) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let create = create.inspect_err(|error| {
            self.shared.with(|world, _| {
                world.core.begin(Op::Create, None);
                world.core.violation(format!("a batch creation was malformed: {}", error.message));
            });
        })?;
        let file = create.input_file.clone();
        let decision = self.begin_file(Op::Create, &owner, &file);
        let made = decision.clone();
        let work = move |core: &mut Core, model: &mut Model, now| {
            model.create(core, now, &owner, create, &made).map(shown)
        };
        self.perform(control, (Op::Create, &file), &decision, work).await
    }

    /// An answer with its body and the headers that all answers have.
    pub(crate) fn respond(&self, status: u16, content_type: &'static str, body: Body) -> Response {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.profile.name == "openai" {
            headers.insert("openai-version", HeaderValue::from_static("2020-10-01"));
            headers.insert("openai-processing-ms", HeaderValue::from_static("1"));
        }
        if let Ok(id) = HeaderValue::from_str(&format!("req_{:032x}", self.shared.next_request())) {
            headers.insert("x-request-id", id);
        }
        response
    }

    /// An answer of JSON text.
    pub(crate) fn json(&self, status: u16, text: String) -> Response {
        self.respond(status, "application/json", Body::from(text))
    }

    /// An object, or why there is none.
    pub(crate) fn answer(&self, result: Result<Value, ApiError>) -> Response {
        match result {
            Ok(value) => self.json(200, value.to_string()),
            Err(error) => self.refuse(&error),
        }
    }

    /// An error.
    pub(crate) fn refuse(&self, error: &ApiError) -> Response {
        let (status, body) = self.profile.refusal(error);
        let mut response = self.json(status, body);
        if let Some(seconds) = error.retry_after {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// What a fault puts in place of an answer.
fn refusal(op: Op, id: &str, instead: &Instead) -> ApiError {
    match instead {
        Instead::Status { code, retry_after, error_code, message } => {
            let code = (*code).clamp(400, 599);
            let default = match code {
                401 => "Incorrect API key provided.",
                429 => "Rate limit reached.",
                503 => "The server is currently overloaded. Please try again later.",
                500.. => "The server had an error while processing your request. Sorry about that!",
                _ => "This call was made to fail.",
            };
            let message = message.clone().unwrap_or_else(|| default.to_owned());
            let error = ApiError::new(code, message).code(error_code.as_deref().unwrap_or_default());
            ApiError { retry_after: *retry_after, ..error }
        }
        _ => match op {
            Op::Create => no_input(id),
            Op::Retrieve | Op::Cancel => missing(id),
            _ => ApiError::new(404, format!("No such File object: {id}")).param("id"),
        },
    }
}
