mod answers;
mod failures;
mod properties;

use serde_json::Value;

use super::*;

/// What ends a stream of events that failed.
const TAIL: &str = ": the stream ended with an error";

const FORMS: [Form; 2] = [Form::Sse, Form::Array];

/// The chunks of a stream as they are written.
fn read(form: Form, stream: &[u8]) -> Vec<String> {
    let text = std::str::from_utf8(stream).unwrap();
    let text = text.strip_suffix(TAIL).unwrap_or(text);
    let chunks: Vec<String> = match form {
        Form::Sse => {
            let events = text.strip_suffix("\r\n\r\n").unwrap().split("\r\n\r\n");
            events.map(|event| event.strip_prefix("data: ").unwrap().to_owned()).collect()
        }
        Form::Array => {
            let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix("\n]\n")).unwrap();
            inside.split("\n,\r\n").map(str::to_owned).collect()
        }
    };
    for chunk in &chunks {
        assert!(!chunk.contains(['\n', '\r']) && Object::parse(chunk).is_some(), "{chunk}");
    }
    if form == Form::Array {
        assert_eq!(
            serde_json::from_slice::<&serde_json::value::RawValue>(stream).unwrap().get(),
            text.trim_end()
        );
    }
    chunks
}

/// The chunks of an answer, the same in both forms.
fn chunks(body: &str) -> Vec<String> {
    let [events, array] = FORMS.map(|form| read(form, &Events::new(form).finish(body.as_bytes()).unwrap()));
    assert_eq!(events, array);
    events
}

fn parsed(body: &str) -> Vec<Value> {
    chunks(body).iter().map(|chunk| serde_json::from_str(chunk).unwrap()).collect()
}

#[test]
fn what_is_no_object_cannot_be_streamed() {
    for form in FORMS {
        for body in ["", "[]", "null", "{\"candidates\":[]", "{}x", "[{}]"] {
            let finished = Events::new(form).finish(body.as_bytes());
            assert_eq!(finished, Err(Unstreamable::NoObject), "{body}");
        }
        assert_eq!(Events::new(form).finish(b"{\"\xff\":1}"), Err(Unstreamable::NoObject));
    }
}

#[test]
fn nothing_is_said_while_waiting() {
    for form in FORMS {
        assert_eq!(Events::new(form).no_op(), "\n");
        assert_eq!(Events::new(form).form(), form);
    }
    assert_eq!(Form::Sse.content_type(), "text/event-stream");
    assert!(Form::Array.content_type().starts_with("application/json"));
}

#[test]
fn a_padded_stream_begins_with_its_first_event() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"a"},{"text":"b"}]}}]}"#;
    let plain = Events::new(Form::Sse);
    let mut padded = Events::padded(Form::Sse);
    assert_eq!(padded.finish(body.as_bytes()), plain.finish(body.as_bytes()));
    assert_eq!([padded.no_op(), padded.no_op(), padded.no_op()].concat(), b"data:   ");
    let rest = |whole: Bytes| whole.strip_prefix(b"data: ").unwrap().to_vec();
    assert_eq!(padded.finish(body.as_bytes()).unwrap(), rest(plain.finish(body.as_bytes()).unwrap()));
    assert_eq!(padded.fail(500, b""), rest(plain.fail(500, b"")));
    assert_eq!(Events::padded(Form::Array), Events::new(Form::Array));
}

#[test]
fn older_clients_for_node_want_padding() {
    let asked = |name: &'static str, value: &'static str| {
        wants_padding(&HeaderMap::from_iter([(http::HeaderName::from_static(name), value.parse().unwrap())]))
    };
    assert!(asked("x-goog-api-client", "genai-js/0.24.1"));
    assert!(asked("user-agent", "google-genai-sdk/1.20.0 gl-node/v20.20.2"));
    assert!(!asked("user-agent", "google-genai-sdk/1.29.0 gl-python/3.11.7"));
    assert!(!asked("user-agent", "google-genai-sdk/2.32.0 gl-node/v20.20.2"));
    assert!(!asked("user-agent", "curl/7.88.1") && !wants_padding(&HeaderMap::new()));
}

#[test]
fn the_output_is_bounded() {
    // Every part makes a chunk that repeats a long id.
    let parts = vec!["{}"; 2000].join(",");
    let id = "i".repeat(5000);
    let body = format!(r#"{{"candidates":[{{"content":{{"parts":[{parts}]}}}}],"responseId":"{id}"}}"#);
    for form in FORMS {
        assert_eq!(Events::new(form).finish(body.as_bytes()), Err(Unstreamable::TooLong));
    }
}

#[test]
fn deep_nesting_is_passed_on() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let part = format!(r#"{{"text":"t","x":{deep}}}"#);
    let body = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{part}],"x":{deep}}},"x":{deep}}},{deep}],"x":{deep}}}"#
    );
    for form in FORMS {
        let finished = Events::new(form).finish(body.as_bytes()).unwrap();
        assert!(finished.windows(deep.len()).any(|window| window == deep.as_bytes()));
    }
}
