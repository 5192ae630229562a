use super::*;

const OURS: &str =
    r#"{"error":{"message":"The batch \"b\" expired","type":"server_error","param":null,"code":"expired"}}"#;

#[test]
fn chunks_fail_with_the_providers_own_error() {
    for endpoint in ["/v1/chat/completions", "/v1/completions"] {
        let failed = stream(endpoint, true).fail(504, OURS.as_bytes());
        assert_eq!(failed, format!("data: {OURS}\n\ndata: [DONE]\n\n"));
    }
    let odd = b"{\n \"error\": {\"message\": \"m\",\n \"code\": 1e400}}";
    let failed = stream("/v1/completions", true).fail(400, odd);
    assert_eq!(failed, "data: {\"error\":{\"message\": \"m\",  \"code\": 1e400}}\n\ndata: [DONE]\n\n");
}

#[test]
fn an_error_event_has_both_shapes() {
    let mut events = stream("/v1/responses", false);
    let error = OURS.strip_prefix("{\"error\":").unwrap().strip_suffix('}').unwrap();
    for sequence in 0..3 {
        let expected = format!(
            "event: error\ndata: {{\"type\":\"error\",\"sequence_number\":{sequence},\"code\":\"expired\",\
             \"message\":\"The batch \\\"b\\\" expired\",\"param\":null,\"error\":{error}}}\n\n"
        );
        assert_eq!(events.fail(504, OURS.as_bytes()), expected);
        events.no_op();
    }
}

#[test]
fn what_is_no_error_object_becomes_one() {
    let error = |status, body: &str| {
        let failed = stream("/v1/chat/completions", false).fail(status, body.as_bytes());
        read(&failed)[0].json()["error"].take()
    };
    for body in
        ["", "<html>", "{}", "[]", r#"{"error":null}"#, r#"{"error":{}}"#, r#"{"error":{"message":1}}"#]
    {
        let error = error(502, body);
        assert_eq!(error["message"], "The provider answered with status 502 and no error object.", "{body}");
        assert_eq!((&error["type"], &error["code"]), (&"server_error".into(), &Value::Null));
    }
    for body in [r#"{"error":"why"}"#, r#"{"detail":"why"}"#, r#"{"object":"error","message":"why"}"#] {
        assert_eq!(error(429, body)["message"], "why");
        assert_eq!(error(429, body)["type"], "rate_limit_error");
        assert_eq!(error(404, body)["type"], "invalid_request_error");
    }
    let failed = stream("/v1/responses", false).fail(500, r#"{"error":{"message":"m","code":7}}"#.as_bytes());
    // The reference has a string or `null` here; the nested object stays the provider's.
    assert_eq!(read(&failed)[0].json()["code"], Value::Null);
    assert_eq!(read(&failed)[0].json()["error"]["code"], 7);
}
