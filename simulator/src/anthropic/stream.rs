//! Server-sent events of an answer, for `stream: true`.

use bytes::Bytes;

use super::answer::{Answer, Block};
use crate::text::{pieces, quote};

/// The events of an answer, from `message_start` to `message_stop`, with a `ping` near the beginning.
pub(crate) fn events(answer: &Answer) -> Vec<Bytes> {
    let mut events = vec![event("message_start", &format!(r#""message":{}"#, answer.beginning()))];
    for (index, block) in answer.blocks.iter().enumerate() {
        let start = format!(r#""index":{index},"content_block":{}"#, block.beginning());
        events.push(event("content_block_start", &start));
        if index == 0 {
            events.push(Bytes::from_static(b"event: ping\ndata: {\"type\": \"ping\"}\n\n"));
        }
        let delta = |delta| event("content_block_delta", &format!(r#""index":{index},"delta":{delta}"#));
        events.extend(deltas(block).into_iter().map(delta));
        events.push(event("content_block_stop", &format!(r#""index":{index}"#)));
    }
    let end = format!(r#""delta":{{{}}},"usage":{}"#, answer.stop(), answer.final_usage());
    events.push(event("message_delta", &end));
    events.push(Bytes::from_static(b"event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"));
    events
}

fn event(name: &str, members: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {{\"type\":\"{name}\",{members}}}\n\n"))
}

/// What comes between the beginning and the end of a block.
fn deltas(block: &Block) -> Vec<String> {
    let delta =
        |kind: &str, member: &str, text: &str| format!(r#"{{"type":"{kind}","{member}":{}}}"#, quote(text));
    let each = |kind: &str, member: &str, text: &str| -> Vec<String> {
        pieces(text).into_iter().map(|piece| delta(kind, member, piece)).collect()
    };
    match block {
        Block::Thinking { thinking, signature } => {
            let mut deltas = each("thinking_delta", "thinking", thinking);
            deltas.push(delta("signature_delta", "signature", signature));
            deltas
        }
        Block::Redacted { .. } => Vec::new(),
        Block::Text { text, citations } => {
            let cited =
                citations.iter().map(|one| format!(r#"{{"type":"citations_delta","citation":{one}}}"#));
            let mut deltas: Vec<String> = cited.collect();
            deltas.extend(each("text_delta", "text", text));
            deltas
        }
        Block::ToolUse { input, .. } => {
            let mut deltas = vec![delta("input_json_delta", "partial_json", "")];
            deltas.extend(each("input_json_delta", "partial_json", input));
            deltas
        }
    }
}
