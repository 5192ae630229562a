//! Responses as events (OpenAI API reference, "Streaming events" of the Responses API).

use bytes::Bytes;

use super::items;
use super::{Events, Unstreamable};
use crate::dialect::json::{self, Object, quoted};
use crate::dialect::out::Out;

/// A writer of numbered events.
pub(super) struct Numbered {
    pub out: Out,
    sequence: u32,
}

impl Numbered {
    /// One event: its type twice, its number, and what is written, which begins with a comma.
    pub fn event(&mut self, name: &str, write: impl FnOnce(&mut Out)) {
        let out = &mut self.out;
        for text in ["event: ", name, "\ndata: {\"type\":\"", name, "\",\"sequence_number\":"] {
            out.text(text);
        }
        out.display(self.sequence);
        write(out);
        out.text("}\n\n");
        self.sequence = self.sequence.saturating_add(1);
    }
}

/// `response.in_progress` with a response that has the members that the SDKs' types require.
pub(super) fn no_op(events: &Events, out: &mut Out) {
    let Events { id, created, sequence, .. } = events;
    let model = quoted(&events.model);
    out.text("event: response.in_progress\n");
    out.text(&format!(
        "data: {{\"type\":\"response.in_progress\",\"sequence_number\":{sequence},\"response\":{{\
         \"id\":\"resp_llmp_{id}\",\"object\":\"response\",\"created_at\":{created},\"status\":\"in_progress\",\
         \"error\":null,\"incomplete_details\":null,\"instructions\":null,\"metadata\":{{}},\"model\":{model},\
         \"output\":[],\"parallel_tool_calls\":true,\"temperature\":null,\"tool_choice\":\"auto\",\"tools\":[],\
         \"top_p\":null,\"usage\":null}}}}\n\n"
    ));
}

pub(super) fn finish(events: &Events, answer: &Object<'_>, out: Out) -> Result<Bytes, Unstreamable> {
    let output = answer.get("output").and_then(json::array).ok_or(Unstreamable::Shape("output"))?;
    let mut numbered = Numbered { out, sequence: events.sequence };
    for name in ["response.created", "response.in_progress"] {
        numbered.event(name, |out| {
            out.text(",\"response\":{");
            begun(answer, out);
            out.text("}");
        });
    }
    for (index, raw) in output.into_iter().enumerate() {
        let item = Object::parse(raw).ok_or(Unstreamable::Shape("output"))?;
        items::write(index, raw, &item, &mut numbered);
    }
    numbered.event(last(answer.get("status")), |out| {
        out.text(",\"response\":{");
        out.members(answer.iter());
        out.text("}");
    });
    numbered.out.finish()
}

/// The response as it was when it began: the members that only its end can know are empty.
fn begun(answer: &Object<'_>, out: &mut Out) {
    out.text("\"status\":\"in_progress\"");
    let others = answer.iter().filter(|member| member.key != "status");
    out.members_but(others, |member| match &*member.key {
        "output" => Some("[]"),
        "completed_at" | "error" | "incomplete_details" | "usage" => Some("null"),
        _ => None,
    });
}

/// The event that ends a stream, by the response's `status`. There is none for a cancelled response.
fn last(status: Option<&str>) -> &'static str {
    match status {
        Some("\"failed\"" | "\"cancelled\"") => "response.failed",
        Some("\"incomplete\"" | "\"in_progress\"" | "\"queued\"") => "response.incomplete",
        _ => "response.completed",
    }
}
