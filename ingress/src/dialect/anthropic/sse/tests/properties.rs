use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::dialect::json::arbitrary::{space, value, written};

/// A block before it is printed: strings with their quotes, values raw.
#[derive(Debug, Clone, PartialEq)]
enum Block {
    Text(String, Option<Vec<String>>),
    Thinking(String, String),
    Tool(String, String),
    Whole(String),
}

fn text() -> impl Strategy<Value = String> {
    (".{0,12}", any::<u64>()).prop_map(|(text, escape)| written(&text, escape))
}

fn block() -> impl Strategy<Value = Block> {
    prop_oneof![
        (text(), option::of(vec(value(), 0..3))).prop_map(|(text, citations)| Block::Text(text, citations)),
        (text(), text()).prop_map(|(thinking, signature)| Block::Thinking(thinking, signature)),
        (text(), value()).prop_map(|(name, value)| Block::Tool(name, format!("{{\"v\": {value}}}"))),
        value().prop_map(Block::Whole),
    ]
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

impl Block {
    fn print(&self, space: &str) -> String {
        match self {
            Self::Text(text, None) => object(&[("type", "\"text\""), ("text", text)], space),
            Self::Text(text, Some(citations)) => {
                let citations = format!("[{}]", citations.join(","));
                object(&[("text", text), ("citations", &citations), ("type", "\"text\"")], space)
            }
            Self::Thinking(thinking, signature) => {
                let members = [("type", "\"thinking\""), ("thinking", thinking), ("signature", signature)];
                object(&members, space)
            }
            Self::Tool(name, input) => {
                object(&[("type", "\"tool_use\""), ("name", name), ("input", input)], space)
            }
            Self::Whole(value) => object(&[("type", "\"new\""), ("value", value)], space),
        }
    }

    /// As it is after a stream.
    fn streamed(self) -> Self {
        match self {
            Self::Text(text, citations) => {
                Self::Text(text, citations.map(|list| list.iter().map(|raw| in_a_line(raw)).collect()))
            }
            Self::Whole(value) => Self::Whole(in_a_line(&value)),
            other => other,
        }
    }

    /// As an SDK begins it.
    fn begun(block: &str) -> Self {
        let block = Object::parse(block).unwrap();
        let member = |key| block.get(key).unwrap().to_owned();
        match block.get("type").unwrap() {
            "\"text\"" => {
                assert_eq!(member("text"), "\"\"");
                Self::Text(member("text"), block.get("citations").map(|_| Vec::new()))
            }
            "\"thinking\"" => Self::Thinking(member("thinking"), member("signature")),
            "\"tool_use\"" => {
                assert_eq!(member("input"), "{}");
                Self::Tool(member("name"), member("input"))
            }
            _ => Self::Whole(member("value")),
        }
    }

    fn add(&mut self, delta: &str) {
        let delta = Object::parse(delta).unwrap();
        let part = |key| delta.get(key).unwrap().to_owned();
        match (self, delta.get("type").unwrap()) {
            (Self::Text(text, _), "\"text_delta\"") => *text = part("text"),
            (Self::Text(_, Some(citations)), "\"citations_delta\"") => citations.push(part("citation")),
            (Self::Thinking(thinking, _), "\"thinking_delta\"") => *thinking = part("thinking"),
            (Self::Thinking(_, signature), "\"signature_delta\"") => *signature = part("signature"),
            (Self::Tool(_, input), "\"input_json_delta\"") => {
                *input = serde_json::from_str(&part("partial_json")).unwrap();
            }
            (block, delta) => panic!("{delta} for {block:?}"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_deltas_add_up_to_the_message(
        blocks in vec(block(), 0..5),
        extra in value(),
        tokens in value(),
        space in space(),
    ) {
        let content: Vec<String> = blocks.iter().map(|block| block.print(&space)).collect();
        let content = format!("[{}]", content.join(","));
        let usage = object(&[("output_tokens", &tokens)], &space);
        let body = object(&[("content", &content), ("new", &extra), ("usage", &usage), ("stop_reason", &extra)], &space);
        let mut found: Vec<Block> = Vec::new();
        for event in read(&Events::finish(body.as_bytes()).unwrap()) {
            let data = Object::parse(&event.data).unwrap();
            let at = data.get("index").map(|index| index.parse::<usize>().unwrap());
            match &*event.name {
                "message_start" => {
                    let message = Object::parse(data.get("message").unwrap()).unwrap();
                    prop_assert_eq!(message.get("new"), Some(&*in_a_line(&extra)));
                    prop_assert_eq!(message.get("stop_reason"), Some("null"));
                }
                "content_block_start" => {
                    prop_assert_eq!(at, Some(found.len()));
                    found.push(Block::begun(data.get("content_block").unwrap()));
                }
                "content_block_delta" => found[at.unwrap()].add(data.get("delta").unwrap()),
                "message_delta" => {
                    let delta = Object::parse(data.get("delta").unwrap()).unwrap();
                    prop_assert_eq!(delta.get("stop_reason"), Some(&*in_a_line(&extra)));
                    let usage = Object::parse(data.get("usage").unwrap()).unwrap();
                    prop_assert_eq!(usage.get("output_tokens"), Some(&*in_a_line(&tokens)));
                }
                "ping" | "content_block_stop" | "message_stop" => {}
                other => panic!("{other}"),
            }
        }
        let expected: Vec<Block> = blocks.into_iter().map(Block::streamed).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn whatever_comes_makes_whole_events_within_bounds(
        bytes in vec(any::<u8>(), 0..50),
        content in value(),
        kind in prop::sample::select(vec!["text", "thinking", "tool_use", "redacted_thinking", "x"]),
        inner in value(),
        usage in value(),
    ) {
        let _ = Events::finish(&bytes);
        read(&Events::fail(500, &bytes));
        let block = format!(r#"{{"type":"{kind}","text":{inner},"thinking":{inner},"input":{inner},"citations":{content}}}"#);
        let bodies = [
            content.clone(),
            format!(r#"{{"content":{content},"error":{content}}}"#),
            format!(r#"{{"content":[{block},{block}],"usage":{usage},"error":{{"message":{inner},"type":"t"}}}}"#),
        ];
        for body in &bodies {
            let failed = Events::fail(500, body.as_bytes());
            let finished = Events::finish(body.as_bytes()).ok();
            for stream in finished.iter().chain([&failed]) {
                prop_assert!(stream.len() <= 32 * body.len() + 64 * 1024);
                for event in read(stream) {
                    prop_assert!(Object::parse(&event.data).is_some(), "{}", event.data);
                }
            }
        }
    }
}
