use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::dialect::gemini::json::arbitrary::{value, written};
use crate::dialect::gemini::json::{array, text};

/// A part of a content: a text of some length, a thought or not, or anything else; as it is written.
fn part() -> impl Strategy<Value = String> {
    let long = (".{1,12}", 1_usize..600, any::<u64>(), any::<bool>());
    prop_oneof![
        long.prop_map(|(unit, times, escape, thought)| {
            format!(
                r#"{{ "text": {}, "thought": {thought}, "x": 1e400 }}"#,
                written(&unit.repeat(times), escape)
            )
        }),
        value().prop_map(|args| format!(r#"{{"functionCall":{{"name":"f","args":{args}}}}}"#)),
        value(),
    ]
}

/// What a raw value looks like within an event.
fn in_a_line(raw: &str) -> String {
    raw.replace(['\n', '\r'], " ")
}

/// The parts of the first candidate of all chunks. Pieces of one text are joined, which end with the one that has an `x`.
fn accumulate(chunks: &[String]) -> Vec<String> {
    let (mut parts, mut joined) = (Vec::new(), String::new());
    for chunk in chunks {
        let raw = parts_of(chunk);
        assert_eq!(raw.len(), 1);
        let piece = Object::parse(raw[0]).filter(|part| part.get("thought").is_some());
        match piece.and_then(|part| Some((text(part.get("text")?)?.into_owned(), part))) {
            Some((piece, part)) => {
                joined += &piece;
                if part.get("x").is_some() {
                    let thought = part.get("thought").unwrap();
                    parts.push(format!("{thought} {}", std::mem::take(&mut joined)));
                }
            }
            None => parts.push(raw[0].to_owned()),
        }
    }
    parts
}

fn parts_of(chunk: &str) -> Vec<&str> {
    let candidates = array(Object::parse(chunk).unwrap().get("candidates").unwrap()).unwrap();
    let content = Object::parse(candidates[0]).unwrap().get("content").unwrap();
    array(Object::parse(content).unwrap().get("parts").unwrap()).unwrap()
}

/// What [`accumulate`] gives for a part.
fn expected(raw: &str) -> String {
    let object = Object::parse(raw).filter(|part| part.get("thought").is_some());
    match object.and_then(|part| Some((text(part.get("text")?)?.into_owned(), part))) {
        Some((text, part)) => format!("{} {text}", part.get("thought").unwrap()),
        None => in_a_line(raw),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_chunks_add_up_to_the_answer(
        parts in vec(part(), 1..5),
        others in vec(value(), 0..3),
        usage in value(),
        extra in value(),
        space in "[ \n\r\t]{0,3}",
    ) {
        let content = format!(r#"{{{space}"parts":[{}],"role"{space}:"model"}}"#, parts.join(&format!(",{space}")));
        let first = format!(r#"{{"content":{content},{space}"finishReason":"STOP","x":{extra}}}"#);
        let candidates = [vec![first], others.clone()].concat().join(",");
        let body = format!(r#"{{"candidates":[{candidates}],"usageMetadata":{usage},"x":{extra},{space}"responseId":"r"}}"#);
        let chunks = chunks(&body);
        prop_assert_eq!(accumulate(&chunks), parts.iter().map(|part| expected(part)).collect::<Vec<_>>());
        for (at, chunk) in chunks.iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == chunks.len());
            let chunk = Object::parse(chunk).unwrap();
            let line = |raw: &str, stands: bool| stands.then(|| in_a_line(raw));
            prop_assert_eq!(chunk.get("usageMetadata").map(str::to_owned), line(&usage, last));
            prop_assert_eq!(chunk.get("x").map(str::to_owned), line(&extra, first));
            prop_assert_eq!(chunk.get("responseId"), Some("\"r\""));
            let candidates = array(chunk.get("candidates").unwrap()).unwrap();
            let candidate = Object::parse(candidates[0]).unwrap();
            prop_assert_eq!(candidate.get("finishReason"), last.then_some("\"STOP\""));
            prop_assert_eq!(candidate.get("x").map(str::to_owned), line(&extra, last));
            let here = if last { &others[..] } else { &[] };
            prop_assert_eq!(&candidates[1..], here.iter().map(|raw| in_a_line(raw)).collect::<Vec<_>>());
        }
    }

    #[test]
    fn odd_answers_become_chunks_or_an_error(values in vec(value(), 4), bytes in vec(any::<u8>(), 0..60)) {
        let [a, b, c, d] = &values[..] else { unreachable!() };
        let bodies = [
            format!(r#"{{"candidates":[{{"content":{{"parts":{a},"role":{b}}},"index":{c}}}],"modelVersion":{d}}}"#),
            format!(r#"{{"candidates":[{{"content":{{"parts":[{{"text":{a},"text":{b}}},{c}],"parts":[{d}]}}}}]}}"#),
            format!(r#"{{"candidates":[{{"content":{a}}},{b}],"candidates":[{c}],"responseId":{d}}}"#),
            format!(r#"{{"candidates":{a},"x":{b}}}"#),
            format!(r#"{{"error":{{"message":{a},"code":{b},"status":{c},"details":{d}}}}}"#),
            format!(r#"[{{"error":{a},"message":{b}}}]"#),
            a.clone(),
        ];
        for form in FORMS {
            let events = Events::new(form);
            let _ = events.finish(&bytes);
            read(form, &events.fail(500, &bytes));
            for body in &bodies {
                let failed = events.fail(500, body.as_bytes());
                let finished = events.finish(body.as_bytes()).ok();
                for stream in finished.iter().chain([&failed]) {
                    prop_assert!(stream.len() <= 32 * body.len() + 64 * 1024 + 8);
                    read(form, stream);
                }
            }
        }
    }
}
