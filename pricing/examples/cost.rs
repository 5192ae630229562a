//! Measures what it takes to know what answers cost: `cargo run --release -p pricing --example cost`.
//!
//! `docs/benchmarks.md` has its figures.

#![allow(clippy::print_stdout, reason = "its result is a table on standard output")]

use std::fs;
use std::hint::black_box;
use std::time::Instant;

use pricing::{Answer, Call, Dialect, StreamUsage, Table, Tier};

/// Bytes of an answer, about.
const SIZE: usize = 10_000;
/// Measurements, of which the median is shown, and runs in each.
const ROUNDS: usize = 21;
const RUNS: u32 = 500;

fn main() {
    let before = resident();
    let table = Table::embedded();
    let after = resident();
    let parse = microseconds(20, || drop(black_box(Table::embedded())));
    println!("the price list: read in {parse:.0} \u{b5}s, {} KB in memory", after.saturating_sub(before));

    println!("\n| answer | bytes | \u{b5}s to read usage |\n|---|---|---|");
    for (name, dialect, body) in answers() {
        let read = microseconds(RUNS, || drop(black_box(Answer::read(dialect, black_box(body.as_bytes())))));
        println!("| {name} | {} | {read:.1} |", body.len());
    }
    let (dialect, stream) = stream();
    let read = microseconds(RUNS, || {
        let mut usage = StreamUsage::new(dialect);
        stream.as_bytes().chunks(1400).for_each(|piece| usage.feed(black_box(piece)));
        black_box(usage.finish());
    });
    println!("| stream of chat completions, in pieces of 1,400 bytes | {} | {read:.1} |", stream.len());

    let (_, dialect, body) = answers().remove(0);
    let answer = Answer::read(dialect, body.as_bytes());
    let call = Call {
        upstream: "openai",
        provider: "openai",
        model: "gpt-5.4",
        tier: Tier::Batch,
        batch_percent: None,
    };
    let cost = microseconds(RUNS, || {
        black_box(table.cost(&call, 200, answer.as_ref()));
    });
    println!("\nthe cost of one that was read: {cost:.2} \u{b5}s");
}

/// The median time of one run.
fn microseconds(runs: u32, mut run: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..runs).for_each(|_| run());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(runs)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

/// Kilobytes of memory that the process has; 0 where that cannot be told.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Answers of about the same size.
fn answers() -> Vec<(&'static str, Dialect, String)> {
    let text = "The quick brown fox said \\\"usage\\\" to the dog.\\n".repeat(SIZE / 50);
    let items = r#"{"name":"fox","tags":["a","b"],"size":12,"usage":null},"#.repeat(SIZE / 60);
    let numbers = "-0.021348953,".repeat(SIZE / 13);
    let usage = r#""usage":{"prompt_tokens":1200,"completion_tokens":340,"total_tokens":1540,"prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":320,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#;
    let message = r#""usage":{"input_tokens":3,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,"cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":60,"service_tier":"batch"}"#;
    let google = r#""usageMetadata":{"promptTokenCount":110,"candidatesTokenCount":30,"totalTokenCount":140,"promptTokensDetails":[{"modality":"TEXT","tokenCount":110}],"thoughtsTokenCount":70}"#;
    vec![
        (
            "chat completion, a text",
            Dialect::OpenAi,
            format!(
                r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5.4","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],{usage},"service_tier":"default"}}"#
            ),
        ),
        (
            "the same, many small values",
            Dialect::OpenAi,
            format!(
                r#"{{"object":"chat.completion","created":1,"model":"gpt-5.4","choices":[{items}0],{usage}}}"#
            ),
        ),
        (
            "embedding",
            Dialect::OpenAi,
            format!(
                r#"{{"object":"list","data":[{{"object":"embedding","index":0,"embedding":[{numbers}0]}}],"model":"text-embedding-3-small",{usage}}}"#
            ),
        ),
        (
            "message",
            Dialect::Anthropic,
            format!(
                r#"{{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-6","content":[{{"type":"text","text":"{text}"}}],{message}}}"#
            ),
        ),
        (
            "generated content",
            Dialect::Gemini,
            format!(
                r#"{{"candidates":[{{"content":{{"role":"model","parts":[{{"text":"{text}"}}]}}}}],"modelVersion":"gemini-2.5-flash",{google}}}"#
            ),
        ),
    ]
}

/// A stream of a word an event.
fn stream() -> (Dialect, String) {
    let event = "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-5.4\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"word\"}}]}\n\n";
    let last = "data: {\"model\":\"gpt-5.4\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    (Dialect::OpenAi, event.repeat(SIZE / event.len()) + last)
}
