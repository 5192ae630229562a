//! What chat completions and completions share: chunks that repeat the answer's head, usage at the end, `[DONE]`.

use bytes::Bytes;
use providers::StreamUsage;

use super::{Events, Unstreamable};
use crate::dialect::json::{self, Object, quoted};
use crate::dialect::out::Out;

/// Ends a stream of chunks (API reference, `stream`: "terminated by a `data: [DONE]` message").
pub(super) const DONE: &str = "data: [DONE]\n\n";

/// An answer's members that have their own place in chunks; unknown ones stand in the first chunk only.
const PLACED: [&str; 8] =
    ["id", "object", "created", "model", "service_tier", "system_fingerprint", "choices", "usage"];

/// How an endpoint names its chunks.
pub(super) struct Names {
    /// The chunks' `object`.
    pub object: &'static str,
    /// What an id of ours begins with.
    pub prefix: &'static str,
}

/// A chunk that changes nothing, its choice as given.
pub(super) fn no_op(events: &Events, names: &Names, choice: &str, out: &mut Out) {
    out.text("data: ");
    out.text(&head(events, names, &Object::default()));
    out.text("\"choices\":[");
    out.text(choice);
    out.text(if events.include_usage { "],\"usage\":null}\n\n" } else { "]}\n\n" });
}

/// The opening of every chunk, up to its choices.
fn head(events: &Events, names: &Names, answer: &Object<'_>) -> String {
    let id = answer.string("id").map_or_else(|| format!("\"{}{}\"", names.prefix, events.id), str::to_owned);
    let created = answer.get("created").map_or_else(|| events.created.to_string(), str::to_owned);
    let model = answer.string("model").map_or_else(|| quoted(&events.model), str::to_owned);
    let object = names.object;
    let mut head = format!("{{\"id\":{id},\"object\":\"{object}\",\"created\":{created},\"model\":{model},");
    for key in ["service_tier", "system_fingerprint"] {
        if let Some(value) = answer.get(key) {
            head.extend(["\"", key, "\":", value, ","]);
        }
    }
    head
}

/// A choice of an answer, and what stands in each of its chunks.
pub(super) struct Choice<'a> {
    pub members: Object<'a>,
    /// The choice's `index`, or where it stands.
    pub index: String,
    /// `None` where the choice has no `logprobs`, not even `null`.
    pub logprobs: Option<&'a str>,
}

/// The choices of an answer.
pub(super) fn choices<'a>(answer: &Object<'a>) -> Result<Vec<Choice<'a>>, Unstreamable> {
    let choices = answer.get("choices").and_then(json::objects).ok_or(Unstreamable::Shape("choices"))?;
    let choice = |(position, members): (usize, Object<'a>)| {
        let given = members.get("index").filter(|index| index.bytes().all(|byte| byte.is_ascii_digit()));
        let index = given.map_or_else(|| position.to_string(), str::to_owned);
        Choice { logprobs: members.get("logprobs"), index, members }
    };
    Ok(choices.into_iter().enumerate().map(choice).collect())
}

/// A writer of chunks.
pub(super) struct Chunks<'a> {
    pub out: Out,
    answer: &'a Object<'a>,
    head: String,
    include_usage: bool,
    usage: &'static StreamUsage,
    first: bool,
    /// Choices that have not ended.
    open: usize,
}

impl<'a> Chunks<'a> {
    /// For an answer with so many choices.
    pub fn new(events: &Events, names: &Names, answer: &'a Object<'a>, choices: usize, out: Out) -> Self {
        let head = head(events, names, answer);
        let Events { include_usage, usage, .. } = *events;
        Self { out, answer, head, include_usage, usage, first: true, open: choices }
    }

    /// Begins a chunk; a choice, or none, and [`close`](Self::close) follow.
    pub fn open(&mut self) {
        self.out.text("data: ");
        self.out.raw(&self.head);
        self.out.text("\"choices\":[");
    }

    /// Ends a chunk, which may be the last one of its choice.
    pub fn close(&mut self, ends_choice: bool) {
        self.out.text("]");
        if std::mem::take(&mut self.first) {
            let unknown = |member: &&json::Member<'_>| !PLACED.contains(&&*member.key);
            self.out.members_but(self.answer.iter().filter(unknown), |_| None);
        }
        self.open = self.open.saturating_sub(usize::from(ends_choice));
        if self.include_usage {
            self.out.text(",\"usage\":null");
        } else if ends_choice && self.open == 0 {
            self.unasked_usage();
        }
        self.out.text("}\n\n");
    }

    /// The usage for those who did not ask for it.
    fn unasked_usage(&mut self) {
        let Some(usage) = self.answer.get("usage") else { return };
        let (before, after) = match self.usage {
            StreamUsage::OnRequest => return,
            StreamUsage::LastChunk => ([",", "", ""], ""),
            StreamUsage::Within(member) => ([",\"", member, "\":{"], "}"),
        };
        before.into_iter().for_each(|part| self.out.text(part));
        self.out.text("\"usage\":");
        self.out.raw(usage);
        self.out.text(after);
    }

    /// The chunk with the usage, if it was asked for, and the end.
    pub fn end(mut self) -> Result<Bytes, Unstreamable> {
        if self.first {
            // No choices at all: the unknown members have had no chunk yet.
            self.open();
            self.close(false);
        }
        if self.include_usage {
            self.open();
            self.out.text("],\"usage\":");
            self.out.raw(self.answer.get("usage").unwrap_or("null"));
            self.out.text("}\n\n");
        }
        self.out.text(DONE);
        self.out.finish()
    }
}
