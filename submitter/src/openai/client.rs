//! The calls of the Files and Batch API.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Method, header};
use reqwest::Url;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::Credential;
use super::batch::{BatchObject, FileObject, Object};
use super::error::{Answer, ApiError, Kind};
use super::transport::{Call, Connections, Http, Ids, SetupError};

/// The time limit for a create, generous because giving up leaves its outcome unknown.
const CREATE_TIMEOUT: Duration = Duration::from_secs(120);
/// The time limit for every other call with a small answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A client of one provider's Batch API. Cheap to clone; all clones and all clients of one [`Http`] share connections.
///
/// Makes each call once and repeats nothing. Dropping a call's future abandons the call.
#[derive(Debug, Clone)]
pub struct Client {
    connections: Connections,
    base: Arc<Url>,
    ids: Arc<Ids>,
}

/// What a batch is created from (`OpenAI` API reference, "Create batch"). The completion window is `24h`, the only one.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct NewBatch<'a> {
    /// The id of an uploaded file.
    pub input_file_id: &'a str,
    /// The `url` that all its lines carry.
    pub endpoint: &'a str,
    /// At most 16 pairs, keys up to 64 and values up to 512 characters.
    #[serde(serialize_with = "as_map")]
    pub metadata: &'a [(&'a str, &'a str)],
    /// How long the provider keeps the result files after writing them; an hour to thirty days. `None` is its default.
    #[serde(
        rename = "output_expires_after",
        skip_serializing_if = "Option::is_none",
        serialize_with = "as_expiry"
    )]
    pub outputs_expire_after: Option<Duration>,
}

impl Client {
    /// A client for the API under `base`, such as `https://api.openai.com/v1`. A query in it goes along on every call.
    ///
    /// # Errors
    /// [`SetupError::BaseUrl`] if `base` is no http or https URL.
    pub fn new(http: &Http, base: &str) -> Result<Self, SetupError> {
        let mut base = Url::parse(base).map_err(|error| SetupError::BaseUrl(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(SetupError::BaseUrl(format!("{} is not http or https", base.scheme())));
        }
        base.set_fragment(None);
        let connections = http.connections(&base)?;
        Ok(Self { connections, base: Arc::new(base), ids: Arc::new(Ids::new()) })
    }

    /// Creates a batch. Sent exactly once, on a connection of its own, and never repeated below this call.
    ///
    /// # Errors
    /// Only [`Kind::Rejected`] and [`Kind::NotSent`] say that there is no batch.
    pub async fn create(&self, credential: &Credential, new: &NewBatch<'_>) -> Result<BatchObject, ApiError> {
        #[derive(Serialize)]
        struct Body<'a> {
            #[serde(flatten)]
            new: &'a NewBatch<'a>,
            completion_window: &'static str,
        }
        let call = self.call("create batch", credential);
        let body = serde_json::to_vec(&Body { new, completion_window: "24h" })
            .map_err(|error| call.error(Kind::NotSent, &error.to_string()))?;
        let mut request = self.request(&call, Method::POST, self.url(&call, &["batches"])?);
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        *request.body_mut() = Some(body.into());
        call.within(CREATE_TIMEOUT, async {
            let response = self.send(&call, &self.connections.single, request).await?;
            object(&call, self.success(&call, response).await?)
        })
        .await
    }

    /// Asks how a batch is doing.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn retrieve(&self, credential: &Credential, batch_id: &str) -> Result<BatchObject, ApiError> {
        let call = self.call("retrieve batch", credential);
        let url = self.url(&call, &["batches", batch_id])?;
        self.get_object(&call, url).await
    }

    /// Cancels a batch, which then is `cancelling` for some minutes and ends with what was finished until then.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat. A batch that is over already refuses.
    pub async fn cancel(&self, credential: &Credential, batch_id: &str) -> Result<BatchObject, ApiError> {
        let call = self.call("cancel batch", credential);
        let url = self.url(&call, &["batches", batch_id, "cancel"])?;
        let mut request = self.request(&call, Method::POST, url);
        // An empty body with its length said: some gateways answer 411 to a POST without.
        request.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        call.within(CALL_TIMEOUT, async {
            let response = self.send(&call, &self.connections.pooled, request).await?;
            object(&call, self.success(&call, response).await?)
        })
        .await
    }

    /// Asks about a file.
    ///
    /// # Errors
    /// [`ApiError`]; safe to repeat.
    pub async fn file(&self, credential: &Credential, file_id: &str) -> Result<FileObject, ApiError> {
        let call = self.call("retrieve file", credential);
        let url = self.url(&call, &["files", file_id])?;
        self.get_object(&call, url).await
    }

    /// Deletes a file, and tells whether it was there. One that is not may have been deleted before, or was uploaded just now.
    ///
    /// # Errors
    /// [`ApiError`], also if the provider says that it did not delete the file; safe to repeat.
    pub async fn delete_file(&self, credential: &Credential, file_id: &str) -> Result<bool, ApiError> {
        let call = self.call("delete file", credential);
        let request = self.request(&call, Method::DELETE, self.url(&call, &["files", file_id])?);
        call.within(CALL_TIMEOUT, async {
            let response = self.send(&call, &self.connections.pooled, request).await?;
            if response.status() == http::StatusCode::NOT_FOUND {
                return Ok(false);
            }
            let answer = self.success(&call, response).await?;
            match serde_json::from_slice::<Value>(&answer.body) {
                Ok(said) if said["deleted"] == Value::Bool(false) => {
                    Err(call.error(Kind::Ambiguous(Some(answer)), "the provider did not delete it"))
                }
                _ => Ok(true),
            }
        })
        .await
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

    async fn get_object<T: Object>(&self, call: &Call, url: Url) -> Result<T, ApiError> {
        object(call, self.get_answer(call, url).await?)
    }

    /// A successful answer to a GET, read whole.
    pub(super) async fn get_answer(&self, call: &Call, url: Url) -> Result<Answer, ApiError> {
        call.within(CALL_TIMEOUT, async {
            let response = self.get(call, url, None).await?;
            self.success(call, response).await
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

/// The object in a successful answer. Without one, nobody can say what the call did.
pub(super) fn object<T: Object>(call: &Call, answer: Answer) -> Result<T, ApiError> {
    T::read(&answer.body).map_err(|problem| call.unreadable(answer, &problem))
}

fn as_map<S: Serializer>(pairs: &&[(&str, &str)], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(pairs.iter().copied())
}

fn as_expiry<S: Serializer>(after: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = after.unwrap_or_default().as_secs().clamp(3600, 2_592_000);
    serializer.collect_map([("anchor", Value::from("created_at")), ("seconds", Value::from(seconds))])
}
