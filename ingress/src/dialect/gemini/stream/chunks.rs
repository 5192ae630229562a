//! One answer as chunks (Gemini API reference, `GenerateContentResponse`: "each response in a stream is one").
//!
//! Each part of the first candidate is a chunk, and a long text some. What is known at the end only stands in the last chunk,
//! as do all other candidates: readers that take the first candidate of every chunk for the same one then are right.

use super::out::Out;
use super::pieces::pieces;
use crate::dialect::gemini::json::{self, Member, Object};

/// Members of an answer that stand in every chunk; the others but [`LAST`] stand in the first one.
const EVERY: [&str; 3] = ["candidates", "modelVersion", "responseId"];
/// Members of an answer that are known at its end.
const LAST: [&str; 1] = ["usageMetadata"];

pub(super) fn write(answer: &Object<'_>, out: &mut Out) {
    match First::of(answer) {
        Some(first) => first.write(answer, out),
        // Blocked prompts, and what nobody has heard of.
        None => out.chunk(|out| out.members(answer.iter(), |_, _| false)),
    }
}

/// The first candidate of an answer, if it has parts.
struct First<'a> {
    candidate: Object<'a>,
    content: Object<'a>,
    parts: Vec<Part<'a>>,
    /// The other candidates as they are written.
    others: Vec<&'a str>,
}

/// What is written as one element of `parts`.
enum Part<'a> {
    Whole(&'a str),
    /// A piece of a text, the part that it is of, and whether it is the text's last.
    Piece(&'a str, std::rc::Rc<Object<'a>>, bool),
}

impl<'a> First<'a> {
    fn of(answer: &Object<'a>) -> Option<Self> {
        let mut candidates = answer.get("candidates").and_then(json::array)?.into_iter();
        let candidate = Object::parse(candidates.next()?)?;
        let content = Object::parse(candidate.get("content")?)?;
        let parts: Vec<Part<'_>> =
            content.get("parts").and_then(json::array)?.into_iter().flat_map(Part::split).collect();
        (!parts.is_empty()).then(|| Self { candidate, content, parts, others: candidates.collect() })
    }

    fn write(&self, answer: &Object<'_>, out: &mut Out) {
        for (at, part) in self.parts.iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == self.parts.len());
            let stands = |member: &&Member<'_>| match &*member.key {
                key if EVERY.contains(&key) => true,
                key if LAST.contains(&key) => last,
                _ => first,
            };
            out.chunk(|out| {
                out.members(answer.iter().filter(stands), |member, out| {
                    let candidates = member.key == "candidates";
                    if candidates {
                        self.candidates(part, last, out);
                    }
                    candidates
                });
            });
        }
    }

    fn candidates(&self, part: &Part<'_>, last: bool, out: &mut Out) {
        let stands = |member: &&Member<'_>| last || matches!(&*member.key, "content" | "index");
        out.text("[{");
        out.members(self.candidate.iter().filter(stands), |member, out| {
            let content = member.key == "content";
            if content {
                self.content(part, last, out);
            }
            content
        });
        out.text("}");
        for other in self.others.iter().filter(|_| last) {
            out.text(",");
            out.raw(other);
        }
        out.text("]");
    }

    fn content(&self, part: &Part<'_>, last: bool, out: &mut Out) {
        let stands = |member: &&Member<'_>| last || matches!(&*member.key, "parts" | "role");
        out.text("{");
        out.members(self.content.iter().filter(stands), |member, out| {
            let parts = member.key == "parts";
            if parts {
                out.text("[");
                part.write(out);
                out.text("]");
            }
            parts
        });
        out.text("}");
    }
}

impl<'a> Part<'a> {
    /// A part in pieces, if it is a long text.
    fn split(raw: &'a str) -> Vec<Self> {
        let inside = |part: &Object<'a>| part.get("text")?.strip_prefix('"')?.strip_suffix('"');
        let Some((part, text)) = Object::parse(raw).and_then(|part| inside(&part).map(|text| (part, text)))
        else {
            return vec![Self::Whole(raw)];
        };
        let part = std::rc::Rc::new(part);
        let mut pieces = pieces(text).peekable();
        let mut parts = Vec::new();
        while let Some(piece) = pieces.next() {
            parts.push(Self::Piece(piece, part.clone(), pieces.peek().is_none()));
        }
        if parts.len() > 1 { parts } else { vec![Self::Whole(raw)] }
    }

    fn write(&self, out: &mut Out) {
        let (piece, part, last) = match self {
            Self::Whole(raw) => return out.raw(raw),
            Self::Piece(piece, part, last) => (piece, part, *last),
        };
        // A thought is one in all its pieces; its signature, for one, comes once.
        let stands = |member: &&Member<'_>| last || matches!(&*member.key, "text" | "thought");
        out.text("{");
        out.members(part.iter().filter(stands), |member, out| {
            let text = member.key == "text";
            if text {
                out.text("\"");
                out.raw(piece);
                out.text("\"");
            }
            text
        });
        out.text("}");
    }
}
