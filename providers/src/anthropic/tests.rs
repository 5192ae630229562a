use super::*;

const IN_PROGRESS: &str = r#"{"id":"msgbatch_1","type":"message_batch","processing_status":"in_progress",
    "request_counts":{"processing":3,"succeeded":0,"errored":0,"canceled":0,"expired":0},
    "created_at":"2024-03-26T16:45:33.5Z","expires_at":"2024-03-27T16:45:33Z","ended_at":null,"cancel_initiated_at":null,
    "archived_at":null,"results_url":null}"#;

fn read(body: &str) -> Job {
    Anthropic.read_job(body.as_bytes()).unwrap()
}

#[test]
fn elements_have_the_length_that_is_announced() {
    let line = Line { custom_id: "id_1", endpoint: MESSAGES, inline: true, body: b"{\n \"n\": 1e999}" };
    let mut out = Vec::new();
    Anthropic.encode_line(&mut out, &line);
    assert_eq!(String::from_utf8_lossy(&out), r#"{"custom_id":"id_1","params":{  "n": 1e999}}"#);
    assert_eq!(out.len(), Anthropic.line_len(&line, line.body.len()));
    let new = NewJob { endpoint: MESSAGES, model: "m", batch: "b" };
    let Inline { head, tail, .. } = Anthropic.create_inline(&new).unwrap();
    let whole = [&head[..], &out, b",", &out, &tail].concat();
    assert_eq!(
        String::from_utf8_lossy(&whole),
        r#"{"requests":[{"custom_id":"id_1","params":{  "n": 1e999}},{"custom_id":"id_1","params":{  "n": 1e999}}]}"#
    );
}

#[test]
fn a_batch_tells_its_results_when_it_has_ended() {
    let job = read(IN_PROGRESS);
    assert_eq!((job.phase, job.output, job.created_at), (Phase::Running, None, Some(1_711_471_533)));
    assert_eq!(job.counts, Some(Counts { total: 3, completed: 0, failed: 0 }));
    let ended = IN_PROGRESS.replace("in_progress", "ended").replace(r#""processing":3"#, r#""processing":0"#);
    let ended =
        ended.replace(r#""succeeded":0"#, r#""succeeded":1"#).replace(r#""expired":0"#, r#""expired":2"#);
    let job = read(&ended);
    assert_eq!((job.phase, job.output.as_deref()), (Phase::Completed, Some("msgbatch_1")));
    assert_eq!(job.counts, Some(Counts { total: 3, completed: 1, failed: 2 }));
    let cancelled =
        ended.replace(r#""cancel_initiated_at":null"#, r#""cancel_initiated_at":"2024-03-26T16:45:33Z""#);
    assert_eq!(read(&cancelled).phase, Phase::Cancelled);
    assert_eq!(read(&IN_PROGRESS.replace("in_progress", "canceling")).phase, Phase::Running);
}

#[test]
fn lines_get_the_status_of_the_same_call_alone() {
    let line = |result: &str| format!("{{\"custom_id\":\"c\",\"result\":{result}}}");
    let message = r#"{"type":"succeeded","message": {"n":9007199254740993,"text":"\u2028"}}"#;
    let text = line(message);
    let read = Anthropic.read_result(text.as_bytes()).unwrap();
    let body = r#"{"n":9007199254740993,"text":"\u2028"}"#.as_bytes().into();
    assert_eq!(read.outcome, LineOutcome::Response { status: 200, request_id: None, body });
    for (kind, status) in [("invalid_request_error", 400), ("overloaded_error", 529), ("new_error", 500)] {
        let error =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}},"request_id":"req_1"}}"#);
        let text = line(&format!(r#"{{"type":"errored","error":{error}}}"#));
        let read = Anthropic.read_result(text.as_bytes()).unwrap();
        let outcome =
            LineOutcome::Response { status, request_id: Some("req_1".into()), body: error.as_bytes().into() };
        assert_eq!(read.outcome, outcome);
    }
    for (kind, code) in [("canceled", "batch_cancelled"), ("expired", "batch_expired")] {
        let text = line(&format!(r#"{{"type":"{kind}"}}"#));
        let LineOutcome::Error { status: None, code: read, .. } =
            Anthropic.read_result(text.as_bytes()).unwrap().outcome
        else {
            panic!("{kind}")
        };
        assert_eq!(read, code);
    }
    for bad in ["{}", r#"{"custom_id":"c"}"#, r#"{"custom_id":"c","result":{"type":"new"}}"#, "[1]"] {
        assert!(Anthropic.read_result(bad.as_bytes()).is_err(), "{bad}");
    }
}

#[test]
fn only_overload_is_certainly_nothing_done() {
    let overloaded = br#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
    assert!(Anthropic.refuses(529, b"") && Anthropic.refuses(503, overloaded));
    assert!(!Anthropic.refuses(500, br#"{"type":"error","error":{"type":"api_error"}}"#));
}
