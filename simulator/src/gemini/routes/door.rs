//! Telling calls of this API from those of others that have `/v1/models`, `/v1/files` and `/v1/batches`.

use axum::extract::Request;
use axum::http::{Method as HttpMethod, Uri};
use axum::middleware::Next;
use axum::response::Response;

use super::V1;
use crate::gemini::method::Method;

/// Sends calls of the Gemini API under `/v1` on to its own routes: those with a Google key, or with a Google method.
pub(crate) async fn door(mut request: Request, next: Next) -> Response {
    if let Some(uri) = of_gemini(&request) {
        *request.uri_mut() = uri;
    }
    next.run(request).await
}

/// The path behind the door; None when it is not for this API.
fn of_gemini(request: &Request) -> Option<Uri> {
    let rest = request.uri().path().strip_prefix("/v1/")?;
    let (kind, name) = rest.split_once('/').unwrap_or((rest, ""));
    if !["models", "files", "batches"].contains(&kind) {
        return None;
    }
    let query = request.uri().query().unwrap_or_default();
    let keyed = request.headers().contains_key("x-goog-api-key")
        || query.split('&').any(|pair| pair.starts_with("key="));
    let called = kind == "models"
        && *request.method() == HttpMethod::POST
        && name.rsplit_once(':').is_some_and(|(_, method)| Method::of(method).is_some());
    if !keyed && !called {
        return None;
    }
    let question = if query.is_empty() { "" } else { "?" };
    format!("{V1}/{rest}{question}{query}").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn path(method: &str, uri: &str, keyed: bool) -> Option<String> {
        let mut request = Request::builder().method(method).uri(uri);
        if keyed {
            request = request.header("x-goog-api-key", "AIza");
        }
        of_gemini(&request.body(Body::empty()).unwrap()).map(|uri| uri.to_string())
    }

    #[test]
    fn the_key_tells_whose_call_it_is() {
        assert_eq!(path("GET", "/v1/files", false), None);
        assert_eq!(path("GET", "/v1/files?after=key=1", false), None);
        assert_eq!(path("GET", "/v1/files?a=1&key=AIza", false).unwrap(), "/_gemini/v1/files?a=1&key=AIza");
        assert_eq!(path("GET", "/v1/batches/b", true).unwrap(), "/_gemini/v1/batches/b");
        assert_eq!(path("POST", "/v1/chat/completions", true), None);
        let call = "/v1/models/gemini-2.5-flash:generateContent";
        assert!(path("POST", call, false).is_some());
        assert_eq!(path("DELETE", "/v1/models/ft:gpt-4o:me", false), None);
    }
}
