//! The events of one content block.

use super::{event, member};
use crate::dialect::json::{self, Member, Object, is_string};
use crate::dialect::out::Out;

/// Writes all events of a block, which is `raw` as it is written. A block of an unknown type stands whole in its first event,
/// as those of the results of tools do with the provider.
pub(super) fn write(index: usize, raw: &str, block: &Object<'_>, out: &mut Out) {
    match block.get("type") {
        Some("\"text\"") if block.string("text").is_some() => text(index, block, out),
        Some("\"thinking\"") if block.string("thinking").is_some() => thinking(index, block, out),
        Some(kind) if kind.ends_with("tool_use\"") && input(block).is_some() => tool(index, block, out),
        _ => start(index, out, |out| out.raw(raw)),
    }
    event("content_block_stop", out, |out| place(index, out));
}

/// A text and its citations.
fn text(index: usize, block: &Object<'_>, out: &mut Out) {
    let citations = block.get("citations").and_then(json::array).unwrap_or_default();
    start(index, out, |out| {
        emptied(block, out, |member| match &*member.key {
            "text" => Some("\"\""),
            "citations" if member.value.starts_with('[') => Some("[]"),
            _ => None,
        });
    });
    delta(index, "text_delta", "text", said(block, "text"), out);
    for citation in citations {
        delta(index, "citations_delta", "citation", Some(citation), out);
    }
}

/// A thought and its signature.
fn thinking(index: usize, block: &Object<'_>, out: &mut Out) {
    start(index, out, |out| {
        emptied(block, out, |member| match &*member.key {
            "thinking" => Some("\"\""),
            "signature" if is_string(member.value) => Some("\"\""),
            _ => None,
        });
    });
    delta(index, "thinking_delta", "thinking", said(block, "thinking"), out);
    delta(index, "signature_delta", "signature", said(block, "signature"), out);
}

/// A call of a tool, the caller's or the provider's: its input is a text in a stream.
fn tool(index: usize, block: &Object<'_>, out: &mut Out) {
    start(index, out, |out| {
        emptied(block, out, |member| (member.key == "input").then_some("{}"));
    });
    event("content_block_delta", out, |out| {
        place(index, out);
        out.text(",\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":");
        out.quoted(input(block).unwrap_or_default());
        out.text("}");
    });
}

/// The input of a tool as it is written, if it is an object; an empty one is no text.
fn input<'a>(block: &Object<'a>) -> Option<&'a str> {
    let input = block.get("input").filter(|input| input.starts_with('{'))?;
    let inner = input.strip_prefix('{')?.strip_suffix('}')?;
    Some(if inner.trim_ascii().is_empty() { "" } else { input })
}

fn start(index: usize, out: &mut Out, write: impl FnOnce(&mut Out)) {
    event("content_block_start", out, |out| {
        place(index, out);
        out.text(",\"content_block\":");
        write(out);
    });
}

/// A block as it was when it began, some of its members with another value.
fn emptied<'a>(block: &Object<'a>, out: &mut Out, replace: impl Fn(&Member<'a>) -> Option<&'static str>) {
    out.text("{\"type\":");
    out.raw(block.get("type").unwrap_or("null"));
    out.members_but(block.iter().filter(|member| member.key != "type"), replace);
    out.text("}");
}

/// A text of a block, if there is anything in it.
fn said<'a>(block: &Object<'a>, key: &str) -> Option<&'a str> {
    block.string(key).filter(|text| *text != "\"\"")
}

/// A part of a block, if there is one.
fn delta(index: usize, kind: &str, key: &str, value: Option<&str>, out: &mut Out) {
    let Some(value) = value else { return };
    event("content_block_delta", out, |out| {
        place(index, out);
        out.text(",\"delta\":{\"type\":\"");
        out.text(kind);
        out.text("\"");
        member(key, value, out);
        out.text("}");
    });
}

fn place(index: usize, out: &mut Out) {
    out.text(",\"index\":");
    out.display(index);
}
