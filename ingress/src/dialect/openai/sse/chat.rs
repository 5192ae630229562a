//! Chat completions as chunks (OpenAI API reference, "The chat completion chunk object").

use bytes::Bytes;

use super::chunks::{self, Choice, Chunks, Names};
use super::{Events, Unstreamable};
use crate::dialect::json::{self, Member, Object, is_string};
use crate::dialect::out::Out;

const NAMES: Names = Names { object: "chat.completion.chunk", prefix: "chatcmpl-llmp-" };

/// An empty delta. A chunk without choices would break Mistral's SDK.
pub(super) fn no_op(events: &Events, out: &mut Out) {
    chunks::no_op(events, &NAMES, r#"{"index":0,"delta":{},"finish_reason":null}"#, out);
}

pub(super) fn finish(events: &Events, answer: &Object<'_>, out: Out) -> Result<Bytes, Unstreamable> {
    let choices = chunks::choices(answer)?;
    let mut chunks = Chunks::new(events, &NAMES, answer, choices.len(), out);
    for choice in &choices {
        let message = match choice.members.get("message") {
            None | Some("null") => Object::default(),
            Some(message) => Object::parse(message).ok_or(Unstreamable::Shape("message"))?,
        };
        Deltas { chunks: &mut chunks, choice, logprobs: choice.logprobs }.write(&message);
    }
    chunks.end()
}

/// Writes one choice. The order is that of the provider's streams: role, reasoning, content, refusal, what else there
/// is, tool calls, the reason why it ended.
struct Deltas<'w, 'a> {
    chunks: &'w mut Chunks<'a>,
    choice: &'w Choice<'a>,
    /// Until they were written.
    logprobs: Option<&'a str>,
}

impl<'a> Deltas<'_, 'a> {
    fn write(mut self, message: &Object<'a>) {
        self.role(message);
        self.rest(message, is_reasoning);
        for key in ["content", "refusal"] {
            match message.get(key) {
                None | Some("null" | "\"\"") => {}
                Some(value) => self.text(key, value),
            }
        }
        let calls = message.get("tool_calls").and_then(json::objects);
        self.rest(message, |member| {
            !is_reasoning(member)
                && match &*member.key {
                    "role" | "content" | "refusal" => false,
                    "tool_calls" => calls.as_ref().is_none_or(Vec::is_empty),
                    _ => true,
                }
        });
        for (index, call) in calls.iter().flatten().enumerate() {
            self.call(index, call);
        }
        self.end();
    }

    /// The first delta: the role, an empty content for accumulators to add to, and whatever is `null`.
    fn role(&mut self, message: &Object<'a>) {
        self.delta("null", |out| {
            out.text("\"role\":");
            out.raw(message.get("role").unwrap_or("\"assistant\""));
            if message.get("content").is_none_or(is_string) {
                out.text(",\"content\":\"\"");
            }
            if message.get("refusal").is_some_and(is_string) {
                out.text(",\"refusal\":null");
            }
            let null = |member: &&Member<'_>| member.value == "null" && member.key != "role";
            out.members_but(message.iter().filter(null), |_| None);
        });
    }

    /// A text in one piece, with the log probabilities of its tokens.
    fn text(&mut self, key: &str, value: &str) {
        let logprobs = self.logprobs.take().unwrap_or("null");
        self.delta(logprobs, |out| {
            out.text("\"");
            out.text(key);
            out.text("\":");
            out.raw(value);
        });
    }

    /// The members that are chosen and not `null`, in one delta.
    fn rest(&mut self, message: &Object<'a>, choose: impl Fn(&Member<'_>) -> bool) {
        let members: Vec<_> =
            message.iter().filter(|member| member.value != "null" && choose(member)).collect();
        if !members.is_empty() {
            self.delta("null", |out| out.members(members));
        }
    }

    /// A tool call: a function's arguments follow in a delta of their own. A custom tool's input does not, since
    /// openai-node 6 keeps only the last `custom` that it sees.
    fn call(&mut self, index: usize, call: &Object<'a>) {
        let function = call.get("function").and_then(Object::parse);
        let arguments = function.as_ref().and_then(|function| function.string("arguments"));
        self.delta("null", |out| {
            open_call(index, out);
            for member in call.iter().filter(|member| member.key != "index") {
                match &function {
                    Some(function) if member.key == "function" => opened(function, out),
                    _ => out.members_but([member], |_| None),
                }
            }
            out.text("}]");
        });
        if let Some(arguments) = arguments.filter(|arguments| *arguments != "\"\"") {
            self.delta("null", |out| {
                open_call(index, out);
                out.text(",\"function\":{\"arguments\":");
                out.raw(arguments);
                out.text("}}]");
            });
        }
    }

    /// The last chunk of the choice, with its unknown members.
    fn end(mut self) {
        let logprobs = self.logprobs.take().unwrap_or("null");
        let choice = self.choice;
        self.open();
        let out = &mut self.chunks.out;
        out.text("}");
        self.close(logprobs, choice.members.get("finish_reason").unwrap_or("null"), |member| {
            !matches!(&*member.key, "index" | "message" | "logprobs" | "finish_reason")
        });
        self.chunks.close(true);
    }

    fn delta(&mut self, logprobs: &str, write: impl FnOnce(&mut Out)) {
        self.open();
        write(&mut self.chunks.out);
        self.chunks.out.text("}");
        self.close(logprobs, "null", |_| false);
        self.chunks.close(false);
    }

    fn open(&mut self) {
        self.chunks.open();
        let out = &mut self.chunks.out;
        out.text("{\"index\":");
        out.text(&self.choice.index);
        out.text(",\"delta\":{");
    }

    /// Ends what the choice has in this chunk, not the chunk.
    fn close(&mut self, logprobs: &str, finish_reason: &str, others: impl Fn(&Member<'_>) -> bool) {
        let out = &mut self.chunks.out;
        if self.choice.logprobs.is_some() {
            out.text(",\"logprobs\":");
            out.raw(logprobs);
        }
        out.text(",\"finish_reason\":");
        out.raw(finish_reason);
        out.members_but(self.choice.members.iter().filter(|member| others(member)), |_| None);
        out.text("}");
    }
}

/// Thoughts come before the text that they led to, whatever the order in the answer (DeepSeek's `reasoning_content`,
/// OpenRouter's and Groq's `reasoning`, `reasoning_details`).
fn is_reasoning(member: &Member<'_>) -> bool {
    member.key.starts_with("reasoning")
}

fn open_call(index: usize, out: &mut Out) {
    out.text("\"tool_calls\":[{\"index\":");
    out.display(index);
}

/// A function without its arguments.
fn opened(function: &Object<'_>, out: &mut Out) {
    out.text(",\"function\":{");
    for (at, member) in function.iter().enumerate() {
        if at > 0 {
            out.text(",");
        }
        out.raw(member.raw_key);
        out.text(":");
        let empties = member.key == "arguments" && is_string(member.value);
        out.raw(if empties { "\"\"" } else { member.value });
    }
    out.text("}");
}
