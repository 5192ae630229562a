use super::*;
use crate::result::LineOutcome;

const NEW: NewJob<'static> = NewJob { endpoint: GENERATE, model: "gemini-2.5-flash", batch: "b1" };

#[test]
fn lines_and_elements_have_the_length_that_is_announced() {
    for (inline, expected) in [
        (true, r#"{"request":{  "n": 1e999},"metadata":{"key":"id_1"}}"#),
        (false, "{\"key\":\"id_1\",\"request\":{  \"n\": 1e999}}\n"),
    ] {
        let line = Line { custom_id: "id_1", endpoint: GENERATE, inline, body: b"{\n \"n\": 1e999}" };
        let mut out = Vec::new();
        Gemini.encode_line(&mut out, &line);
        assert_eq!(String::from_utf8_lossy(&out), expected);
        assert_eq!(out.len(), Gemini.line_len(&line, line.body.len()));
    }
    let Inline { call, head, tail } = Gemini.create_inline(&NEW).unwrap();
    assert_eq!(call.path, ["v1beta", "models", "gemini-2.5-flash:batchGenerateContent"]);
    let whole: Value = serde_json::from_slice(&[head, b"{}".to_vec(), tail].concat()).unwrap();
    let expected = json!({"batch": {"displayName": "b1", "inputConfig": {"requests": {"requests": [{}]}}}});
    assert_eq!(whole, expected);
    let embeddings = Gemini.create(&NewJob { endpoint: EMBED, ..NEW }, "files/f");
    assert_eq!(embeddings.path[2], "gemini-2.5-flash:asyncBatchEmbedContent");
}

fn read(body: Value) -> Job {
    Gemini.read_job(body.to_string().as_bytes()).unwrap()
}

#[test]
fn results_are_found_in_both_places() {
    let metadata = |state: &str, more: Value| {
        let mut metadata = json!({"state": state, "displayName": "b1", "createTime": "2024-03-26T16:45:33Z",
            "batchStats": {"requestCount": "3", "successfulRequestCount": "1"}});
        metadata.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        metadata
    };
    let running = read(json!({"name": "batches/1", "metadata": metadata("BATCH_STATE_RUNNING", json!({}))}));
    assert_eq!((running.phase, running.batch.as_deref()), (Phase::Running, Some("b1")));
    assert_eq!(running.counts, Some(Counts { total: 3, completed: 1, failed: 0 }));
    let early = read(json!({"name": "batches/1", "metadata": metadata("JOB_STATE_SUCCEEDED", json!({}))}));
    assert_eq!((early.phase, early.output), (Phase::Running, None));
    let done = metadata("BATCH_STATE_SUCCEEDED", json!({}));
    let file = read(json!({"name": "batches/1", "metadata": done, "response": {"responsesFile": "files/o"}}));
    assert_eq!((file.phase, file.output.as_deref()), (Phase::Completed, Some("files/o")));
    let output = json!({"output": {"inlinedResponses": {"inlinedResponses": [{"metadata": {"key": "a"}}]}}});
    let body = json!({"name": "batches/1", "metadata": metadata("BATCH_STATE_SUCCEEDED", output)});
    assert_eq!(read(body.clone()).output.as_deref(), Some("batches/1"));
    let body = body.to_string();
    assert_eq!(
        Gemini.read_document(&Gemini.poll("batches/1"), body.as_bytes()).unwrap().elements,
        [r#"{"metadata":{"key":"a"}}"#.as_bytes()]
    );
    let flat = r#"{"name":"b","response":{"inlinedResponses":[{"x":1},{"x":2}]}}"#;
    assert_eq!(Gemini.read_document(&Gemini.poll("batches/1"), flat.as_bytes()).unwrap().elements.len(), 2);
    let expired = read(json!({"name": "batches/1", "metadata": metadata("BATCH_STATE_EXPIRED", json!({}))}));
    assert_eq!((expired.phase, expired.output), (Phase::Expired, None));
}

#[test]
fn errors_of_lines_become_those_of_calls() {
    let line = br#"{"key":"a","response":{"candidates": [1e999]}}"#;
    let read = Gemini.read_result(line).unwrap();
    let body = br#"{"candidates": [1e999]}"#[..].into();
    assert_eq!(
        (read.custom_id.as_ref(), read.outcome),
        ("a", LineOutcome::Response { status: 200, request_id: None, body })
    );
    let line = br#"{"metadata":{"key":"a"},"error":{"code":3,"message":"say \"no\""}}"#;
    let LineOutcome::Response { status, body, .. } = Gemini.read_result(line).unwrap().outcome else {
        panic!()
    };
    let expected = r#"{"error":{"code":400,"message":"say \"no\"","status":"INVALID_ARGUMENT"}}"#;
    assert_eq!((status, String::from_utf8_lossy(&body).as_ref()), (400, expected));
    let cancelled = br#"{"key":"a","error":{"code":1,"message":"cancelled"}}"#;
    assert!(matches!(
        Gemini.read_result(cancelled).unwrap().outcome,
        LineOutcome::Error { status: None, .. }
    ));
    for bad in ["{}", r#"{"key":"a"}"#, r#"{"key":"","response":{}}"#, "[]", "{"] {
        assert!(Gemini.read_result(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn names_with_slashes_become_paths() {
    assert_eq!(Gemini.poll("batches/1").path, ["v1beta", "batches", "1"]);
    assert_eq!(Gemini.cancel("batches/1").path, ["v1beta", "batches", "1:cancel"]);
    let Source::Lines(call) = Gemini.results("files/o") else { panic!() };
    assert_eq!((call.path.join("/").as_str(), call.query.len()), ("download/v1beta/files/o:download", 1));
    assert!(matches!(Gemini.results("batches/1"), Source::Document(_)));
}

#[test]
fn one_result_that_is_no_json_leaves_the_others() {
    let list = r#"[{"metadata":{"key":"c"}},{"n":NaN},{"metadata":{"key":"d"}}]"#;
    for results in [
        format!(r#""response":{{"inlinedResponses":{{"inlinedResponses":{list}}}}}"#),
        format!(r#""response":{{"inlinedEmbedContentResponses":{{"inlinedResponses":{list}}}}}"#),
        format!(r#""response":{{"inlinedResponses":{list}}}"#),
    ] {
        let body = format!(
            r#"{{"name":"batches/b","metadata":{{"state":"BATCH_STATE_SUCCEEDED","displayName":"bid"}},"done":true,{results}}}"#
        );
        let job = Gemini.read_job(body.as_bytes()).unwrap();
        assert_eq!((job.phase, job.output.as_deref()), (Phase::Completed, Some("batches/b")));
        let document = Gemini.read_document(&Gemini.poll("batches/b"), body.as_bytes()).unwrap();
        assert_eq!((document.elements.len(), document.broken), (3, true), "{results}");
        assert_eq!(document.elements[2], &br#"{"metadata":{"key":"d"}}"#[..]);
    }
    assert!(Gemini.read_document(&Gemini.poll("batches/b"), b"<html>").is_err());
}

#[test]
fn too_much_in_the_queue_is_not_taken_for_too_many_calls() {
    let full = |status: u16, word: &str, words: &str, more: &str, told_when: bool| {
        let body = format!(r#"{{"error":{{"code":{status},"status":"{word}","message":"{words}"{more}}}}}"#);
        Gemini.is_queue_full(status, body.as_bytes(), told_when)
    };
    let (exhausted, quota) =
        ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan.");
    assert!(full(429, exhausted, "Quota: 9 enqueued tokens.", "", true));
    assert!(full(429, exhausted, quota, "", false));
    assert!(!full(429, exhausted, quota, "", true));
    let details = r#","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"9s"}]"#;
    assert!(!full(429, exhausted, quota, details, false));
    assert!(!full(429, "UNAVAILABLE", "enqueued", "", false));
    assert!(!full(503, exhausted, "enqueued", "", false));
    assert!(!Gemini.is_queue_full(429, b"<html>", false));
}
