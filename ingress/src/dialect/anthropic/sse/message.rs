//! The message around its blocks: as it was when it began, and what only its end knew.

use bytes::Bytes;

use super::{PING, blocks, event, member};
use crate::dialect::Unstreamable;
use crate::dialect::json::{self, Member, Object};
use crate::dialect::out::Out;

/// Members of a message that the delta at its end brings.
const OF_DELTA: [&str; 4] = ["stop_reason", "stop_sequence", "stop_details", "container"];
/// Members of a message that stand beside that delta.
const BESIDE_DELTA: [&str; 2] = ["context_management", "input_transformations"];
/// Counts that grow while an answer is made; the end gives their totals.
const GROWING: [&str; 5] =
    ["output_tokens", "output_tokens_details", "server_tool_use", "iterations", "fallback_credit"];
/// Counts that the end repeats.
const REPEATED: [&str; 3] = ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"];

/// Writes all events of a message.
pub(super) fn write(message: &Object<'_>, mut out: Out) -> Result<Bytes, Unstreamable> {
    let content = message.get("content").and_then(json::array).ok_or(Unstreamable::Shape("content"))?;
    let usage = message.get("usage").and_then(Object::parse);
    event("message_start", &mut out, |out| {
        out.text(",\"message\":{");
        begun(message, usage.as_ref(), out);
        out.text("}");
    });
    out.text(PING);
    for (index, raw) in content.into_iter().enumerate() {
        let block = Object::parse(raw).ok_or(Unstreamable::Shape("content"))?;
        blocks::write(index, raw, &block, &mut out);
    }
    event("message_delta", &mut out, |out| ended(message, usage.as_ref(), out));
    event("message_stop", &mut out, |_| {});
    out.finish()
}

/// The message as it was when it began.
fn begun(message: &Object<'_>, usage: Option<&Object<'_>>, out: &mut Out) {
    for (at, part) in message.iter().enumerate() {
        if at > 0 {
            out.text(",");
        }
        out.raw(part.raw_key);
        out.text(":");
        match (&*part.key, usage) {
            ("content", _) => out.text("[]"),
            ("usage", Some(usage)) => begun_usage(usage, out),
            (key, _) if OF_DELTA.contains(&key) || BESIDE_DELTA.contains(&key) => out.text("null"),
            _ => out.raw(part.value),
        }
    }
}

/// No output yet. Clients that add up the counts of both events get the true sum.
fn begun_usage(usage: &Object<'_>, out: &mut Out) {
    out.text("{\"output_tokens\":0");
    out.members_but(usage.iter().filter(|count| !GROWING.contains(&&*count.key)), |_| None);
    out.text("}");
}

/// The end: why, and the counts.
fn ended(message: &Object<'_>, usage: Option<&Object<'_>>, out: &mut Out) {
    out.text(",\"delta\":{\"stop_reason\":");
    out.raw(message.get("stop_reason").unwrap_or("null"));
    member("stop_sequence", message.get("stop_sequence").unwrap_or("null"), out);
    for key in ["stop_details", "container"] {
        if let Some(value) = message.get(key) {
            member(key, value, out);
        }
    }
    out.text("},\"usage\":{\"output_tokens\":");
    out.raw(usage.and_then(|usage| usage.get("output_tokens")).unwrap_or("0"));
    let counted = |count: &&Member<'_>| {
        let key = &&*count.key;
        *key != "output_tokens" && (GROWING.contains(key) || REPEATED.contains(key))
    };
    out.members_but(usage.iter().flat_map(|usage| usage.iter()).filter(counted), |_| None);
    out.text("}");
    for key in BESIDE_DELTA {
        if let Some(value) = message.get(key) {
            member(key, value, out);
        }
    }
}
