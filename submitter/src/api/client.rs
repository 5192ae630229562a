//! The calls of a Batch API.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use providers::{Call, Job, NewJob, Provider, Unreadable, Upstream};
use reqwest::Url;
use serde_json::Value;

use super::Credential;
use super::error::{Answer, ApiError, Kind};
use super::transport::{Attempt, Connections, Http, Ids, SetupError};

/// The time limit for a create, generous because giving up leaves its outcome unknown.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time limit for every other call with a small answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// The time limit for a part of a document of results.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(600);
/// A part of a document of results is read up to this many bytes: what travels inline is small, its answers are larger.
const LONGEST_DOCUMENT: usize = 512 << 20;

/// A client of one provider's Batch API. Cheap to clone; all clones and all clients of one [`Http`] share connections.
///
/// Makes each call once and repeats nothing. Dropping a call's future abandons the call.
#[derive(Debug, Clone)]
pub struct Client {
    connections: Connections,
    base: Arc<Url>,
    ids: Arc<Ids>,
    provider: &'static dyn Provider,
}

impl Client {
    /// A client for an upstream.
    ///
    /// # Errors
    /// [`SetupError::BaseUrl`] if its base URL is no http or https URL.
    pub fn new(http: &Http, upstream: &Upstream) -> Result<Self, SetupError> {
        let mut base =
            Url::parse(&upstream.base_url).map_err(|error| SetupError::BaseUrl(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(SetupError::BaseUrl(format!("{} is not http or https", base.scheme())));
        }
        base.set_fragment(None);
        let connections = http.connections(&base)?;
        Ok(Self { connections, base: Arc::new(base), ids: Arc::new(Ids::new()), provider: upstream.provider })
    }

    /// How the provider is spoken to.
    pub fn provider(&self) -> &'static dyn Provider {
        self.provider
    }

    /// Creates a job from an uploaded file. Sent exactly once, on a connection of its own, and never repeated below this call.
    ///
    /// # Errors
    /// Only [`Kind::Rejected`] and [`Kind::NotSent`] say that there is no job.
    pub async fn create(
        &self,
        credential: &Credential,
        new: &NewJob<'_>,
        file: &str,
    ) -> Result<Job, ApiError> {
        let attempt = self.attempt("create batch", credential);
        let request = self.prepare(&attempt, &self.provider.create(new, file))?;
        attempt
            .within(CREATE_TIMEOUT, async {
                let response = self.send(&attempt, &self.connections.single, request).await?;
                let answer = self.success(&attempt, response).await?;
                read(&attempt, answer, |body| self.provider.read_created(body))
            })
            .await
    }

    /// Asks how a job is doing.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn retrieve(&self, credential: &Credential, job: &str) -> Result<Job, ApiError> {
        let attempt = self.attempt("retrieve batch", credential);
        let answer = self.answer(&attempt, &self.provider.poll(job)).await?;
        read(&attempt, answer, |body| self.provider.read_job(body))
    }

    /// Cancels a job, which ends some minutes later with what was finished until then.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat. A job that is over already refuses.
    pub async fn cancel(&self, credential: &Credential, job: &str) -> Result<(), ApiError> {
        let attempt = self.attempt("cancel batch", credential);
        let request = self.prepare(&attempt, &self.provider.cancel(job))?;
        attempt
            .within(CALL_TIMEOUT, async {
                let response = self.send(&attempt, &self.connections.pooled, request).await?;
                let answer = self.success(&attempt, response).await?;
                match said_error(&answer.body) {
                    None => Ok(()),
                    Some(problem) => Err(attempt.unreadable(answer, &problem)),
                }
            })
            .await
    }

    /// Deletes a file or what else of a job has this name, and tells whether it was there. One that is not may have been
    /// deleted before, or was uploaded just now.
    ///
    /// # Errors
    /// [`ApiError`], also if the provider says that it did not delete it; safe to repeat.
    pub async fn delete(&self, credential: &Credential, artifact: &str) -> Result<bool, ApiError> {
        let attempt = self.attempt("delete file", credential);
        // What nobody can delete is as good as deleted.
        let Some(call) = self.provider.delete(artifact) else { return Ok(true) };
        let request = self.prepare(&attempt, &call)?;
        attempt
            .within(CALL_TIMEOUT, async {
                let response = self.send(&attempt, &self.connections.pooled, request).await?;
                if response.status() == http::StatusCode::NOT_FOUND {
                    return Ok(false);
                }
                let answer = self.success(&attempt, response).await?;
                match serde_json::from_slice::<Value>(&answer.body) {
                    Ok(said) if said["deleted"] == Value::Bool(false) => {
                        Err(attempt.error(Kind::Ambiguous(Some(answer)), "the provider did not delete it"))
                    }
                    _ => Ok(true),
                }
            })
            .await
    }

    /// A part of a document of results, whole.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn document(&self, credential: &Credential, call: &Call) -> Result<Bytes, ApiError> {
        let attempt = self.attempt("read results", credential);
        let url = self.url(&attempt, call)?;
        let work = async {
            let response = self.get(&attempt, url, None).await?;
            self.success_within(&attempt, response, LONGEST_DOCUMENT).await
        };
        Ok(attempt.within(DOCUMENT_TIMEOUT, work).await?.body)
    }

    /// The base URL, without user or password.
    pub fn base_url(&self) -> String {
        let mut url = Url::clone(&self.base);
        // Both fail only for URLs without a host, which no http URL is.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_query(None);
        url.into()
    }

    /// A successful answer to a GET, read whole.
    pub(super) async fn answer(&self, attempt: &Attempt, call: &Call) -> Result<Answer, ApiError> {
        let url = self.url(attempt, call)?;
        attempt
            .within(CALL_TIMEOUT, async {
                let response = self.get(attempt, url, None).await?;
                self.success(attempt, response).await
            })
            .await
    }

    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    pub(super) fn connections(&self) -> &Connections {
        &self.connections
    }

    pub(super) fn ids(&self) -> &Ids {
        &self.ids
    }
}

/// What a successful answer holds. Without it, nobody can say what the call did.
pub(super) fn read<T>(
    attempt: &Attempt,
    answer: Answer,
    read: impl FnOnce(&[u8]) -> Result<T, Unreadable>,
) -> Result<T, ApiError> {
    read(&answer.body).map_err(|problem| attempt.unreadable(answer, &problem))
}

/// The error in an answer with a success status, if it is one.
fn said_error(body: &[u8]) -> Option<Unreadable> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let error = body.get("error").filter(|error| !error.is_null() && body.get("id").is_none())?;
    Some(Unreadable::Error(providers::json::error_text(error)))
}
