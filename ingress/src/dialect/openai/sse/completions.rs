//! Completions as chunks (OpenAI API reference, "The completion object": streamed ones have the same shape).

use bytes::Bytes;

use super::chunks::{self, Choice, Chunks, Names};
use super::{Events, Unstreamable};
use crate::dialect::json::Object;
use crate::dialect::out::Out;

const NAMES: Names = Names { object: "text_completion", prefix: "cmpl-llmp-" };

pub(super) fn no_op(events: &Events, out: &mut Out) {
    let choice = r#"{"text":"","index":0,"logprobs":null,"finish_reason":null}"#;
    chunks::no_op(events, &NAMES, choice, out);
}

pub(super) fn finish(events: &Events, answer: &Object<'_>, out: Out) -> Result<Bytes, Unstreamable> {
    let choices = chunks::choices(answer)?;
    let mut chunks = Chunks::new(events, &NAMES, answer, choices.len(), out);
    for choice in &choices {
        let text = choice.members.get("text").unwrap_or("\"\"");
        part(&mut chunks, choice, text, choice.logprobs, false);
        part(&mut chunks, choice, "\"\"", choice.logprobs.map(|_| "null"), true);
    }
    chunks.end()
}

/// One chunk; the last of a choice has its unknown members too.
fn part(chunks: &mut Chunks<'_>, choice: &Choice<'_>, text: &str, logprobs: Option<&str>, last: bool) {
    chunks.open();
    let out = &mut chunks.out;
    out.text("{\"text\":");
    out.raw(text);
    out.text(",\"index\":");
    out.text(&choice.index);
    if let Some(logprobs) = logprobs {
        out.text(",\"logprobs\":");
        out.raw(logprobs);
    }
    out.text(",\"finish_reason\":");
    if last {
        out.raw(choice.members.get("finish_reason").unwrap_or("null"));
        let unknown = |key: &str| !matches!(key, "text" | "index" | "logprobs" | "finish_reason");
        out.members_but(choice.members.iter().filter(|member| unknown(&member.key)), |_| None);
    } else {
        out.text("null");
    }
    out.text("}");
    chunks.close(last);
}
