//! The events of one output item of a response.

use super::responses::Numbered;
use crate::dialect::json::{self, Member, Object, is_string};
use crate::dialect::out::Out;

/// Where an event belongs.
#[derive(Clone, Copy)]
struct Place<'a> {
    output_index: usize,
    /// With its quotes.
    item_id: &'a str,
    /// The part within the item, under the name of its index.
    part: Option<(&'static str, usize)>,
}

/// Writes all events of an item, which is `raw` as it is written.
pub(super) fn write(output_index: usize, raw: &str, item: &Object<'_>, numbered: &mut Numbered) {
    let place = Place { output_index, item_id: item.string("id").unwrap_or("\"\""), part: None };
    let kind = item.get("type").unwrap_or("null");
    numbered.event("response.output_item.added", |out| {
        out.text(",\"output_index\":");
        out.display(output_index);
        out.text(",\"item\":{");
        emptied(item, kind, out);
        out.text("}");
    });
    match kind {
        "\"message\"" => parts(item, "content", "content_index", place, numbered),
        "\"reasoning\"" => {
            parts(item, "summary", "summary_index", place, numbered);
            parts(item, "content", "content_index", place, numbered);
        }
        _ => {
            if let Some((event, member)) = argument(kind)
                && let Some(text) = item.string(member)
            {
                delta(event, text, None, place, numbered);
                done(event, member, text, None, place, numbered);
            }
        }
    }
    numbered.event("response.output_item.done", |out| {
        out.text(",\"output_index\":");
        out.display(output_index);
        out.text(",\"item\":");
        out.raw(raw);
    });
}

/// For an item that holds one text: the name of its events, and of the member.
fn argument(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "\"function_call\"" => Some(("response.function_call_arguments", "arguments")),
        "\"custom_tool_call\"" => Some(("response.custom_tool_call_input", "input")),
        "\"mcp_call\"" => Some(("response.mcp_call_arguments", "arguments")),
        "\"code_interpreter_call\"" => Some(("response.code_interpreter_call_code", "code")),
        _ => None,
    }
}

/// For a part of an item: the name of its events, and of the member with its text.
fn text_of(kind: &str) -> Option<(&'static str, &'static str)> {
    match kind {
        "\"output_text\"" => Some(("response.output_text", "text")),
        "\"refusal\"" => Some(("response.refusal", "refusal")),
        "\"summary_text\"" => Some(("response.reasoning_summary_text", "text")),
        "\"reasoning_text\"" => Some(("response.reasoning_text", "text")),
        _ => None,
    }
}

/// An item as it was when it began: in progress, and without what its own events bring.
fn emptied(item: &Object<'_>, kind: &str, out: &mut Out) {
    let text = argument(kind).map(|(_, member)| member);
    out.text("\"type\":");
    out.raw(kind);
    out.members_but(item.iter().filter(|member| member.key != "type"), |member| {
        let list = member.value.starts_with('[');
        match &*member.key {
            "status" if is_string(member.value) => Some("\"in_progress\""),
            "content" if list && matches!(kind, "\"message\"" | "\"reasoning\"") => Some("[]"),
            "summary" if list && kind == "\"reasoning\"" => Some("[]"),
            // Megabytes that the provider does not have yet at this point.
            "result" if kind == "\"image_generation_call\"" => Some("null"),
            key if text == Some(key) && is_string(member.value) => Some("\"\""),
            _ => None,
        }
    });
}

/// The parts in an item's list.
fn parts(item: &Object<'_>, list: &str, index: &'static str, place: Place<'_>, numbered: &mut Numbered) {
    for (at, raw) in item.get(list).and_then(json::array).unwrap_or_default().into_iter().enumerate() {
        let place = Place { part: Some((index, at)), ..place };
        let (added, done) = match list {
            "summary" => ("response.reasoning_summary_part.added", "response.reasoning_summary_part.done"),
            _ => ("response.content_part.added", "response.content_part.done"),
        };
        let part = Object::parse(raw);
        let text = part.as_ref().and_then(|part| {
            let (event, member) = text_of(part.get("type")?)?;
            Some((part, event, member, part.string(member)?))
        });
        if let Some((part, event, member, text)) = text {
            located(added, place, numbered, |out| {
                out.text(",\"part\":{");
                empty_part(part, member, out);
                out.text("}");
            });
            text_events(part, event, member, text, place, numbered);
        } else {
            located(added, place, numbered, |out| written("part", raw, out));
        }
        located(done, place, numbered, |out| written("part", raw, out));
    }
}

fn text_events(
    part: &Object<'_>,
    event: &str,
    member: &str,
    text: &str,
    place: Place<'_>,
    numbered: &mut Numbered,
) {
    // The SDKs' types want a list, empty or not, in these events alone.
    let logprobs = (event == "response.output_text")
        .then(|| part.get("logprobs").filter(|logprobs| logprobs.starts_with('[')).unwrap_or("[]"));
    delta(event, text, logprobs, place, numbered);
    if event == "response.output_text" {
        let annotations = part.get("annotations").and_then(json::array).unwrap_or_default();
        for (at, annotation) in annotations.into_iter().enumerate() {
            located("response.output_text.annotation.added", place, numbered, |out| {
                out.text(",\"annotation_index\":");
                out.display(at);
                written("annotation", annotation, out);
            });
        }
    }
    done(event, member, text, logprobs, place, numbered);
}

/// A part as it was when it began.
fn empty_part(part: &Object<'_>, text: &str, out: &mut Out) {
    out.text("\"type\":");
    out.raw(part.get("type").unwrap_or("null"));
    out.members_but(part.iter().filter(|member| member.key != "type"), |member: &Member<'_>| match &*member
        .key
    {
        key if key == text => Some("\"\""),
        "annotations" | "logprobs" if member.value.starts_with('[') => Some("[]"),
        _ => None,
    });
}

/// The whole text as one delta; none for an empty one.
fn delta(event: &str, text: &str, logprobs: Option<&str>, place: Place<'_>, numbered: &mut Numbered) {
    if text != "\"\"" {
        located(&format!("{event}.delta"), place, numbered, |out| {
            written("delta", text, out);
            if let Some(logprobs) = logprobs {
                written("logprobs", logprobs, out);
            }
        });
    }
}

fn done(
    event: &str,
    member: &str,
    text: &str,
    logprobs: Option<&str>,
    place: Place<'_>,
    numbered: &mut Numbered,
) {
    located(&format!("{event}.done"), place, numbered, |out| {
        written(member, text, out);
        if let Some(logprobs) = logprobs {
            written("logprobs", logprobs, out);
        }
    });
}

/// An event with its place.
fn located(name: &str, place: Place<'_>, numbered: &mut Numbered, write: impl FnOnce(&mut Out)) {
    numbered.event(name, |out| {
        written("item_id", place.item_id, out);
        out.text(",\"output_index\":");
        out.display(place.output_index);
        if let Some((name, index)) = place.part {
            out.text(",\"");
            out.text(name);
            out.text("\":");
            out.display(index);
        }
        write(out);
    });
}

fn written(key: &str, raw: &str, out: &mut Out) {
    out.text(",\"");
    out.text(key);
    out.text("\":");
    out.raw(raw);
}
