use http::Request;
use providers::openai::ENDPOINTS;

use super::super::tests::upstreams;
use super::*;

const NONE: &[(&str, &str)] = &[];

fn asked(method: &Method, uri: &str, lines: &[(&str, &str)]) -> Route {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in lines {
        request = request.header(*name, *value);
    }
    let (head, ()) = request.body(()).unwrap().into_parts();
    Routes::new(&upstreams("http://h/x", "/openai/v1")).route(&head)
}

/// `upstream endpoint` of a call to batch, or `upstream below the base` of what is relayed.
fn of(method: &Method, uri: &str, lines: &[(&str, &str)]) -> String {
    match asked(method, uri, lines) {
        Route::Batch(place, endpoint) => format!("{} {}", place.upstream.name, endpoint.name),
        Route::Relay(place) => format!("{}: {}", place.upstream.name, place.below),
        Route::Nowhere(dialect) => format!("{dialect:?}"),
        Route::Ours(ours) => format!("{ours:?}"),
    }
}

#[test]
fn every_endpoint_with_and_without_v1_and_its_upstream() {
    for endpoint in ENDPOINTS {
        for path in [
            endpoint.to_owned(),
            endpoint[3..].to_owned(),
            format!("{endpoint}/"),
            format!("http://host{endpoint}"),
            format!("/openai{endpoint}"),
            format!("/openai/openai{endpoint}"),
            format!("/openai{}", &endpoint[3..]),
            format!("/openai/x/openai{endpoint}"),
        ] {
            assert_eq!(of(&Method::POST, &path, NONE), format!("openai {endpoint}"), "{path}");
            let relayed = of(&Method::GET, &path, NONE);
            assert_eq!(relayed.trim_end_matches('/'), format!("openai: {}", &endpoint[3..]), "{path}");
        }
        // Whatever other lines say.
        let lines = [("anthropic-version", "2023-06-01"), ("x-goog-api-key", "k")];
        assert_eq!(of(&Method::POST, endpoint, &lines), format!("openai {endpoint}"));
    }
}

#[test]
fn messages_are_anthropics() {
    for path in [
        "/v1/messages",
        "/v1/v1/messages",
        "/messages",
        "/v1/messages/",
        "/anthropic/v1/messages",
        "/anthropic/v1/v1/messages",
        "/anthropic/messages",
        "/anthropic/x/v1/messages",
        "/v1/messages?beta=true",
    ] {
        assert_eq!(of(&Method::POST, path, NONE), "anthropic /v1/messages", "{path}");
        assert!(of(&Method::GET, path, NONE).starts_with("anthropic: /v1/messages"), "{path}");
    }
    for (path, below) in [
        ("/v1/messages/count_tokens", "/v1/messages/count_tokens"),
        ("/messages/batches", "/v1/messages/batches"),
        ("/v1/v1/messages/batches/b", "/v1/messages/batches/b"),
        ("/anthropic/v1/models", "/v1/models"),
        ("/anthropic/v1/chat/completions", "/v1/chat/completions"),
        ("/anthropic", ""),
    ] {
        assert_eq!(of(&Method::POST, path, NONE), format!("anthropic: {below}"), "{path}");
    }
    let version = [("anthropic-version", "2023-06-01")];
    assert_eq!(of(&Method::GET, "/v1/models", &version), "anthropic: /v1/models");
    assert_eq!(of(&Method::GET, "/v1/v1/models", &version), "anthropic: /v1/models");
    assert_eq!(of(&Method::GET, "/v1/files/f", &version), "anthropic: /v1/files/f");
    assert_eq!(of(&Method::GET, "/openai/v1/models", &version), "openai: /models");
}

#[test]
fn methods_of_models_are_googles() {
    for (method, batched) in [
        ("generateContent", ":generateContent"),
        ("streamGenerateContent", ":generateContent"),
        ("embedContent", ":embedContent"),
    ] {
        for path in ["/v1beta/models", "/v1/models", "/models", "/gemini/v1beta/models", "/gemini/models"] {
            let uri = format!("{path}/gemini-x:{method}?alt=sse");
            let Route::Batch(place, endpoint) = asked(&Method::POST, &uri, NONE) else { panic!("{uri}") };
            assert_eq!(place.upstream.name, "gemini");
            assert!(endpoint.name.ends_with(batched), "{uri}");
            assert_eq!(endpoint.model.as_deref(), Some("gemini-x"));
            assert_eq!(endpoint.streams, method == "streamGenerateContent");
            let version = if path == "/v1/models" { "v1" } else { "v1beta" };
            assert_eq!(place.below, format!("/{version}/models/gemini-x:{method}"));
        }
    }
    for (uri, below) in [
        ("/v1beta/models/gemini-x:countTokens", "/v1beta/models/gemini-x:countTokens"),
        ("/v1/models/gemini-x:countTokens", "/v1/models/gemini-x:countTokens"),
        ("/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
        ("/v1beta/files?pageSize=1", "/v1beta/files"),
        ("/upload/v1beta/files", "/upload/v1beta/files"),
        ("/download/v1beta/files/f:download?alt=media", "/download/v1beta/files/f:download"),
        ("/v1/files?key=k", "/v1/files"),
        ("/gemini/v1beta/openai/chat/completions", "/v1beta/openai/chat/completions"),
    ] {
        assert_eq!(of(&Method::POST, uri, NONE), format!("gemini: {below}"), "{uri}");
    }
    assert_eq!(of(&Method::GET, "/v1/models", &[("x-goog-api-key", "k")]), "gemini: /v1/models");
    assert_eq!(of(&Method::GET, "/v1/models?a&key=k", NONE), "gemini: /v1/models");
    // A fine-tuned model of OpenAI's.
    assert_eq!(of(&Method::DELETE, "/v1/models/ft:gpt-x:org::id", NONE), "openai: /models/ft:gpt-x:org::id");
}

#[test]
fn an_upstream_is_named_by_the_beginning_of_a_path() {
    for path in ["/groq/openai/v1/chat/completions", "/groq/v1/chat/completions", "/groq/chat/completions"] {
        assert_eq!(of(&Method::POST, path, NONE), "groq /v1/chat/completions");
        assert_eq!(of(&Method::GET, path, NONE), "groq: /chat/completions");
    }
    for (path, below) in [
        // Not what it batches.
        ("/groq/v1/embeddings", "/embeddings"),
        ("/groq/v1/messages", "/messages"),
        ("/groq/openai/x", "/openai/x"),
        ("/groq", ""),
        ("/groq/", "/"),
    ] {
        assert_eq!(
            of(&Method::POST, path, &[("anthropic-version", "v")]),
            format!("groq: {below}"),
            "{path}"
        );
    }
    assert_eq!(of(&Method::POST, "/groqs/v1/models", NONE), "openai: /groqs/v1/models");
}

#[test]
fn older_paths_lie_beside_the_base() {
    let chat = Endpoint::plain("/v1/chat/completions");
    let of_model = |model: &str| Endpoint { model: Some(model.into()), ..chat.clone() };
    for (path, endpoint) in [
        ("/depot/old/of/a.b/chat/completions?as-of=1", of_model("a.b")),
        ("/depot/old/chat/completions/", chat.clone()),
        ("/depot/new/chat/completions", chat.clone()),
        ("/depot/v1/chat/completions?as-of=1", chat.clone()),
        ("/depot/chat/completions", chat.clone()),
    ] {
        let Route::Batch(place, called) = asked(&Method::POST, path, NONE) else { panic!("{path}") };
        assert_eq!(called, endpoint, "{path}");
        let is_old = path.contains("/old/");
        assert_eq!(
            (place.replaces, place.below.starts_with("/old/")),
            (if is_old { "/new" } else { "" }, is_old)
        );
    }
    for (method, path, below, replaces) in [
        (Method::GET, "/depot/old/of/m/chat/completions", "/old/of/m/chat/completions", "/new"),
        (Method::POST, "/depot/old/of/m/embeddings", "/old/of/m/embeddings", "/new"),
        (Method::POST, "/depot/old/of/m", "/old/of/m", "/new"),
        (Method::GET, "/depot/old", "/old", "/new"),
        (Method::GET, "/depot/new/files", "/files", ""),
        (Method::POST, "/groq/old/chat/completions", "/old/chat/completions", ""),
    ] {
        let Route::Relay(place) = asked(&method, path, NONE) else { panic!("{path}") };
        assert_eq!((place.below.as_str(), place.replaces), (below, replaces), "{path}");
    }
}

#[test]
fn what_is_meant_for_nobody_here_goes_to_nobody_else() {
    let alone: Upstreams = upstreams("http://h", "")
        .iter()
        .filter(|known| known.name == "openai")
        .map(|known| (**known).clone())
        .collect();
    let (head, ()) = Request::post("/v1/messages").body(()).unwrap().into_parts();
    assert!(matches!(Routes::new(&alone).route(&head), Route::Nowhere(Dialect::Anthropic)));
}

#[test]
fn ours_come_first() {
    for (path, expected) in [("/stats", Ours::Stats), ("/healthz", Ours::Health), ("/readyz", Ours::Ready)] {
        assert_eq!(of(&Method::GET, path, NONE), format!("{expected:?}"));
        assert_eq!(of(&Method::POST, path, NONE), format!("{expected:?}"));
    }
}

#[test]
fn the_rest_is_relayed_to_openai() {
    for (path, below) in [
        ("/", "/"),
        ("/v1", ""),
        ("/v1/", "/"),
        ("/v1/models", "/models"),
        ("/v1/files", "/files"),
        ("/v1/v1/embeddings", "/v1/embeddings"),
        ("/v1/embeddings//", "/embeddings//"),
        ("/V1/embeddings", "/V1/embeddings"),
        ("/v1/chat", "/chat"),
        ("/v1/stats", "/stats"),
        ("/v1/responses/resp_1", "/responses/resp_1"),
        ("/v1/threads/t/messages", "/threads/t/messages"),
        ("/v1/messagesx", "/messagesx"),
        ("/v1betax/y", "/v1betax/y"),
        ("/nobody/v1/chat/completions", "/nobody/v1/chat/completions"),
    ] {
        assert_eq!(of(&Method::POST, path, NONE), format!("openai: {below}"), "{path}");
    }
}

#[test]
fn paths_of_base_urls() {
    for (url, path) in [
        ("https://api.groq.com/openai/v1", "/openai/v1"),
        ("https://api.groq.com/openai/v1/", "/openai/v1"),
        ("http://127.0.0.1:4010", ""),
        ("http://127.0.0.1:4010/", ""),
    ] {
        assert_eq!(path_of(url), path);
    }
}

#[test]
fn errors_are_told_in_the_dialect_of_the_path() {
    for (path, dialect) in [
        ("/v1/messages", Dialect::Anthropic),
        ("/v1/messages/count_tokens", Dialect::Anthropic),
        ("/v1beta/x", Dialect::Gemini),
        ("/v1/chat/completions", Dialect::OpenAi),
        ("/stats", Dialect::OpenAi),
    ] {
        assert_eq!(asked(&Method::POST, path, NONE).dialect(), dialect, "{path}");
    }
}
