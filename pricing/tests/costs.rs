//! What answers cost, computed by hand from the list's prices. Amounts are in picodollars (1e-12 USD): a token of a dollar per
//! million costs 1,000,000 of them.
#![allow(clippy::unwrap_used, missing_docs)]

use pricing::Dialect::{Anthropic, Gemini, OpenAi};
use pricing::Tier::{Batch, Flex, Sync};
use pricing::{Answer, Call, Cost, Dialect, Overrides, Table, Tier, Usd};

const PICO: i128 = 1_000_000;

/// Provider, model as asked for, tier, percentage of the configuration, dialect, what the answer says, and the picodollars of list and paid.
type Row = (&'static str, &'static str, Tier, Option<u8>, Dialect, String, Option<(i128, i128)>);

fn call<'a>(provider: &'a str, model: &'a str, tier: Tier, batch_percent: Option<u8>) -> Call<'a> {
    Call { upstream: provider, provider, model, tier, batch_percent }
}

fn pico(list: i128, paid: i128) -> Cost {
    Cost { list: Usd::from_atto(list * PICO), paid: Usd::from_atto(paid * PICO) }
}

/// Usage of chat completions: tokens of the prompt, cached ones of them, tokens of the answer, thoughts of them.
fn chat(prompt: u64, cached: u64, answer: u64, thoughts: u64) -> String {
    let total = prompt + answer;
    format!(
        r#""usage":{{"prompt_tokens":{prompt},"completion_tokens":{answer},"total_tokens":{total},
        "prompt_tokens_details":{{"cached_tokens":{cached}}},"completion_tokens_details":{{"reasoning_tokens":{thoughts}}}}}"#
    )
}

/// Usage of responses, with what was written into the cache, and of that for 12 hours.
fn responses(prompt: u64, cached: u64, written: u64, long: u64, answer: u64) -> String {
    let short = written - long;
    format!(
        r#""usage":{{"input_tokens":{prompt},"output_tokens":{answer},"input_tokens_details":{{"cached_tokens":{cached},
        "cache_write_tokens":{written},"cache_write_tokens_details":{{"ttl_12h_tokens":{long},"ttl_30m_tokens":{short}}}}}}}"#
    )
}

/// Usage of Anthropic: tokens beside the cache, read from it, written for 5 minutes and for an hour, put out.
fn message(input: u64, read: u64, short: u64, long: u64, output: u64) -> String {
    let written = short + long;
    format!(
        r#""usage":{{"input_tokens":{input},"cache_read_input_tokens":{read},"cache_creation_input_tokens":{written},
        "cache_creation":{{"ephemeral_5m_input_tokens":{short},"ephemeral_1h_input_tokens":{long}}},"output_tokens":{output}}}"#
    )
}

/// Usage of Gemini: tokens of the prompt, cached ones of them, of the answer, and thoughts beside them.
fn gemini(prompt: u64, cached: u64, answer: u64, thoughts: u64) -> String {
    format!(
        r#""usageMetadata":{{"promptTokenCount":{prompt},"cachedContentTokenCount":{cached},
        "candidatesTokenCount":{answer},"thoughtsTokenCount":{thoughts}}}"#
    )
}

fn embeddings(tokens: u64) -> String {
    format!(
        r#""object":"list","data":[{{"embedding":[0.5]}}],"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#
    )
}

fn owned(text: &str) -> String {
    text.to_owned()
}

fn check(rows: Vec<Row>) {
    let table = Table::embedded();
    for (provider, model, tier, percent, dialect, members, expected) in rows {
        let answer = Answer::read(dialect, format!("{{{members}}}").as_bytes());
        let cost = table.cost(&call(provider, model, tier, percent), 200, answer.as_ref());
        let expected = expected.map(|(list, paid)| pico(list, paid));
        assert_eq!(cost, expected, "{provider} {model} {tier:?} {percent:?} {members}");
    }
}

#[test]
fn openai() {
    let r = |model, tier, members, expected| ("openai", model, tier, None, OpenAi, members, expected);
    check(vec![
        // 1000 * 2.5 + 500 * 10 = 7500; batch 1000 * 1.25 + 500 * 5 = 3750
        r("gpt-4o", Batch, chat(1000, 0, 500, 0), Some((7_500_000_000, 3_750_000_000))),
        // 600 * 2.5 + 400 * 1.25 + 500 * 10 = 7000; batch has no discount for cached: 1000 * 1.25 + 500 * 5 = 3750
        r("gpt-4o", Batch, chat(1000, 400, 500, 0), Some((7_000_000_000, 3_750_000_000))),
        // All cached: 1000 * 0.5 + 10 * 8 = 580; batch 1000 * 1 + 10 * 4 = 1040, dearer
        r("gpt-4.1", Batch, chat(1000, 1000, 10, 0), Some((580_000_000, 1_040_000_000))),
        // 7 * 0.15 + 3 * 0.6 = 2.85; batch 7 * 0.075 + 3 * 0.3 = 1.425
        r("gpt-4o-mini", Batch, chat(7, 0, 3, 0), Some((2_850_000, 1_425_000))),
        // 1 * 5 + 1 * 15 = 20; batch 2.5 + 7.5 = 10
        r("gpt-4o-2024-05-13", Batch, chat(1, 0, 1, 0), Some((20_000_000, 10_000_000))),
        // No discount: 100 * 1 + 100 * 2 = 300 both
        r("gpt-3.5-turbo-1106", Batch, chat(100, 0, 100, 0), Some((300_000_000, 300_000_000))),
        // Thoughts are output: 800 * 1.25 + 200 * 0.125 + 3000 * 10 = 31025; batch 800 * 0.625 + 200 * 0.0625 + 3000 * 5 = 15512.5
        r("gpt-5", Batch, chat(1000, 200, 3000, 2500), Some((31_025_000_000, 15_512_500_000))),
        // Flex costs as much as a batch here
        r("gpt-5", Flex, chat(1000, 200, 3000, 2500), Some((31_025_000_000, 15_512_500_000))),
        // 10 * 0.25 + 20 * 2 = 42.5; flex 10 * 0.125 + 20 * 1 = 21.25
        r("gpt-5-mini", Flex, chat(10, 0, 20, 0), Some((42_500_000, 21_250_000))),
        // Exactly 272,000 is not above: 272000 * 2.5 + 100 * 15 = 681500; batch 272000 * 1.25 + 100 * 7.5 = 340750
        r("gpt-5.4", Batch, chat(272_000, 0, 100, 0), Some((681_500_000_000, 340_750_000_000))),
        // Above: 172001 * 5 + 100000 * 0.5 + 100 * 22.5 = 912255; batch 172001 * 2.5 + 100000 * 0.25 + 100 * 11.25 = 456127.5
        r("gpt-5.4", Batch, chat(272_001, 100_000, 100, 0), Some((912_255_000_000, 456_127_500_000))),
        // Flex, cached at 0.13: 900 * 2.5 + 100 * 0.25 + 10 * 15 = 2425; 900 * 1.25 + 100 * 0.13 + 10 * 7.5 = 1213
        r("gpt-5.4", Flex, chat(1000, 100, 10, 0), Some((2_425_000_000, 1_213_000_000))),
        // 100 * 1.1 + 100 * 0.275 + 10 * 4.4 = 181.5; flex 100 * 0.55 + 100 * 0.138 + 10 * 2.2 = 90.8
        r("o4-mini", Flex, chat(200, 100, 10, 5), Some((181_500_000, 90_800_000))),
        // Not batched: both are the same. 2 * 2 + 8 * 8 = 68
        r("o3", Sync, chat(2, 0, 8, 0), Some((68_000_000, 68_000_000))),
        // 500 * 2 + 200 * 0.2 + 200 * 2.5 + 100 * 5 + 50 * 10 = 2540; batch is half of each: 1270
        r("gpt-6-sol", Batch, responses(1000, 200, 300, 100, 50), Some((2_540_000_000, 1_270_000_000))),
        // Above 272,000: 300000 * 4 + 10 * 15 = 1200150; flex 300000 * 2 + 10 * 7.5 = 600075
        r("gpt-6-sol", Flex, responses(300_000, 0, 0, 0, 10), Some((1_200_150_000_000, 600_075_000_000))),
        // A tuned model by its base: 10 * 3.75 + 10 * 15 = 187.5; batch 10 * 2.225 + 10 * 12.5 = 147.25
        r("ft:gpt-4o-2024-08-06:acme::1", Batch, chat(10, 0, 10, 0), Some((187_500_000, 147_250_000))),
        // 12 * 0.02 = 0.24; batch 12 * 0.01 = 0.12
        r("text-embedding-3-small", Batch, embeddings(12), Some((240_000, 120_000))),
        // 1000 * 0.13 = 130; batch 1000 * 0.065 = 65
        r("text-embedding-3-large", Batch, embeddings(1000), Some((130_000_000, 65_000_000))),
        // A completion: 10 * 1.5 + 4 * 2 = 23, and there is no price for a batch
        r("gpt-3.5-turbo-instruct", Sync, chat(10, 0, 4, 0), Some((23_000_000, 23_000_000))),
        r("gpt-3.5-turbo-instruct", Batch, chat(10, 0, 4, 0), None),
        // Free, whether it says what it used or not
        r("omni-moderation-latest", Batch, owned(r#""results":[]"#), Some((0, 0))),
        // Sound: 8 * 2.5 + 2 * 32 + 5 * 10 + 5 * 64 = 454; no prices for a batch
        r("gpt-audio", Sync, sound(), Some((454_000_000, 454_000_000))),
        r("gpt-audio", Batch, sound(), None),
        // No such model
        r("gpt-9", Batch, chat(1, 0, 1, 0), None),
    ]);
}

fn sound() -> String {
    owned(
        r#""usage":{"prompt_tokens":10,"completion_tokens":10,"prompt_tokens_details":{"audio_tokens":2},
        "completion_tokens_details":{"audio_tokens":5}}"#,
    )
}

#[test]
fn pictures() {
    let tokens = |output: &str| {
        format!(
            r#""created":1,"data":[{{"b64_json":"AA=="}}],"usage":{{"input_tokens":30,"output_tokens":100,
            "input_tokens_details":{{"text_tokens":10,"image_tokens":20}}{output}}}"#
        )
    };
    let split = r#","output_tokens_details":{"text_tokens":40,"image_tokens":60}"#;
    let two = owned(r#""created":1,"data":[{"url":"a"},{"url":"b"}]"#);
    let nano = owned(
        r#""usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":1100,
        "candidatesTokensDetails":[{"modality":"IMAGE","tokenCount":1000},{"modality":"TEXT","tokenCount":100}]}"#,
    );
    check(vec![
        // 10 * 5 + 20 * 10 + 100 * 40 = 4250; there is no price for pictures made in a batch
        ("openai", "gpt-image-1", Sync, None, OpenAi, tokens(""), Some((4_250_000_000, 4_250_000_000))),
        ("openai", "gpt-image-1", Batch, None, OpenAi, tokens(""), None),
        // By ratio for these: list as above, 10 * 2.5 + 20 * 5 + 100 * 20 = 2125
        ("openai", "gpt-image-1", Batch, Some(50), OpenAi, tokens(""), Some((4_250_000_000, 2_125_000_000))),
        // 10 * 5 + 20 * 8 + 40 * 10 + 60 * 32 = 2530
        ("openai", "gpt-image-1.5", Sync, None, OpenAi, tokens(split), Some((2_530_000_000, 2_530_000_000))),
        // 2 * 0.02 USD; in a batch 80 % of it
        ("xai", "grok-imagine-image", Batch, Some(80), OpenAi, two, Some((40_000_000_000, 32_000_000_000))),
        // 100 * 1.5 + 100 * 7.5 + 1000 * 30 = 30900; batch 100 * 0.75 + 100 * 3.75 + 1000 * 15 = 15450
        (
            "gemini",
            "gemini-nano-banana-2.1",
            Batch,
            None,
            Gemini,
            nano,
            Some((30_900_000_000, 15_450_000_000)),
        ),
    ]);
}

#[test]
fn anthropic() {
    let r = |model, tier, members, expected| ("anthropic", model, tier, None, Anthropic, members, expected);
    let us = |geo: &str| {
        let more = format!(r#""inference_geo":"{geo}","#);
        message(100, 0, 0, 0, 10).replace(r#""input_tokens""#, &format!(r#"{more}"input_tokens""#))
    };
    let fast = message(100, 0, 0, 0, 10).replace(r#""output_tokens""#, r#""speed":"fast","output_tokens""#);
    check(vec![
        // 100 * 1 + 50 * 5 = 350; batch 100 * 0.5 + 50 * 2.5 = 175
        r("claude-haiku-4-5", Batch, message(100, 0, 0, 0, 50), Some((350_000_000, 175_000_000))),
        // Read: 10 * 3 + 1000 * 0.3 + 10 * 15 = 480; batch 10 * 1.5 + 1000 * 0.15 + 10 * 7.5 = 240
        r("claude-sonnet-4-5", Batch, message(10, 1000, 0, 0, 10), Some((480_000_000, 240_000_000))),
        // Written for 5 minutes: 100 * 3.75 + 1 * 15 = 390; batch 100 * 1.875 + 7.5 = 195
        r("claude-sonnet-4-5", Batch, message(0, 0, 100, 0, 1), Some((390_000_000, 195_000_000))),
        // For an hour: 100 * 6 + 1 * 15 = 615; batch 100 * 3 + 7.5 = 307.5
        r("claude-sonnet-4-5", Batch, message(0, 0, 0, 100, 1), Some((615_000_000, 307_500_000))),
        // Both: 100 * 6.25 + 100 * 10 + 2 * 25 = 1675
        r("claude-opus-4-6", Sync, message(0, 0, 100, 100, 2), Some((1_675_000_000, 1_675_000_000))),
        // In the US 10 % more: (100 * 5 + 10 * 25) * 1.1 = 825; batch (100 * 2.5 + 10 * 12.5) * 1.1 = 412.5
        r("claude-opus-4-6", Batch, us("us"), Some((825_000_000, 412_500_000))),
        r("claude-opus-4-6", Batch, us("global"), Some((750_000_000, 375_000_000))),
        // Fast twice as much: (100 * 4 + 10 * 20) * 2 = 1200; another model has no such price
        r("claude-opus-5-5", Sync, fast.clone(), Some((1_200_000_000, 1_200_000_000))),
        r("claude-opus-4-6", Sync, fast, None),
        // 100,001 tokens with what was read and written: 1 * 0.5 + 99000 * 0.05 + 600 * 0.625 + 400 * 1 + 10 * 2.5 = 5750.5
        // batch 1 * 0.25 + 99000 * 0.025 + 600 * 0.3125 + 400 * 0.5 + 10 * 1.25 = 2875.25
        r("claude-haiku-5-5", Batch, message(1, 99_000, 600, 400, 10), Some((5_750_500_000, 2_875_250_000))),
        // One less: 99000 * 0.01 + 600 * 0.125 + 400 * 0.2 + 10 * 0.5 = 1150; batch half of it
        r("claude-haiku-5-5", Batch, message(0, 99_000, 600, 400, 10), Some((1_150_000_000, 575_000_000))),
        // No price for a batch
        r("claude-mythos-preview", Batch, message(1, 0, 0, 0, 1), None),
    ]);
}

#[test]
fn google() {
    let r = |model, tier, members, expected| ("gemini", model, tier, None, Gemini, members, expected);
    let heard = owned(
        r#""usageMetadata":{"promptTokenCount":110,"cachedContentTokenCount":50,"candidatesTokenCount":1,
        "promptTokensDetails":[{"modality":"TEXT","tokenCount":10},{"modality":"AUDIO","tokenCount":100}],
        "cacheTokensDetails":[{"modality":"AUDIO","tokenCount":50}]}"#,
    );
    let tool = owned(
        r#""usageMetadata":{"promptTokenCount":100,"toolUsePromptTokenCount":50,"candidatesTokenCount":10}"#,
    );
    let film = owned(
        r#""embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":30,
        "promptTokensDetails":[{"modality":"VIDEO","tokenCount":20},{"modality":"IMAGE","tokenCount":10}]}"#,
    );
    let embedded = owned(r#""embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":40}"#);
    check(vec![
        // 100 * 0.3 + 30 * 2.5 = 105; batch 100 * 0.15 + 30 * 1.25 = 52.5
        r("gemini-2.5-flash", Batch, gemini(100, 0, 10, 20), Some((105_000_000, 52_500_000))),
        // Cached costs the same in a batch: 10 * 0.3 + 90 * 0.03 + 2 * 2.5 = 10.7; batch 10 * 0.15 + 90 * 0.03 + 2 * 1.25 = 6.7
        r("models/gemini-2.5-flash", Batch, gemini(100, 90, 2, 0), Some((10_700_000, 6_700_000))),
        // 10 * 0.3 + 50 * 1 + 50 * 0.1 + 1 * 2.5 = 60.5; batch 10 * 0.15 + 50 * 0.5 + 50 * 0.1 + 1.25 = 32.75
        r("gemini-2.5-flash", Batch, heard, Some((60_500_000, 32_750_000))),
        // What tools gave back is input: 150 * 0.3 + 10 * 2.5 = 70; flex 150 * 0.15 + 10 * 1.25 = 35
        r("gemini-2.5-flash", Flex, tool, Some((70_000_000, 35_000_000))),
        // 200000 * 1.25 + 100 * 10 = 251000; batch 125500
        r("gemini-2.5-pro", Batch, gemini(200_000, 0, 60, 40), Some((251_000_000_000, 125_500_000_000))),
        // Above: 100001 * 2.5 + 100000 * 0.25 + 100 * 15 = 276502.5; batch 100001 * 1.25 + 100000 * 0.25 + 100 * 7.5 = 150751.25
        r(
            "gemini-2.5-pro",
            Batch,
            gemini(200_001, 100_000, 100, 0),
            Some((276_502_500_000, 150_751_250_000)),
        ),
        // There is no flex price for such a length
        r("gemini-2.5-pro", Flex, gemini(200_001, 0, 1, 0), None),
        // 250000 * 4 + 10 * 18 = 1000180; batch 250000 * 2 + 10 * 9 = 500090
        r(
            "gemini-3.1-pro-preview",
            Batch,
            gemini(250_000, 0, 10, 0),
            Some((1_000_180_000_000, 500_090_000_000)),
        ),
        // 8 * 0.75 + 8 * 3.75 = 36; batch 8 * 0.375 + 8 * 1.875 = 18
        r("gemini-3.6-flash", Batch, gemini(8, 0, 8, 0), Some((36_000_000, 18_000_000))),
        // 40 * 0.15 = 6; batch 40 * 0.075 = 3
        r("gemini-embedding-001", Batch, embedded, Some((6_000_000, 3_000_000))),
        // 20 * 12 + 10 * 0.45 = 244.5; batch 20 * 6 + 10 * 0.225 = 122.25
        r("gemini-embedding-2", Batch, film, Some((244_500_000, 122_250_000))),
    ]);
}

#[test]
fn others() {
    // xAI counts thoughts beside the answer
    let thought = owned(
        r#""usage":{"prompt_tokens":100,"completion_tokens":10,"total_tokens":310,
        "prompt_tokens_details":{"cached_tokens":50},"completion_tokens_details":{"reasoning_tokens":200}}"#,
    );
    check(vec![
        // 50 * 1.25 + 50 * 0.2 + 210 * 2.5 = 597.5; batch 50 * 1 + 50 * 0.16 + 210 * 2 = 478: 80 %
        ("xai", "grok-4.3", Batch, Some(50), OpenAi, thought, Some((597_500_000, 478_000_000))),
        // Above 200,000: 300000 * 4 + 10 * 12 = 1200120; batch 300000 * 3.2 + 10 * 9.6 = 960096
        (
            "xai",
            "grok-4.7",
            Batch,
            None,
            OpenAi,
            chat(300_000, 0, 10, 0),
            Some((1_200_120_000_000, 960_096_000_000)),
        ),
        // None listed: 300000 * 4 + 10 * 12 = 1200120, 80 % of it is 960096
        (
            "xai",
            "grok-4.5",
            Batch,
            Some(80),
            OpenAi,
            chat(300_000, 0, 10, 0),
            Some((1_200_120_000_000, 960_096_000_000)),
        ),
        ("xai", "grok-4.5", Batch, None, OpenAi, chat(1, 0, 1, 0), None),
        // 60 * 0.15 + 40 * 0.075 + 10 * 0.6 = 18, half of it by ratio
        (
            "groq",
            "openai/gpt-oss-120b",
            Batch,
            Some(50),
            OpenAi,
            chat(100, 40, 10, 0),
            Some((18_000_000, 9_000_000)),
        ),
        ("groq", "openai/gpt-oss-120b", Batch, None, OpenAi, chat(100, 40, 10, 0), None),
        // A ratio is for batches alone
        ("groq", "openai/gpt-oss-120b", Flex, Some(50), OpenAi, chat(100, 40, 10, 0), None),
        // 100 * 0.8 + 100 * 4 = 480; without a price of their own cached tokens cost as others; 37 % = 177.6
        (
            "groq",
            "qwen/qwen3.8-27b",
            Batch,
            Some(37),
            OpenAi,
            chat(100, 100, 100, 0),
            Some((480_000_000, 177_600_000)),
        ),
        // 1000 * 0.5 + 1000 * 1.5 = 2000
        (
            "mistral",
            "mistral-large-latest",
            Batch,
            Some(50),
            OpenAi,
            chat(1000, 0, 1000, 0),
            Some((2_000_000_000, 1_000_000_000)),
        ),
        // 11 * 0.3 + 3 * 0.9 = 6
        ("mistral", "codestral-2508", Sync, None, OpenAi, chat(11, 0, 3, 0), Some((6_000_000, 6_000_000))),
        // 5 * 0.1 = 0.5, half of it 0.25
        ("mistral", "mistral-embed", Batch, Some(50), OpenAi, embeddings(5), Some((500_000, 250_000))),
        // 10 * 0.6 + 10 * 1.7 = 23; for a model without a discount 100 %
        (
            "together",
            "deepseek-ai/DeepSeek-V3.1",
            Batch,
            Some(100),
            OpenAi,
            chat(10, 0, 10, 0),
            Some((23_000_000, 23_000_000)),
        ),
        // 4 * 0.05 + 4 * 0.2 = 1
        (
            "together",
            "openai/gpt-oss-20b",
            Batch,
            Some(50),
            OpenAi,
            chat(4, 0, 4, 0),
            Some((1_000_000, 500_000)),
        ),
        // An upstream by its own name: 100 * 0.32 + 100 * 0.89 = 121
        (
            "deepinfra",
            "deepseek-ai/DeepSeek-V3",
            Sync,
            None,
            OpenAi,
            chat(100, 0, 100, 0),
            Some((121_000_000, 121_000_000)),
        ),
        // 100 * 2 + 1 * 8 = 208; batch 104
        ("azure", "gpt-4.1", Batch, None, OpenAi, chat(100, 0, 1, 0), Some((208_000_000, 104_000_000))),
        // 1 * 1.25 + 1 * 10 = 11.25; batch 5.625
        ("azure", "gpt-5", Batch, None, OpenAi, chat(1, 0, 1, 0), Some((11_250_000, 5_625_000))),
        ("openrouter", "openai/gpt-4o", Batch, Some(50), OpenAi, chat(1, 0, 1, 0), None),
    ]);
}

#[test]
fn models_by_other_names() {
    let dated = r#""model":"gpt-4o-mini-2024-07-18","#;
    let with = |model: &str| format!(r#""model":"{model}",{}"#, chat(100, 0, 0, 0));
    check(vec![
        // A deployment is what answers, whatever it is called: 100 * 0.15
        (
            "azure",
            "gpt-4.1",
            Sync,
            None,
            OpenAi,
            format!("{dated}{}", chat(100, 0, 0, 0)),
            Some((15_000_000, 15_000_000)),
        ),
        (
            "azure",
            "our-model",
            Sync,
            None,
            OpenAi,
            with("gpt-4o-mini-2024-07-18"),
            Some((15_000_000, 15_000_000)),
        ),
        // An alias that is not in the list, by who answered
        (
            "openai",
            "chatgpt-4o-best",
            Sync,
            None,
            OpenAi,
            with("gpt-4o-mini"),
            Some((15_000_000, 15_000_000)),
        ),
        // A date that is not in the list, where all others cost the same: 100 * 1.25
        (
            "openai",
            "gpt-5-2026-01-01",
            Sync,
            None,
            OpenAi,
            chat(100, 0, 0, 0),
            Some((125_000_000, 125_000_000)),
        ),
        // And where one costs twice as much
        ("openai", "gpt-4o-2026-01-01", Sync, None, OpenAi, chat(100, 0, 0, 0), None),
        ("openai", "gpt-4o-best", Sync, None, OpenAi, chat(100, 0, 0, 0), None),
        ("openai", "", Sync, None, OpenAi, chat(100, 0, 0, 0), None),
        ("openai", "-2026-01-01", Sync, None, OpenAi, chat(100, 0, 0, 0), None),
    ]);
}

#[test]
fn failed_calls_cost_nothing_and_silent_ones_are_unknown() {
    let table = Table::embedded();
    let answer = Answer::read(OpenAi, format!("{{{}}}", chat(1, 0, 1, 0)).as_bytes());
    let known = call("openai", "gpt-4o", Batch, None);
    for status in [400, 429, 500, 302, 100] {
        assert_eq!(table.cost(&known, status, answer.as_ref()), Some(Cost::FREE));
        assert_eq!(table.cost(&call("none", "none", Batch, None), status, None), Some(Cost::FREE));
    }
    assert_eq!(table.cost(&known, 200, None), None);
    // 2.5 + 10 = 12.5, half of it was saved
    assert_eq!(table.cost(&known, 201, answer.as_ref()).unwrap().saved(), Usd::from_atto(6_250_000 * PICO));
    let dearer = Answer::read(OpenAi, format!("{{{}}}", chat(1000, 1000, 0, 0)).as_bytes());
    let cost = table.cost(&call("openai", "gpt-4.1", Batch, None), 200, dearer.as_ref()).unwrap();
    // 1000 * 0.5 - 1000 * 1 = -500
    assert_eq!(cost.saved().to_string(), "-0.000500");
}

#[test]
fn more_tokens_than_there_can_be_are_no_cost() {
    let table = Table::embedded();
    let most = u64::MAX;
    let members = format!(r#"{{"usage":{{"input_tokens":{most},"output_tokens":{most}}}}}"#);
    let answer = Answer::read(Anthropic, members.as_bytes()).unwrap();
    let cost = table.cost(&call("anthropic", "claude-haiku-4-5", Sync, None), 200, Some(&answer)).unwrap();
    // (2^64 - 1) * (1 + 5) millionths
    assert_eq!(cost.list.atto(), i128::from(most) * 6_000_000 * PICO);
}

#[test]
fn what_the_operator_says_goes_before_the_list() {
    #[derive(serde::Deserialize)]
    struct Config {
        prices: Overrides,
    }
    let config = r#"
        [prices."openai/gpt-4o"]
        input = 2
        cached_input = "0.50"
        output = 8.25
        batch_input = 1.1
        batch_output = "4"
        [prices."edge/own/model"]
        input = 0.1
        output = 0.1
        input_above_200k = 0.2
        output_above_200k = 0.2
        flex_input = 0.05
        [prices."edge/painter"]
        image = 0.03
    "#;
    let config: Config = toml::from_str(config).unwrap();
    let table = Table::embedded().with(&config.prices);
    let cost = |upstream, model, tier, percent, members: &str| {
        let answer = Answer::read(OpenAi, format!("{{{members}}}").as_bytes());
        let call = Call { upstream, provider: "openai", model, tier, batch_percent: percent };
        table.cost(&call, 200, answer.as_ref())
    };
    // 10 * 2 + 4 * 8.25 = 53; batch 10 * 1.1 + 4 * 4 = 27
    let said = chat(10, 0, 4, 0);
    assert_eq!(cost("openai", "gpt-4o", Batch, None, &said), Some(pico(53_000_000, 27_000_000)));
    // Nothing of the list is left: no price of cached tokens in batches, none of flex
    assert_eq!(cost("openai", "gpt-4o", Batch, None, &chat(10, 5, 4, 0)), None);
    // 5 * 2 + 5 * 0.5 = 12.5; batch 5 * 1.1 + 5 * 0.5 * 40 % = 6.5
    assert_eq!(
        cost("openai", "gpt-4o", Batch, Some(40), &chat(10, 5, 0, 0)),
        Some(pico(12_500_000, 6_500_000))
    );
    // Other models of the provider are as they were
    assert_eq!(cost("edge", "gpt-4o-mini", Sync, None, &said), Some(pico(3_900_000, 3_900_000)));
    // 300000 * 0.2 + 1 * 0.2 = 60000.2
    let long = chat(300_000, 0, 1, 0);
    assert_eq!(cost("edge", "own/model", Sync, None, &long), Some(pico(60_000_200_000, 60_000_200_000)));
    assert_eq!(cost("edge", "own/model", Flex, None, &chat(2, 0, 0, 0)), Some(pico(200_000, 100_000)));
    let pictures = r#""created":1,"data":[{},{},{}]"#;
    assert_eq!(cost("edge", "painter", Sync, None, pictures), Some(pico(90_000_000_000, 90_000_000_000)));
}

#[test]
fn kinds_without_a_price_cost_what_they_surely_do() {
    let overrides = r#"
        ["a/plain"]
        input = 1
        ["a/cached"]
        input = 1
        cached_input = 0.1
        ["a/audio"]
        input = 1
        audio_input = 8
        ["a/both"]
        input = 1
        cached_input = 0.1
        audio_input = 8
        ["a/write"]
        input = 1
        cache_write = 2
    "#;
    let table = Table::default().with(&toml::from_str(overrides).unwrap());
    let heard =
        r#"{"usage":{"prompt_tokens":10,"prompt_tokens_details":{"audio_tokens":10,"cached_tokens":10}}}"#;
    let heard = Answer::read(OpenAi, heard.as_bytes()).unwrap();
    let kept = Answer::read(OpenAi, format!("{{{}}}", responses(10, 0, 10, 10, 0)).as_bytes()).unwrap();
    let list = |model, answer| {
        let cost = table.cost(&call("a", model, Sync, None), 200, Some(answer))?;
        Some(cost.list.atto() / PICO)
    };
    // Ten tokens of sound from the cache: as text from there, or else as sound; with prices of both they could be either.
    assert_eq!(list("plain", &heard), Some(10_000_000));
    assert_eq!(list("cached", &heard), Some(1_000_000));
    assert_eq!(list("audio", &heard), Some(80_000_000));
    assert_eq!(list("both", &heard), None);
    // Ten tokens kept long: as input where writing has no price, and unknown where only the short time has one.
    assert_eq!(list("plain", &kept), Some(10_000_000));
    assert_eq!(list("write", &kept), None);
}

#[test]
fn mistakes_in_prices_are_told() {
    let wrong = |text: &str| toml::from_str::<Overrides>(text).unwrap_err().to_string();
    assert!(wrong("[gpt-4o]\ninput = 1").contains("provider/model"));
    assert!(
        wrong("[\"openai/gpt-4o\"]\ninputs = 1")
            .contains("inputs: there is no such price; write one of input,")
    );
    assert!(wrong("[\"openai/gpt-4o\"]\ninput_above_200 = 1").contains("no such price"));
    assert!(wrong("[\"openai/gpt-4o\"]\ninput_above_99999999999999999999k = 1").contains("no such price"));
    for bad in ["-1", "\"x\"", "inf", "nan", "true", "1e300", "0.00000001", "\"1e-3\""] {
        let said = wrong(&format!("[\"openai/gpt-4o\"]\nbatch_input = {bad}"));
        assert!(said.contains("price") || said.contains("number"), "{bad}: {said}");
    }
}

#[test]
fn tiers_as_answers_name_them() {
    for said in [None, Some("default"), Some("priority"), Some("standard"), Some("batch")] {
        assert_eq!(Batch.served(said), Some(Batch));
    }
    assert_eq!(Flex.served(Some("flex")), Some(Flex));
    assert_eq!(Flex.served(Some("FLEX")), Some(Flex));
    assert_eq!(Flex.served(None), Some(Flex));
    assert_eq!(Flex.served(Some("default")), Some(Sync));
    assert_eq!(Sync.served(Some("standard")), Some(Sync));
    assert_eq!(Sync.served(Some("flex")), Some(Flex));
    assert_eq!(Sync.served(None), Some(Sync));
    assert_eq!(Sync.served(Some("priority")), None);
}
