//! What holds for all answers, and for all bytes.
#![allow(clippy::unwrap_used, missing_docs)]

use pricing::Tier::{Batch, Flex, Sync};
use pricing::{Answer, Call, Dialect, Kind, StreamUsage, Table};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const DIALECTS: [Dialect; 3] = [Dialect::OpenAi, Dialect::Anthropic, Dialect::Gemini];

/// Any JSON, with the names that are looked for at other places than theirs.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(json!("\"usage\":{\"prompt_tokens\":1,\"input_tokens\":1}")),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..5).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("usage".to_owned()),
        Just("usageMetadata".to_owned()),
        Just("prompt_tokens".to_owned()),
        Just("input_tokens".to_owned()),
        "[a-z\"\\\\\u{e9}]{0,6}",
    ]
}

/// Members that say nothing about usage.
fn others() -> impl Strategy<Value = Map<String, Value>> {
    let name = "(choices|content|candidates|output|metadata|[f-h]{1,3})";
    prop::collection::vec((name, anything()), 0..5).prop_map(|members| members.into_iter().collect())
}

/// A usage of each dialect, mostly one that fits together.
fn usages() -> impl Strategy<Value = (Dialect, &'static str, Value)> {
    let count = |most: u64| prop_oneof![9 => (0..most).prop_map(Value::from), 1 => anything()];
    let counts = [2000, 2000, 700, 700, 700, 700].map(count);
    counts.prop_flat_map(|[a, b, c, d, e, f]| {
        let openai = json!({"prompt_tokens": a, "completion_tokens": b,
            "prompt_tokens_details": {"cached_tokens": c, "audio_tokens": d, "cache_write_tokens": e},
            "completion_tokens_details": {"reasoning_tokens": f}});
        let anthropic = json!({"input_tokens": a, "cache_read_input_tokens": b, "cache_creation_input_tokens": c,
            "cache_creation": {"ephemeral_1h_input_tokens": d}, "output_tokens": e,
            "output_tokens_details": {"thinking_tokens": f}});
        let gemini = json!({"promptTokenCount": a, "cachedContentTokenCount": b, "candidatesTokenCount": c,
            "thoughtsTokenCount": d, "toolUsePromptTokenCount": e});
        prop_oneof![
            Just((Dialect::OpenAi, "usage", openai)),
            Just((Dialect::Anthropic, "usage", anthropic)),
            Just((Dialect::Gemini, "usageMetadata", gemini)),
        ]
    })
}

/// A count of a parsed value: nothing is none of it, and anything else than a whole number is unknown.
fn count(value: &Value) -> Option<u64> {
    if value.is_null() { Some(0) } else { value.as_u64() }
}

/// Prompt, cached, written, answer and thoughts, from the whole parsed value.
fn expected(dialect: Dialect, answer: &Value) -> Option<[u64; 5]> {
    let (usage, google) = (&answer["usage"], &answer["usageMetadata"]);
    let counts = match dialect {
        Dialect::OpenAi => {
            let (details, made) = (&usage["prompt_tokens_details"], &usage["completion_tokens_details"]);
            let (prompt, answer) = (count(&usage["prompt_tokens"])?, count(&usage["completion_tokens"])?);
            let said = !(usage["prompt_tokens"].is_null() && usage["completion_tokens"].is_null());
            let cached = count(&details["cached_tokens"])?;
            let (audio, written) = (count(&details["audio_tokens"])?, count(&details["cache_write_tokens"])?);
            let thoughts = count(&made["reasoning_tokens"])?;
            let fits = cached + written <= prompt && audio + written <= prompt && thoughts <= answer;
            (said && fits).then_some([prompt, cached, written, answer, thoughts])?
        }
        Dialect::Anthropic => {
            let (input, output) = (usage["input_tokens"].as_u64()?, usage["output_tokens"].as_u64()?);
            let cached = count(&usage["cache_read_input_tokens"])?;
            let said = &usage["cache_creation_input_tokens"];
            let long = count(&usage["cache_creation"]["ephemeral_1h_input_tokens"])?;
            let written = if said.is_null() { long } else { count(said)? };
            let thoughts = count(&usage["output_tokens_details"]["thinking_tokens"])?;
            let fits = long <= written && thoughts <= output;
            fits.then_some([input + cached + written, cached, written, output, thoughts])?
        }
        Dialect::Gemini => {
            let both = [&google["promptTokenCount"], &google["candidatesTokenCount"]];
            let [prompt, answer] = [count(both[0])?, count(both[1])?];
            let thoughts = count(&google["thoughtsTokenCount"])?;
            let cached = count(&google["cachedContentTokenCount"])?;
            let prompt = prompt + count(&google["toolUsePromptTokenCount"])?;
            let said = both.iter().any(|value| !value.is_null());
            (said && cached <= prompt).then_some([prompt, cached, 0, answer + thoughts, thoughts])?
        }
    };
    Some(counts)
}

fn found(answer: &Answer) -> [u64; 5] {
    let usage = answer.usage;
    let written = usage.of(Kind::CacheWrite) + usage.of(Kind::CacheWriteLong);
    [usage.input(), usage.cached_input(), written, usage.output(), usage.reasoning()]
}

fn calls() -> impl Iterator<Item = Call<'static>> {
    let models = [
        ("openai", "gpt-6-sol"),
        ("anthropic", "claude-opus-5-5"),
        ("gemini", "gemini-2.5-pro"),
        ("xai", "grok-4.5"),
    ];
    models.into_iter().flat_map(|(provider, model)| {
        [Sync, Batch, Flex].map(|tier| Call { upstream: "", provider, model, tier, batch_percent: Some(255) })
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn extraction_says_what_a_whole_parser_says(
        before in others(),
        (dialect, name, usage) in usages(),
        after in others(),
        pretty in any::<bool>(),
    ) {
        let write = |value: &Value| if pretty { serde_json::to_string_pretty(value) } else { serde_json::to_string(value) };
        // The parser's map sorts; the text has its members where they are put.
        let members = |map: &Map<String, Value>| {
            map.iter().map(|(name, value)| format!("{}:{}", json!(name), write(value).unwrap())).collect::<Vec<_>>()
        };
        let mut parts = members(&before);
        parts.push(format!("\"{name}\" : {}", write(&usage).unwrap()));
        parts.extend(members(&after));
        let body = format!("{{{}}}", parts.join(" ,\n"));
        let whole: Value = serde_json::from_str(&body).unwrap();
        let answer = Answer::read(dialect, body.as_bytes());
        prop_assert_eq!(answer.as_ref().map(found), expected(dialect, &whole), "{}", body);

        let line = body.replace('\n', " ");
        let mut stream = StreamUsage::new(dialect);
        line_event(&line).chunks(5).for_each(|piece| stream.feed(piece));
        prop_assert_eq!(stream.finish(), answer);
    }

    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..200), size in 1..20_usize) {
        survive(&bytes, size);
    }

    #[test]
    fn damaged_answers_are_survived(
        (dialect, name, usage) in usages(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        size in 1..20_usize,
    ) {
        let mut body = json!({name: usage, "model": "m", "created": 1, "data": [1]}).to_string().into_bytes();
        let at = at.index(body.len());
        body[at] = byte;
        survive(&body, size);
        body.truncate(at);
        prop_assert_eq!(Answer::read(dialect, &body), None);
    }
}

fn line_event(line: &str) -> Vec<u8> {
    format!("event: x\ndata: {line}\n\n").into_bytes()
}

/// Reads bytes in every way, and asks what they cost.
fn survive(bytes: &[u8], size: usize) {
    thread_local!(static TABLE: Table = Table::embedded());
    for dialect in DIALECTS {
        let mut stream = StreamUsage::new(dialect);
        bytes.chunks(size).for_each(|piece| stream.feed(piece));
        for answer in [Answer::read(dialect, bytes), stream.finish()].into_iter().flatten() {
            TABLE.with(|table| {
                for call in calls() {
                    if let Some(cost) = table.cost(&call, 200, Some(&answer)) {
                        assert_eq!(cost.list - cost.paid, cost.saved());
                    }
                }
            });
        }
    }
}
