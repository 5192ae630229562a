use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::dialect::json::arbitrary::{space, value, written};
use crate::dialect::json::{self, Object};

/// Texts as raw JSON strings.
fn text() -> impl Strategy<Value = String> {
    (".{0,12}", any::<u64>()).prop_map(|(text, escape)| written(&text, escape))
}

/// An object's text with white space where it may be.
fn object(members: &[(&str, &str)], space: &str) -> String {
    let members: Vec<String> =
        members.iter().map(|(key, value)| format!("{space}\"{key}\"{space}:{space}{value}{space}")).collect();
    format!("{{{}}}", members.join(","))
}

/// What a raw value looks like within an event.
fn in_a_line(raw: &str) -> String {
    raw.replace(['\n', '\r'], " ")
}

/// A choice of a chat completion before it is printed.
#[derive(Debug, Clone)]
struct Answer {
    content: Option<String>,
    refusal: Option<String>,
    reasoning: Option<String>,
    calls: Vec<(String, String)>,
    logprobs: Option<String>,
    finish_reason: String,
}

fn answer() -> impl Strategy<Value = Answer> {
    let calls = vec((text(), text()), 0..4);
    (option::of(text()), option::of(text()), option::of(text()), calls, option::of(value()), text()).prop_map(
        |(content, refusal, reasoning, calls, logprobs, finish_reason)| Answer {
            content,
            refusal,
            reasoning,
            calls,
            logprobs,
            finish_reason,
        },
    )
}

impl Answer {
    fn print(&self, index: usize, space: &str) -> String {
        let call = |(id, arguments): &(String, String)| {
            let function = object(&[("name", id), ("arguments", arguments)], space);
            object(&[("id", id), ("type", "\"function\""), ("function", &function)], space)
        };
        let calls = format!("[{}]", self.calls.iter().map(call).collect::<Vec<_>>().join(","));
        let mut message = vec![("role", "\"assistant\"")];
        for (key, value) in
            [("content", &self.content), ("refusal", &self.refusal), ("reasoning", &self.reasoning)]
        {
            message.push((key, value.as_deref().unwrap_or("null")));
        }
        if !self.calls.is_empty() {
            message.push(("tool_calls", &calls));
        }
        let (index, message) = (index.to_string(), object(&message, space));
        let mut choice = vec![("index", index.as_str()), ("message", &message)];
        choice.extend(self.logprobs.as_deref().map(|logprobs| ("logprobs", logprobs)));
        choice.push(("finish_reason", &self.finish_reason));
        object(&choice, space)
    }

    /// As it is after a stream: an empty text is none.
    fn streamed(mut self) -> Self {
        for text in [&mut self.content, &mut self.refusal] {
            text.take_if(|text| *text == "\"\"");
        }
        self.logprobs = self.logprobs.filter(|logprobs| logprobs != "null").map(|raw| in_a_line(&raw));
        self
    }
}

/// Adds a delta's text to what there is, as SDKs do; here each text comes in one piece.
fn add(to: &mut Option<String>, delta: Option<&str>) {
    if let Some(text) = delta.filter(|text| !matches!(*text, "null" | "\"\"")) {
        assert_eq!(to.replace(text.to_owned()), None);
    }
}

fn accumulate(chunks: &[String], choices: usize) -> Vec<Answer> {
    let empty = Answer {
        content: None,
        refusal: None,
        reasoning: None,
        calls: Vec::new(),
        logprobs: None,
        finish_reason: String::new(),
    };
    let mut answers = vec![empty; choices];
    for chunk in chunks {
        let chunk = Object::parse(chunk).unwrap();
        for choice in json::objects(chunk.get("choices").unwrap()).unwrap() {
            let answer = &mut answers[choice.get("index").unwrap().parse::<usize>().unwrap()];
            assert_eq!(answer.finish_reason, "");
            let delta = Object::parse(choice.get("delta").unwrap()).unwrap();
            add(&mut answer.content, delta.get("content"));
            add(&mut answer.refusal, delta.get("refusal"));
            if let Some(reasoning) = delta.get("reasoning").filter(|reasoning| *reasoning != "null") {
                assert_eq!(answer.reasoning.replace(reasoning.to_owned()), None);
            }
            if let Some(logprobs) = choice.get("logprobs").filter(|logprobs| *logprobs != "null") {
                assert_eq!(answer.logprobs.replace(logprobs.to_owned()), None);
            }
            for call in delta.get("tool_calls").and_then(json::objects).unwrap_or_default() {
                let index: usize = call.get("index").unwrap().parse().unwrap();
                let function = Object::parse(call.get("function").unwrap()).unwrap();
                if let Some(id) = call.get("id") {
                    assert_eq!((index, function.get("name")), (answer.calls.len(), Some(id)));
                    answer.calls.push((id.to_owned(), "\"\"".to_owned()));
                }
                let arguments = function.get("arguments").unwrap();
                if arguments != "\"\"" {
                    assert_eq!(std::mem::replace(&mut answer.calls[index].1, arguments.to_owned()), "\"\"");
                }
            }
            let finish_reason = choice.get("finish_reason").unwrap();
            if finish_reason != "null" {
                finish_reason.clone_into(&mut answer.finish_reason);
            }
        }
    }
    answers
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_deltas_add_up_to_the_message(
        answers in vec(answer(), 1..4),
        usage in value(),
        space in space(),
    ) {
        let choices: Vec<String> =
            answers.iter().enumerate().map(|(index, answer)| answer.print(index, &space)).collect();
        let choices = format!("[{}]", choices.join(","));
        let body = object(&[("id", "\"c\""), ("choices", &choices), ("usage", &usage)], &space);
        let chunks = chunks("/v1/chat/completions", true, &body);
        let found = accumulate(&chunks, answers.len());
        let expected: Vec<Answer> = answers.into_iter().map(Answer::streamed).collect();
        prop_assert_eq!(format!("{found:?}"), format!("{expected:?}"));
        let last = Object::parse(chunks.last().unwrap()).unwrap();
        prop_assert_eq!(last.get("usage"), Some(&*in_a_line(&usage)));
    }

    #[test]
    fn the_events_add_up_to_the_response(
        texts in vec((text(), vec(value(), 0..3)), 0..4),
        arguments in text(),
        extra in value(),
        space in space(),
    ) {
        let parts: Vec<String> = texts.iter().map(|(text, annotations)| {
            let annotations = format!("[{}]", annotations.join(","));
            object(&[("type", "\"output_text\""), ("text", text), ("annotations", &annotations)], &space)
        }).collect();
        let content = format!("[{}]", parts.join(","));
        let message = object(&[("id", "\"m\""), ("type", "\"message\""), ("content", &content)], &space);
        let call = object(&[("type", "\"function_call\""), ("arguments", &arguments), ("x", &extra)], &space);
        let output = format!("[{message},{call}]");
        let body = object(&[("id", "\"r\""), ("output", &output), ("x", &extra)], &space);
        let finished = stream("/v1/responses", false).finish(body.as_bytes()).unwrap();

        let (mut deltas, mut annotations, mut items) = (Vec::new(), Vec::new(), Vec::new());
        let mut last = None;
        for event in read(&finished) {
            let data = Object::parse(&event.data).unwrap();
            let member = |key| data.get(key).unwrap().to_owned();
            match event.name.as_deref().unwrap() {
                "response.output_text.delta" | "response.function_call_arguments.delta" => {
                    deltas.push(member("delta"));
                }
                "response.output_text.annotation.added" => annotations.push(member("annotation")),
                "response.output_item.done" => items.push(member("item")),
                "response.completed" => last = Some(member("response")),
                _ => {}
            }
        }
        let texts_given = texts.iter().map(|(text, _)| text).chain([&arguments]);
        prop_assert_eq!(deltas, texts_given.filter(|text| *text != "\"\"").cloned().collect::<Vec<_>>());
        let given: Vec<String> = texts.iter().flat_map(|(_, all)| all).map(|raw| in_a_line(raw)).collect();
        prop_assert_eq!(annotations, given);
        prop_assert_eq!(items, [in_a_line(&message), in_a_line(&call)]);
        let last = last.unwrap();
        let last = Object::parse(&last).unwrap();
        prop_assert_eq!(last.get("output"), Some(&*in_a_line(&output)));
        prop_assert_eq!(last.get("x"), Some(&*in_a_line(&extra)));
    }

    #[test]
    fn odd_answers_become_events_or_an_error(
        kind in prop_oneof![Just("message"), Just("reasoning"), Just("function_call"), Just("x")],
        values in vec(value(), 8),
        bytes in vec(any::<u8>(), 0..60),
    ) {
        let [a, b, c, d, e, f, g, h] = &values[..] else { unreachable!() };
        let message = format!(r#"{{"content":{a},"refusal":{b},"tool_calls":[{{"function":{c}}}],"role":{d}}}"#);
        let part = format!(r#"{{"type":"output_text","text":{a},"annotations":{b},"logprobs":{c}}}"#);
        let item = format!(r#"{{"type":"{kind}","content":[{part},{{"type":{d}}}],"summary":{e},"arguments":{f}}}"#);
        let bodies = [
            format!(r#"{{"choices":[{{"message":{message},"text":{e},"logprobs":{f}}}],"id":{g},"usage":{h}}}"#),
            format!(r#"{{"choices":[{{"message":{{"tool_calls":{a}}},"index":{b}}}],"model":{c},"created":{d}}}"#),
            format!(r#"{{"choices":{a},"output":{b}}}"#),
            format!(r#"{{"output":[{item}],"status":{g},"usage":{h}}}"#),
            format!(r#"{{"output":[{item},{{}}],"error":{a}}}"#),
            format!(r#"{{"error":{{"message":{a},"code":{b}}}}}"#),
            format!(r#"{{"error":{a},"message":{b}}}"#),
            a.clone(),
        ];
        for endpoint in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
            let events = stream(endpoint, true);
            let _ = events.finish(&bytes);
            read(&events.fail(500, &bytes));
            for body in &bodies {
                let failed = events.fail(500, body.as_bytes());
                let finished = events.finish(body.as_bytes()).ok();
                for stream in finished.iter().chain([&failed]) {
                    prop_assert!(stream.len() <= 32 * body.len() + 64 * 1024);
                    for event in read(stream).iter().filter(|event| event.data != "[DONE]") {
                        prop_assert!(Object::parse(&event.data).is_some(), "{}", event.data);
                    }
                }
            }
        }
    }
}
