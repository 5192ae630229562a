//! Targets for fuzzing: everything that reads bytes from outside, each as a function of bytes.
//!
//! A target panics when a promise is broken. `scripts/fuzz.sh` looks for bytes that do that; the tests of this crate give
//! every target its corpus, so that what was found once stays found.
// A target has no other way to say what it found.
#![allow(clippy::panic)]

mod batcher;
mod call;
mod ingress;
mod jsonl;
mod key;
mod messages;
mod source;
mod sse;
mod submitter;
mod usage;
mod wire;

/// A function of bytes that panics when something is wrong.
pub type Target = fn(&[u8]);

/// All targets by their names, which are also those of their folders in `corpus/`.
pub const TARGETS: [(&str, Target); 10] = [
    ("body", call::body),
    ("head", call::head),
    ("jsonl", jsonl::results),
    ("objects", jsonl::objects),
    ("sse", sse::events),
    ("usage", usage::usage),
    ("wire", wire::envelopes),
    ("batcher", batcher::sequence),
    ("ingress", ingress::sequence),
    ("submitter", submitter::sequence),
];
