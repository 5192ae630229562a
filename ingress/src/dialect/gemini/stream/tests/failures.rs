use super::*;

fn error(status: u16, body: &str) -> String {
    let [mut event, mut array] =
        FORMS.map(|form| read(form, &Events::new(form).fail(status, body.as_bytes())));
    assert_eq!((event.len(), &event), (1, &array));
    let error = event.remove(0).strip_prefix("{\"error\":").unwrap().strip_suffix('}').unwrap().to_owned();
    assert!(array.remove(0).contains(&error));
    error
}

#[test]
fn the_providers_own_error_is_told() {
    let given = r#"{"code":429,"message":"Say \"when\"","status":"RESOURCE_EXHAUSTED","details":[{"@type":"t","n":1e400}]}"#;
    for body in [format!("{{\"error\":{given}}}"), format!("[{{\n\"error\":{given}\n}}\n]")] {
        assert_eq!(error(429, &body), given);
    }
    assert_eq!(
        Events::new(Form::Sse).fail(429, format!("{{\"error\":{given}}}").as_bytes()),
        format!("data: {{\"error\":{given}}}\r\n\r\n{TAIL}")
    );
    assert_eq!(
        Events::new(Form::Array).fail(429, format!("{{\"error\":{given}}}").as_bytes()),
        format!("[{{\"error\":{given}}}\n]\n")
    );
}

#[test]
fn a_line_of_a_batch_has_the_number_of_another_protocol() {
    let line = r#"{"error":{"code":3,"message":"why"}}"#;
    assert_eq!(error(400, line), r#"{"code":400,"message":"why","status":"INVALID_ARGUMENT"}"#);
    for code in ["null", "\"429\"", "4.29e2", "200", "600", "99999999999999999999", "{}"] {
        let body = format!(r#"{{"error":{{"code":{code},"message":"why"}}}}"#);
        assert_eq!(error(503, &body), r#"{"code":503,"message":"why","status":"UNAVAILABLE"}"#);
    }
}

#[test]
fn what_is_no_error_object_becomes_one() {
    for body in [
        "",
        "<html>",
        "{}",
        "[]",
        "[1]",
        r#"{"error":null}"#,
        r#"{"error":{}}"#,
        r#"{"error":{"message":1}}"#,
    ] {
        assert_eq!(
            error(502, body),
            r#"{"code":502,"message":"The provider answered with status 502 and no error object.","status":"UNAVAILABLE"}"#,
            "{body}"
        );
    }
    for body in [r#"{"error":"why"}"#, r#"{"message":"why"}"#] {
        assert_eq!(error(404, body), r#"{"code":404,"message":"why","status":"NOT_FOUND"}"#);
    }
    // A client that knows errors by their status has to see one.
    for status in [0, 200, 304, 600] {
        assert!(error(status, "{}").starts_with(r#"{"code":500,"#));
    }
}
