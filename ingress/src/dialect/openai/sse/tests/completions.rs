use super::*;

const COMPLETIONS: &str = "/v1/completions";

#[test]
fn each_choice_is_its_text_and_its_end() {
    let body = r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","x":1,"choices":[{"text":"one\n","index":0,"logprobs":{"tokens":["one"]},"finish_reason":"stop"},{"text":"","finish_reason":"length","y":[2]}],"usage":{"total_tokens":3}}"#;
    let head = r#"{"id":"cmpl-1","object":"text_completion","created":1,"model":"m","choices":["#;
    let expected = [
        r#"{"text":"one\n","index":0,"logprobs":{"tokens":["one"]},"finish_reason":null}],"x":1,"usage":null}"#,
        r#"{"text":"","index":0,"logprobs":null,"finish_reason":"stop"}],"usage":null}"#,
        r#"{"text":"","index":1,"finish_reason":null}],"usage":null}"#,
        r#"{"text":"","index":1,"finish_reason":"length","y":[2]}],"usage":null}"#,
        r#"],"usage":{"total_tokens":3}}"#,
    ];
    assert_eq!(chunks(COMPLETIONS, true, body), expected.map(|rest| format!("{head}{rest}")));
}

#[test]
fn a_no_op_adds_no_text() {
    let event = read(&stream(COMPLETIONS, false).no_op()).remove(0).json();
    assert_eq!(event["choices"][0]["text"], "");
    assert_eq!(event["object"], "text_completion");
    assert!(event["id"].as_str().unwrap().starts_with("cmpl-llmp-"));
}
