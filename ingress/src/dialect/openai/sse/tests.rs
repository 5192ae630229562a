mod chat;
mod completions;
mod failures;
mod properties;
mod responses;

use serde_json::Value;

use super::*;

/// One event as a client reads it.
#[derive(Debug)]
struct Event {
    name: Option<String>,
    data: String,
}

impl Event {
    fn json(&self) -> Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{error}: {}", self.data))
    }
}

fn read(stream: &[u8]) -> Vec<Event> {
    let text = std::str::from_utf8(stream).unwrap();
    assert!(text.ends_with("\n\n") && !text.contains('\r'));
    let event = |block: &str| {
        let (name, data) = match block.split_once('\n') {
            Some((name, data)) => (Some(name.strip_prefix("event: ").unwrap().to_owned()), data),
            None => (None, block),
        };
        assert!(!data.contains('\n'), "{block}");
        Event { name, data: data.strip_prefix("data: ").unwrap().to_owned() }
    };
    text[..text.len() - 2].split("\n\n").map(event).collect()
}

fn stream(endpoint: &str, include_usage: bool) -> Events {
    Events::new(endpoint, "asked-for", include_usage, Rid([7; 16]), 1_700_000_000).unwrap()
}

/// The data of a stream of chunks, without its `[DONE]`.
fn chunks(endpoint: &str, include_usage: bool, body: &str) -> Vec<String> {
    let mut events = read(&stream(endpoint, include_usage).finish(body.as_bytes()).unwrap());
    assert_eq!(events.pop().unwrap().data, "[DONE]");
    assert!(events.iter().all(|event| event.name.is_none()));
    events.into_iter().map(|event| event.data).collect()
}

#[test]
fn three_endpoints_stream() {
    assert!(can_stream("/v1/chat/completions"));
    assert!(can_stream("/v1/completions") && can_stream("/v1/responses"));
    for other in ["/v1/embeddings", "/v1/images/generations", "/v1/moderations", ""] {
        assert!(!can_stream(other));
        assert_eq!(Events::new(other, "m", false, Rid::default(), 0), None);
    }
}

#[test]
fn only_an_asynchronous_python_client_gets_no_ops() {
    let asked = |endpoint, headers: &[(&'static str, &'static str)]| {
        let headers = headers.iter().map(|&(name, value)| {
            (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
        });
        wants_no_ops(endpoint, &headers.collect())
    };
    let client = ("user-agent", "AsyncOpenAI/Python 3.54.0");
    let limit = ("x-stainless-read-timeout", "600");
    assert!(asked("/v1/chat/completions", &[client]));
    assert!(asked("/v1/chat/completions", &[client, limit]));
    assert!(asked("/v1/completions", &[client]));
    assert!(asked("/v1/responses", &[client]));
    assert!(!asked("/v1/responses", &[client, limit]));
    assert!(!asked("/v1/embeddings", &[client]));
    assert!(asked("/v1/chat/completions", &[]));
    assert!(!asked("/v1/responses", &[]));
    assert!(!asked("/v1/chat/completions", &[("user-agent", "OpenAI/Python 3.54.0")]));
    assert!(!asked("/v1/responses", &[("user-agent", "OpenAI/JS 7.57.0")]));
}

#[test]
fn little_is_kept_while_waiting() {
    assert!(size_of::<Events>() <= 56);
}

#[test]
fn an_answer_that_cannot_be_streamed_is_named_so() {
    let finish = |endpoint, body: &str| stream(endpoint, true).finish(body.as_bytes()).unwrap_err();
    for endpoint in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
        for body in ["", "[]", "null", "{\"choices\":[]", "{}x"] {
            assert_eq!(finish(endpoint, body), Unstreamable::NoObject, "{body}");
        }
        assert_eq!(stream(endpoint, true).finish(b"{\"\xff\":1}"), Err(Unstreamable::NoObject));
    }
    for body in ["{}", r#"{"choices":null}"#, r#"{"choices":{}}"#, r#"{"choices":[1]}"#] {
        assert_eq!(finish("/v1/chat/completions", body), Unstreamable::Shape("choices"), "{body}");
        assert_eq!(finish("/v1/completions", body), Unstreamable::Shape("choices"), "{body}");
    }
    let text = r#"{"choices":[{"message":"text"}]}"#;
    assert_eq!(finish("/v1/chat/completions", text), Unstreamable::Shape("message"));
    for body in ["{}", r#"{"output":null}"#, r#"{"output":"text"}"#, r#"{"output":["text"]}"#] {
        assert_eq!(finish("/v1/responses", body), Unstreamable::Shape("output"), "{body}");
    }
}

#[test]
fn the_output_is_bounded() {
    // Every choice makes two chunks that repeat a long id.
    let choices = vec!["{}"; 2000].join(",");
    let body = format!(r#"{{"id":"{}","choices":[{choices}]}}"#, "i".repeat(5000));
    let error = stream("/v1/chat/completions", false).finish(body.as_bytes()).unwrap_err();
    assert_eq!(error, Unstreamable::TooLong);
    assert!(error.to_string().contains("too many parts"));
}

#[test]
fn deep_nesting_is_passed_on() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for (endpoint, body) in [
        (
            "/v1/chat/completions",
            format!(r#"{{"choices":[{{"message":{{"x":{deep}}},"y":{deep}}}],"z":{deep}}}"#),
        ),
        ("/v1/responses", format!(r#"{{"output":[{{"content":[{{"x":{deep}}}],"type":"message"}}]}}"#)),
    ] {
        let finished = stream(endpoint, false).finish(body.as_bytes()).unwrap();
        assert!(finished.windows(deep.len()).any(|window| window == deep.as_bytes()));
    }
}
