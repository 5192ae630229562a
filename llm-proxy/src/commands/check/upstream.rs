//! Is the upstream reachable, and may the key use its Batch API?

use std::time::Duration;

use providers::UpstreamArgs;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, StatusCode};

use super::Report;

/// The key that is tried, as OpenAI's own SDKs read it.
const KEY: &str = "OPENAI_API_KEY";
/// How long the upstream may take for one answer.
const TIMEOUT: Duration = Duration::from_secs(15);

/// Checks the connection and, if there is a key, what it may do. Creates nothing.
pub(crate) async fn check(upstreams: &UpstreamArgs, report: &mut Report) {
    let url = &upstreams.openai_url;
    let key = match key(std::env::var(KEY).ok().as_deref()) {
        Ok(key) => key,
        Err(why) => return report.failed(KEY, why),
    };
    let client = match Client::builder().timeout(TIMEOUT).build() {
        Ok(client) => client,
        Err(error) => return report.failed("upstream", chain(&error)),
    };
    match get(&client, format!("{url}/models"), key.as_ref()).await {
        Ok(status) => match models(status, key.is_some()) {
            Ok(how) => report.ok("upstream", format_args!("{url} {how}")),
            Err(why) => report.failed("upstream", format_args!("{url} {why}")),
        },
        Err(why) => return report.failed("upstream", format_args!("{url} is not reachable: {why}")),
    }
    if key.is_none() {
        return report.skipped("batch permission", format_args!("set {KEY} to have it checked"));
    }
    match get(&client, format!("{url}/batches?limit=1"), key.as_ref()).await.map(batches) {
        Ok(Ok(how)) => report.ok("batch permission", how),
        Ok(Err(why)) | Err(why) => report.failed("batch permission", why),
    }
}

fn key(variable: Option<&str>) -> Result<Option<HeaderValue>, &'static str> {
    let Some(key) = variable.map(str::trim).filter(|key| !key.is_empty()) else { return Ok(None) };
    let mut value =
        HeaderValue::try_from(format!("Bearer {key}")).map_err(|_| "it holds characters that no key has")?;
    value.set_sensitive(true);
    Ok(Some(value))
}

async fn get(client: &Client, url: String, key: Option<&HeaderValue>) -> Result<StatusCode, String> {
    let mut request = client.get(url);
    if let Some(key) = key {
        request = request.header(AUTHORIZATION, key);
    }
    // The body is not read: it may be long, and may quote the key.
    request.send().await.map(|response| response.status()).map_err(|error| chain(&error.without_url()))
}

/// What the answer to a list of models says.
fn models(status: StatusCode, with_key: bool) -> Result<String, String> {
    match (status.as_u16(), with_key) {
        (200..=299, true) => Ok(format!("answers, and takes the key ({status})")),
        (200..=299, false) => Ok(format!("answers ({status})")),
        (401, false) => Ok(format!("answers, and wants a key ({status})")),
        (401, true) => Err(format!("does not take the key in {KEY} ({status})")),
        // Keys can be restricted to some endpoints; being told so proves both reachability and the key.
        (403, true) => {
            Ok(format!("answers, and takes the key, though not for the list of models ({status})"))
        }
        (404, _) => Err(format!("knows no /models ({status}): does --openai-url end with the right path?")),
        (429, _) => Ok(format!("answers, though it is busy ({status})")),
        _ => Err(format!("answers {status} to a list of models")),
    }
}

/// What the answer to a list of batches says.
fn batches(status: StatusCode) -> Result<String, String> {
    match status.as_u16() {
        200..=299 => Ok(format!("the key may list batches ({status})")),
        401 | 403 => Err(format!("the key may not use the Batch API ({status})")),
        404 => Err(format!("the upstream has no Batch API ({status})")),
        _ => Err(format!("the upstream answers {status} to a list of batches")),
    }
}

/// An error with its causes, of which the last is mostly the one that helps.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_understood() {
        assert!(models(StatusCode::OK, true).is_ok() && models(StatusCode::UNAUTHORIZED, false).is_ok());
        assert!(models(StatusCode::UNAUTHORIZED, true).unwrap_err().contains(KEY));
        assert!(models(StatusCode::NOT_FOUND, false).unwrap_err().contains("--openai-url"));
        assert!(batches(StatusCode::OK).is_ok() && batches(StatusCode::FORBIDDEN).is_err());
    }

    #[test]
    fn keys_are_marked_sensitive() {
        assert_eq!(key(None), Ok(None));
        assert_eq!(key(Some(" ")), Ok(None));
        assert!(key(Some("sk-hush\n")).unwrap().unwrap().is_sensitive());
        assert!(!key(Some("sk-\u{7}")).unwrap_err().contains("sk-"));
    }
}
