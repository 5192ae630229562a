//! Calls of the kind that programs make, and the judgement of their answers.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use reqwest::Client;
use serde_json::Value;
use tokio::task::JoinSet;

/// The endpoints that are called: path under the base URL, model, and the name of the field with the text.
pub const ENDPOINTS: [(&str, &str, &str); 4] = [
    ("chat/completions", "gpt-4o-mini", "messages"),
    ("responses", "gpt-4.1", "input"),
    ("embeddings", "text-embedding-3-small", "input"),
    ("completions", "gpt-3.5-turbo-instruct", "prompt"),
];

/// No call takes as long, whatever is broken on purpose.
const PATIENCE: Duration = Duration::from_secs(120);

/// One call with a marker that its answer repeats.
#[derive(Debug, Clone)]
pub struct Call {
    /// API key.
    pub key: String,
    /// Index into [`ENDPOINTS`].
    pub endpoint: usize,
    /// What the answer must say; without white space.
    pub marker: String,
}

/// What a caller got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// The answer to its own request.
    Own,
    /// An error object.
    Error {
        /// Status of the answer; 200 where it was begun before the error was known.
        status: u16,
        /// Its `code`, empty if there is none.
        code: String,
        /// Its `message`.
        message: String,
    },
}

impl Call {
    /// So many calls, evenly over so many keys and the first so many endpoints. The markers begin with `name`.
    pub fn spread(name: &str, calls: usize, keys: usize, endpoints: usize) -> Vec<Self> {
        let call = |i| Self {
            key: format!("sk-{name}-{}", i % keys),
            endpoint: i / keys % endpoints,
            marker: format!("{name}-{i}"),
        };
        (0..calls).map(call).collect()
    }

    /// The body, printed as some programs print it.
    pub fn body(&self) -> String {
        let (_, model, field) = ENDPOINTS[self.endpoint];
        let text = format!("please echo:{} now", self.marker);
        let content = match field {
            "messages" => format!("[\n  {{\"role\": \"user\", \"content\": \"{text}\"}}\n ]"),
            _ => format!("\"{text}\""),
        };
        format!("{{\n \"model\": \"{model}\",\r\n \"{field}\": {content}\n}}")
    }

    /// Makes the call at a base URL and judges the answer.
    ///
    /// # Errors
    /// No answer, an answer that is neither of OpenAI's answers nor its errors, or the answer to another call.
    pub async fn make(&self, client: &Client, base_url: &str) -> Result<Got> {
        let (status, body) =
            post(client, base_url, ENDPOINTS[self.endpoint].0, &self.key, self.body()).await?;
        judge(status, &body, &self.marker)
    }
}

/// Posts a JSON body and reads the whole answer.
///
/// # Errors
/// No answer, or not all of it.
pub async fn post(
    client: &Client,
    base_url: &str,
    path: &str,
    key: &str,
    body: String,
) -> Result<(u16, Bytes)> {
    let request = client.post(format!("{base_url}/{path}")).bearer_auth(key).timeout(PATIENCE);
    let answer = request.header("content-type", "application/json").body(body).send().await?;
    Ok((answer.status().as_u16(), answer.bytes().await?))
}

/// Tells an answer to the marked request from an error.
///
/// # Errors
/// It is neither, or somebody else's.
pub fn judge(status: u16, body: &[u8], marker: &str) -> Result<Got> {
    let text = || String::from_utf8_lossy(body).into_owned();
    let answer: Value = serde_json::from_slice(body).with_context(|| format!("{status} {}", text()))?;
    if let Some(error) = answer.get("error").filter(|error| error.is_object()) {
        let word = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
        return Ok(Got::Error { status, code: word("code"), message: word("message") });
    }
    match answer["x_simulator_echo"].as_str() {
        Some(echo) if echo == marker && status == 200 => Ok(Got::Own),
        _ => bail!("the answer to {marker} is {status} {}", text()),
    }
}

/// Makes all calls at once, in turn at each of the base URLs, and returns what each got, in their order.
///
/// # Errors
/// The first call that got no answer or a wrong one.
pub async fn make_all(calls: &[Call], base_urls: &[String]) -> Result<Vec<Got>> {
    let client = Client::builder().no_proxy().build()?;
    let mut under_way = JoinSet::new();
    for (i, call) in calls.iter().cloned().enumerate() {
        // Not simply in turn: that would give each key an ingress of its own.
        let base_url = base_urls[(i / 7 + i) % base_urls.len()].clone();
        let client = client.clone();
        under_way.spawn(async move {
            let got = call.make(&client, &base_url).await;
            got.map(|got| (i, got)).with_context(|| format!("the call {}", call.marker))
        });
    }
    let mut got = vec![None; calls.len()];
    while let Some(ended) = under_way.join_next().await {
        let (i, answer) = ended??;
        got[i] = Some(answer);
    }
    Ok(got.into_iter().flatten().collect())
}
