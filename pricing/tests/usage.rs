//! What is read out of answers and streams.
#![allow(clippy::unwrap_used, missing_docs)]

use pricing::Dialect::{Anthropic, Gemini, OpenAi};
use pricing::{Answer, Dialect, Kind, StreamUsage, Usage};

const CHAT: &str = r#" { "id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-5-2025-08-07",
  "choices":[{"index":0,"message":{"role":"assistant","content":"{\"usage\":{\"prompt_tokens\":1}}","usage":{"prompt_tokens":2}}}],
  "usage":{"prompt_tokens":1200,"completion_tokens":340,"total_tokens":1540,
    "prompt_tokens_details":{"cached_tokens":1024,"audio_tokens":0},
    "completion_tokens_details":{"reasoning_tokens":320,"audio_tokens":0,"accepted_prediction_tokens":0}},
  "service_tier":"flex","system_fingerprint":null } "#;

fn read(dialect: Dialect, body: &str) -> Option<Answer> {
    Answer::read(dialect, body.as_bytes())
}

fn usage(kinds: &[(Kind, u64)]) -> Usage {
    kinds.iter().fold(Usage::default(), |usage, (kind, count)| usage.with(*kind, *count))
}

/// What a stream says, fed in pieces of each of some sizes.
fn streamed(dialect: Dialect, body: &str) -> Option<Answer> {
    let mut answers = [1, 2, 3, 7, 64, body.len().max(1)].map(|size| {
        let mut stream = StreamUsage::new(dialect);
        body.as_bytes().chunks(size).for_each(|piece| stream.feed(piece));
        stream.finish()
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    answers[0].take()
}

#[test]
fn chat_completions() {
    let answer = read(OpenAi, CHAT).unwrap();
    let used = [(Kind::Input, 176), (Kind::CachedInput, 1024), (Kind::Output, 20), (Kind::Reasoning, 320)];
    assert_eq!(answer.usage, usage(&used));
    assert_eq!(answer.model.as_deref(), Some("gpt-5-2025-08-07"));
    assert_eq!(answer.service_tier.as_deref(), Some("flex"));
    let used = answer.usage;
    assert_eq!((used.input(), used.cached_input(), used.output(), used.reasoning()), (1200, 1024, 340, 320));
}

#[test]
fn responses() {
    let answer = read(
        OpenAi,
        r#"{"object":"response","created_at":1,"model":"gpt-6-sol","output":[{"usage":{"input_tokens":1}}],
        "metadata":{"usage":"x"},"usage":{"input_tokens":100,"input_tokens_details":{"cached_tokens":20,"cache_write_tokens":30,
        "cache_write_tokens_details":{"ttl_12h_tokens":10,"ttl_30m_tokens":20}},"output_tokens":9,
        "output_tokens_details":{"reasoning_tokens":4},"total_tokens":109}}"#,
    );
    let used = [
        (Kind::Input, 50),
        (Kind::CachedInput, 20),
        (Kind::CacheWrite, 20),
        (Kind::CacheWriteLong, 10),
        (Kind::Output, 5),
        (Kind::Reasoning, 4),
    ];
    assert_eq!(answer.unwrap().usage, usage(&used));
}

#[test]
fn embeddings_and_pictures_are_counted() {
    let body = r#"{"object":"list","data":[{"object":"embedding","embedding":[0.1,-2e-3]},{"embedding":"AAAA"}],
        "model":"text-embedding-3-small","usage":{"prompt_tokens":8,"total_tokens":8}}"#;
    let used = read(OpenAi, body).unwrap().usage;
    assert_eq!((used.embeddings, used.input(), used.output(), used.of(Kind::Image)), (2, 8, 0, 0));
    let body = body.replacen('{', r#"{"created":1,"#, 1);
    assert_eq!(read(OpenAi, &body).unwrap().usage, used);
    let used = read(OpenAi, r#"{"created":1,"data":[{"url":"a"},{"url":"b"},{"url":"c"}]}"#).unwrap().usage;
    assert_eq!(used, usage(&[(Kind::Image, 3)]));
    let body = r#"{"created":1,"data":[{"b64_json":"AA"}],"usage":{"input_tokens":50,"output_tokens":1056,"total_tokens":1106,
        "input_tokens_details":{"image_tokens":40,"text_tokens":10}}}"#;
    let used = [(Kind::Input, 10), (Kind::ImageInput, 40), (Kind::ImageOutput, 1056), (Kind::Image, 1)];
    assert_eq!(read(OpenAi, body).unwrap().usage, usage(&used));
    // Drawings that another model writes are charged by its tokens as well.
    assert_eq!(read(OpenAi, r#"{"created":1,"data":[{}],"svg_usage":{"input_tokens":1}}"#), None);
    let body = r#"{"embedding":{"values":[0.1]},"usageMetadata":{"promptTokenCount":7}}"#;
    let used = read(Gemini, body).unwrap().usage;
    assert_eq!((used.embeddings, used.input()), (1, 7));
    let body = r#"{"embeddings":[{"values":[]},{"values":[]}],"usageMetadata":{"promptTokenCount":7}}"#;
    assert_eq!(read(Gemini, body).unwrap().usage.embeddings, 2);
}

#[test]
fn messages() {
    let body = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-4-6",
        "content":[{"type":"text","text":"\"usage\":{}"},{"type":"tool_use","input":{"usage":{"input_tokens":5}}}],
        "usage":{"input_tokens":3,"cache_creation_input_tokens":300,"cache_read_input_tokens":1000,
        "cache_creation":{"ephemeral_5m_input_tokens":100,"ephemeral_1h_input_tokens":200},"output_tokens":60,
        "output_tokens_details":{"thinking_tokens":50},"service_tier":"batch","inference_geo":"us","speed":"fast",
        "server_tool_use":{"web_search_requests":1}}}"#;
    let answer = read(Anthropic, body).unwrap();
    let used = [
        (Kind::Input, 3),
        (Kind::CachedInput, 1000),
        (Kind::CacheWrite, 100),
        (Kind::CacheWriteLong, 200),
        (Kind::Output, 10),
        (Kind::Reasoning, 50),
    ];
    assert_eq!(answer.usage, usage(&used));
    assert_eq!(answer.usage.input(), 1303);
    assert_eq!((answer.service_tier.as_deref(), answer.us, answer.fast), (Some("batch"), true, true));
    // Without a split all is kept for as long as usual.
    let body = r#"{"usage":{"input_tokens":3,"cache_creation_input_tokens":300,"cache_creation":null,"output_tokens":1}}"#;
    let used = [(Kind::Input, 3), (Kind::CacheWrite, 300), (Kind::Output, 1)];
    assert_eq!(read(Anthropic, body).unwrap().usage, usage(&used));
}

#[test]
fn generated_content() {
    let body = r#"{"candidates":[{"content":{"parts":[{"text":"usageMetadata"}]}}],"modelVersion":"gemini-2.5-flash",
        "usageMetadata":{"promptTokenCount":110,"cachedContentTokenCount":60,"candidatesTokenCount":30,"thoughtsTokenCount":70,
        "toolUsePromptTokenCount":5,"totalTokenCount":215,"serviceTier":"FLEX",
        "promptTokensDetails":[{"modality":"TEXT","tokenCount":50},{"modality":"AUDIO","tokenCount":40},{"modality":"IMAGE","tokenCount":20}],
        "cacheTokensDetails":[{"modality":"TEXT","tokenCount":40},{"modality":"AUDIO","tokenCount":20}],
        "candidatesTokensDetails":[{"modality":"TEXT","tokenCount":10},{"modality":"IMAGE","tokenCount":20}]}}"#;
    let answer = read(Gemini, body).unwrap();
    let used = [
        (Kind::Input, 15),
        (Kind::CachedInput, 40),
        (Kind::AudioInput, 20),
        (Kind::CachedAudio, 20),
        (Kind::ImageInput, 20),
        (Kind::Output, 10),
        (Kind::ImageOutput, 20),
        (Kind::Reasoning, 70),
    ];
    assert_eq!(answer.usage, usage(&used));
    let used = answer.usage;
    assert_eq!((used.input(), used.cached_input(), used.output()), (115, 60, 100));
    assert_eq!(
        (answer.model.as_deref(), answer.service_tier.as_deref()),
        (Some("gemini-2.5-flash"), Some("FLEX"))
    );
}

#[test]
fn what_was_cached_is_text_first() {
    // 30 of text, 70 of a picture, 80 of them cached: at least 50 of the picture were.
    let body = r#"{"usage":{"prompt_tokens":100,"completion_tokens":0,
        "prompt_tokens_details":{"text_tokens":30,"image_tokens":70,"cached_tokens":80}}}"#;
    let used = [(Kind::CachedInput, 30), (Kind::ImageInput, 20), (Kind::CachedImage, 50)];
    assert_eq!(read(OpenAi, body).unwrap().usage, usage(&used));
}

#[test]
fn films_in_the_cache_are_counted_as_all_that_was_there() {
    let body = r#"{"usageMetadata":{"promptTokenCount":100,"cachedContentTokenCount":60,
        "promptTokensDetails":[{"modality":"VIDEO","tokenCount":70},{"modality":"TEXT","tokenCount":30}],
        "cacheTokensDetails":[{"modality":"VIDEO","tokenCount":50},{"modality":"TEXT","tokenCount":10}]}}"#;
    let used = [(Kind::Input, 20), (Kind::CachedInput, 60), (Kind::VideoInput, 20)];
    assert_eq!(read(Gemini, body).unwrap().usage, usage(&used));
}

#[test]
fn usage_that_cannot_be_relied_on_is_none() {
    let openai = [
        "",
        "null",
        "[]",
        "{}",
        "{\"usage\":null}",
        "{\"usage\":{}}",
        "{\"usage\":[1,2,3]}",
        "{\"usage\":7}",
        "{\"usage\":{\"prompt_tokens\":null}}",
        "{\"usage\":{\"prompt_tokens\":-1}}",
        "{\"usage\":{\"prompt_tokens\":1.0}}",
        "{\"usage\":{\"prompt_tokens\":1e3}}",
        "{\"usage\":{\"prompt_tokens\":\"12\"}}",
        "{\"usage\":{\"prompt_tokens\":18446744073709551616}}",
        "{\"usage\":{\"prompt_tokens\":1e999}}",
        "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":-2}}",
        "{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":[]}}",
        "{\"usage\":{\"prompt_tokens\":1,\"prompt_tokens_details\":{\"cached_tokens\":2}}}",
        "{\"usage\":{\"prompt_tokens\":1,\"completion_tokens_details\":{\"reasoning_tokens\":2}}}",
        "{\"usage\":{\"prompt_tokens\":1}",
        "{\"usage\":{\"prompt_tokens\":1}}x",
        "{\"choices\":[{\"usage\":{\"prompt_tokens\":1}}]}",
        "{\"message\":{\"usage\":{\"prompt_tokens\":1}},\"response\":{\"usage\":{\"prompt_tokens\":1}}}",
        "{\"text\":\"\\\"usage\\\":{\\\"prompt_tokens\\\":1}\"}",
    ];
    for body in openai {
        assert_eq!(read(OpenAi, body), None, "{body}");
    }
    for body in [
        r#"{"usage":{"input_tokens":1}}"#,
        r#"{"usage":{"output_tokens":1}}"#,
        r#"{"usage":{"input_tokens":1,"output_tokens":1,"cache_creation_input_tokens":1,
            "cache_creation":{"ephemeral_1h_input_tokens":2}}}"#,
        r#"{"usage":{"input_tokens":18446744073709551615,"output_tokens":1,"cache_read_input_tokens":1}}"#,
        r#"{"usageMetadata":{"promptTokenCount":1}}"#,
    ] {
        assert_eq!(read(Anthropic, body), None, "{body}");
    }
    for body in [
        r#"{"usageMetadata":{}}"#,
        r#"{"usageMetadata":{"promptTokenCount":1,"promptTokensDetails":[{"modality":"AUDIO","tokenCount":2}]}}"#,
        r#"{"usageMetadata":{"promptTokenCount":1,"promptTokensDetails":[7]}}"#,
        r#"{"usageMetadata":{"candidatesTokenCount":1,"thoughtsTokenCount":18446744073709551615}}"#,
        r#"{"usage":{"prompt_tokens":1}}"#,
    ] {
        assert_eq!(read(Gemini, body), None, "{body}");
    }
}

#[test]
fn only_members_of_the_answer_itself_count_and_the_last_of_two() {
    let body =
        r#"{"usage":{"prompt_tokens":9},"a":{"usage":{"prompt_tokens":8}},"\u0075sage":{"prompt_tokens":7}}"#;
    assert_eq!(read(OpenAi, body).unwrap().usage.input(), 7);
    // What is not looked at may be anything that JSON allows, lone surrogates and numbers without end too.
    let body = r#"{"a":"\ud800","b":1e999,"data":{"x":[1]},"usage":{"prompt_tokens":7,"x":1e999}}"#;
    assert_eq!(read(OpenAi, body).unwrap().usage.input(), 7);
    let deep =
        format!(r#"{{"a":{}{},"usage":{{"prompt_tokens":7}}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(read(OpenAi, &deep).unwrap().usage.input(), 7);
}

#[test]
fn streams_of_chat_completions() {
    let chunk = r#"data: {"object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"delta":{"content":"usage"}}],"usage":null}"#;
    let last = r#"data: {"object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","service_tier":"default","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15}}"#;
    for (end, comment) in [("\n", ""), ("\r\n", ": ping\r\n\r\n"), ("\r", ":\r")] {
        let body = format!(
            "{comment}{chunk}{end}{end}{comment}{chunk}{end}{end}{last}{end}{end}data: [DONE]{end}{end}"
        );
        let answer = streamed(OpenAi, &body).unwrap();
        assert_eq!(answer.usage, usage(&[(Kind::Input, 10), (Kind::Output, 5)]));
        assert_eq!(answer.model.as_deref(), Some("gpt-4o-2024-08-06"));
        assert_eq!(answer.service_tier.as_deref(), Some("default"));
    }
    assert_eq!(streamed(OpenAi, &format!("{chunk}\n\ndata: [DONE]\n\n")), None);
    let groq =
        "data: {\"model\":\"m\",\"x_groq\":{\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}}\n\n";
    assert_eq!(streamed(OpenAi, groq).unwrap().usage.output(), 4);
}

#[test]
fn streams_of_responses() {
    let body = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-5\",\"usage\":null}}\n\n\
        event: response.output_text.delta\ndata: {\"delta\":\"\\\"usage\\\":{\\\"input_tokens\\\":9}\"}\n\n\
        event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"model\":\"gpt-5\",\"service_tier\":\"flex\",\n\
        data: \"usage\":{\"input_tokens\":4,\"output_tokens\":2}}}\n\n";
    for body in [body.to_owned(), body.replace('\n', "\r\n"), body.replace('\n', "\r")] {
        let answer = streamed(OpenAi, &body).unwrap();
        assert_eq!(answer.usage, usage(&[(Kind::Input, 4), (Kind::Output, 2)]));
        assert_eq!(answer.service_tier.as_deref(), Some("flex"));
    }
}

#[test]
fn streams_of_messages() {
    let start = r#"data: {"type":"message_start","message":{"model":"claude-sonnet-4-5","usage":{"input_tokens":25,"cache_read_input_tokens":10,
        "cache_creation_input_tokens":8,"cache_creation":{"ephemeral_1h_input_tokens":8},"output_tokens":1,"inference_geo":"us"}}}"#
        .replace('\n', "");
    let delta =
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":15}}"#;
    let body = format!("event: message_start\n{start}\n\nevent: message_delta\n{delta}\n\ndata: {{}}\n\n");
    let answer = streamed(Anthropic, &body).unwrap();
    let used = [(Kind::Input, 25), (Kind::CachedInput, 10), (Kind::CacheWriteLong, 8), (Kind::Output, 15)];
    assert_eq!(answer.usage, usage(&used));
    assert_eq!((answer.model.as_deref(), answer.us), (Some("claude-sonnet-4-5"), true));
    // Sums at the end go before what the beginning said.
    let more = delta.replace("15}", "15,\"input_tokens\":30,\"cache_read_input_tokens\":0}");
    let used = streamed(Anthropic, &format!("{start}\n\n{more}\n\n")).unwrap().usage;
    assert_eq!((used.of(Kind::Input), used.cached_input(), used.output()), (30, 0, 15));
    // What was not understood once is not made good.
    let bad = start.replace("25", "-25");
    assert_eq!(streamed(Anthropic, &format!("{bad}\n\n{more}\n\n")), None);
}

#[test]
fn streams_of_generated_content() {
    let chunk = |answer: u64| {
        format!(
            "data: {{\"modelVersion\":\"gemini-2.5-pro\",\"usageMetadata\":{{\"promptTokenCount\":9,\"candidatesTokenCount\":{answer}}}}}\r\n\r\n"
        )
    };
    let answer = streamed(Gemini, &format!("{}{}{}", chunk(1), chunk(5), chunk(12))).unwrap();
    assert_eq!(answer.usage, usage(&[(Kind::Input, 9), (Kind::Output, 12)]));
    assert_eq!(streamed(Gemini, ""), None);
}

#[test]
fn events_beyond_the_bound_are_passed_over() {
    let event = |pad: usize, tokens: u64| {
        format!("data: {{\"usage\":{{\"prompt_tokens\":{tokens}}},\"pad\":\"{}\"}}\n\n", "x".repeat(pad))
    };
    let feed = |parts: &[String]| {
        let mut stream = StreamUsage::new(OpenAi);
        let body = parts.concat();
        body.as_bytes().chunks(64 * 1024).for_each(|piece| stream.feed(piece));
        stream.finish().map(|answer| answer.usage.input())
    };
    assert_eq!(feed(&[event(1_000_000, 3)]), Some(3));
    assert_eq!(feed(&[event(1_100_000, 3)]), None);
    assert_eq!(feed(&[event(1, 2), event(5_000_000, 3)]), Some(2));
    assert_eq!(feed(&[event(5_000_000, 3), event(1, 4)]), Some(4));
}
