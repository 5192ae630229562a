use super::*;
use crate::dialect::gemini::stream::pieces::PIECE;

#[test]
fn a_short_answer_is_one_chunk_as_the_provider_prints_it() {
    let body = "{\n  \"candidates\": [\n    {\"content\": {\"parts\": [{\"text\": \"caf\\u00e9 \\ud83d\\ude00 \
        \u{2028}\\n\"}], \"role\": \"model\"}, \"finishReason\": \"STOP\", \"avgLogprobs\": -1e-400, \"index\": 0}],\r\n\
        \"usageMetadata\": {\"totalTokenCount\": 230},\"modelVersion\": \"m\",\"responseId\": \"r\"}\n";
    assert_eq!(
        chunks(body),
        ["{\"candidates\":[{\"content\":{\"parts\":[{\"text\": \"caf\\u00e9 \\ud83d\\ude00 \u{2028}\\n\"}],\
          \"role\":\"model\"},\"finishReason\":\"STOP\",\"avgLogprobs\":-1e-400,\"index\":0}],\
          \"usageMetadata\":{\"totalTokenCount\": 230},\"modelVersion\":\"m\",\"responseId\":\"r\"}"]
    );
}

#[test]
fn every_part_is_a_chunk_and_the_end_comes_last() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"Hm","thought":true},{"text":"I look."},{"functionCall":{"id":"1","name":"f","args":{"x":1e400}},"thoughtSignature":"c2ln"}],"role":"model","y":1},"finishReason":"STOP","index":0,"groundingMetadata":{"a":[]}}],"promptFeedback":{},"usageMetadata":{"totalTokenCount":3},"modelVersion":"m","responseId":"r","createTime":"t"}"#;
    let tail = r#""modelVersion":"m","responseId":"r"}"#;
    let created = tail.replace('}', r#","createTime":"t"}"#);
    assert_eq!(
        chunks(body),
        [
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"Hm","thought":true}}],"role":"model"}},"index":0}}],"promptFeedback":{{}},{created}"#
            ),
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"I look."}}],"role":"model"}},"index":0}}],{tail}"#
            ),
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"functionCall":{{"id":"1","name":"f","args":{{"x":1e400}}}},"thoughtSignature":"c2ln"}}],"role":"model","y":1}},"finishReason":"STOP","index":0,"groundingMetadata":{{"a":[]}}}}],"usageMetadata":{{"totalTokenCount":3}},{tail}"#
            ),
        ]
    );
}

#[test]
fn a_long_text_comes_in_pieces_with_its_signature_at_the_end() {
    let text = "a".repeat(2 * PIECE) + "é";
    let body = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"thoughtSignature":"c2ln","text":"{text}","thought":true,"n":1}}]}},"finishReason":"STOP"}}]}}"#
    );
    let found = parsed(&body);
    let parts: Vec<&Value> =
        found.iter().map(|chunk| &chunk["candidates"][0]["content"]["parts"][0]).collect();
    let joined: String = parts.iter().map(|part| part["text"].as_str().unwrap()).collect();
    assert_eq!((joined, parts.len()), (text, 3));
    for (at, part) in parts.iter().enumerate() {
        assert_eq!(part["thought"], true);
        assert_eq!((part["n"] == 1, part["thoughtSignature"] == "c2ln"), (at == 2, at == 2));
        assert_eq!(found[at]["candidates"][0]["finishReason"] == "STOP", at == 2);
    }
}

#[test]
fn other_candidates_stand_in_the_last_chunk_behind_the_first() {
    let other = r#"{"content":{"parts":[{"text":"x"},{"text":"y"}]},"index":1,"finishReason":"MAX_TOKENS"}"#;
    let body = format!(
        r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}},{{"text":"b"}}]}},"index":0,"finishReason":"STOP"}},{other},null]}}"#
    );
    assert_eq!(
        chunks(&body),
        [
            r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"index":0}]}"#.to_owned(),
            format!(
                r#"{{"candidates":[{{"content":{{"parts":[{{"text":"b"}}]}},"index":0,"finishReason":"STOP"}},{other},null]}}"#
            ),
        ]
    );
}

#[test]
fn what_has_no_parts_comes_whole() {
    for body in [
        r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3},"x":1}"#,
        r#"{"candidates":[],"usageMetadata":{}}"#,
        r#"{"candidates":[{"finishReason":"SAFETY","index":0}],"usageMetadata":{}}"#,
        r#"{"candidates":[{"content":{},"finishReason":"MAX_TOKENS"}]}"#,
        r#"{"candidates":[{"content":{"role":"model","parts":[]}}]}"#,
        r#"{"candidates":[{"content":null}]}"#,
        r#"{"candidates":[null,{"content":{"parts":[{"text":"a"},{"text":"b"}]}}]}"#,
        r#"{"candidates":"?","usageMetadata":1}"#,
        "{}",
    ] {
        assert_eq!(chunks(body), [body]);
    }
}

#[test]
fn odd_parts_are_passed_on() {
    let body = r#"{"candidates":[{"content":{"parts":[1,null,{},{"text":null},{"text":""},{"inlineData":{"data":"aGk="}}]}}]}"#;
    let parts: Vec<Value> =
        parsed(body).iter_mut().map(|chunk| chunk["candidates"][0]["content"]["parts"][0].take()).collect();
    let expected: Value = serde_json::from_str(body).unwrap();
    assert_eq!(&Value::from(parts), &expected["candidates"][0]["content"]["parts"]);
}
