//! What a method and a path ask for.

use http::{Method, Uri};

use crate::dialect::openai::ENDPOINTS;

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// A call to batch; the endpoint as the provider's Batch API names it.
    Batch(&'static str),
    /// Counters and timings.
    Stats,
    /// Liveness.
    Health,
    /// Readiness.
    Ready,
    /// Anything else: goes to the provider as it is.
    Relay,
}

/// Tells what a request asks for. `/v1` may be missing, since SDKs do not add it to their base URL; one slash at the
/// end of an endpoint does no harm.
pub fn route(method: &Method, uri: &Uri) -> Route {
    let path = uri.path();
    match path {
        "/stats" => Route::Stats,
        "/healthz" => Route::Health,
        "/readyz" => Route::Ready,
        _ if method == Method::POST => endpoint(path).map_or(Route::Relay, Route::Batch),
        _ => Route::Relay,
    }
}

fn endpoint(path: &str) -> Option<&'static str> {
    let path = below_v1(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    ENDPOINTS.into_iter().find(|endpoint| below_v1(endpoint) == path)
}

/// A path without `/v1` at its beginning: `/v1/models` and `/models` are the same, `/v1beta` is another.
pub(crate) fn below_v1(path: &str) -> &str {
    match path.strip_prefix("/v1") {
        Some(rest) if rest.is_empty() || rest.starts_with('/') => rest,
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method: Method, uri: &str) -> Route {
        route(&method, &uri.parse().unwrap())
    }

    #[test]
    fn every_endpoint_with_and_without_v1() {
        for endpoint in ENDPOINTS {
            for path in [
                endpoint.to_owned(),
                endpoint[3..].to_owned(),
                format!("{endpoint}/"),
                format!("http://host{endpoint}"),
            ] {
                assert_eq!(of(Method::POST, &path), Route::Batch(endpoint), "{path}");
                assert_eq!(of(Method::GET, &path), Route::Relay, "{path}");
            }
        }
    }

    #[test]
    fn ours() {
        for (path, route) in
            [("/stats", Route::Stats), ("/healthz", Route::Health), ("/readyz", Route::Ready)]
        {
            assert_eq!(of(Method::GET, path), route);
            assert_eq!(of(Method::POST, path), route);
        }
    }

    #[test]
    fn the_rest_is_relayed() {
        for path in [
            "/",
            "/v1",
            "/v1/",
            "/v1/models",
            "/v1/files",
            "/v1/v1/embeddings",
            "/v1/embeddings//",
            "/v1beta/embeddings",
            "/V1/embeddings",
            "/v1/chat",
            "/v1/stats",
            "/v1/responses/resp_1",
        ] {
            assert_eq!(of(Method::POST, path), Route::Relay, "{path}");
        }
    }

    #[test]
    fn below() {
        let cases = [
            ("/v1/models", "/models"),
            ("/models", "/models"),
            ("/v1", ""),
            ("/v1beta/x", "/v1beta/x"),
            ("/v1//x", "//x"),
        ];
        assert!(cases.iter().all(|(path, below)| below_v1(path) == *below));
    }
}
