//! Answers in Mistral's form.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use crate::json;
use crate::openai::answer::{Style, arguments, content, embedding};
use crate::openai::endpoint::Endpoint;
use crate::openai::request::Request;
use crate::text::{quote, tokens};

/// The answer without its closing brace, and its completion tokens.
pub(super) fn write(request: &Request<'_>, style: &Style) -> Option<(String, u64)> {
    match request.endpoint {
        Endpoint::ChatCompletions => Some(chat(request, style)),
        Endpoint::Embeddings => Some((embeddings(request, style), 0)),
        _ => None,
    }
}

fn usage(input: u64, output: u64) -> String {
    format!(r#"{{"prompt_tokens":{input},"total_tokens":{},"completion_tokens":{output}}}"#, input + output)
}

fn chat(request: &Request<'_>, style: &Style) -> (String, u64) {
    let text = content(request, style.awkward);
    let output = tokens(&text) * request.n as u64;
    let (calls, shown, finish) = if request.magic.calls.is_empty() {
        ("null".to_owned(), quote(&text), "stop")
    } else {
        let call = |(index, name): (usize, &String)| {
            format!(
                r#"{{"id":"c{:07x}{}","function":{{"name":{},"arguments":{}}},"index":{index}}}"#,
                style.id & 0xfff_ffff,
                index % 10,
                quote(name),
                arguments(&text)
            )
        };
        let calls = request.magic.calls.iter().enumerate().map(call).collect::<Vec<_>>().join(",");
        (format!("[{calls}]"), "\"\"".to_owned(), "tool_calls")
    };
    let choice = |index| {
        format!(
            r#"{{"index":{index},"finish_reason":"{finish}","message":{{"role":"assistant","tool_calls":{calls},"content":{shown}}}}}"#
        )
    };
    let choices = (0..request.n).map(choice).collect::<Vec<_>>().join(",");
    let body = format!(
        r#"{{"id":"{:032x}","created":{},"model":{},"usage":{},"object":"chat.completion","choices":[{choices}]"#,
        style.id,
        style.created,
        quote(&request.model),
        usage(request.input_tokens, output)
    );
    (body, output)
}

fn embeddings(request: &Request<'_>, style: &Style) -> String {
    let asked = request.fields.get("output_dimension").and_then(json::integer);
    let dimensions = asked.map_or(style.dimensions, |asked| asked.clamp(1, 4096) as usize);
    let base64 = request.fields.text("encoding_format").is_some_and(|format| format == "base64");
    let item = |(index, input): (usize, &std::borrow::Cow<'_, str>)| {
        let vector = embedding(input, dimensions);
        let data = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            format!("\"{}\"", BASE64_STANDARD.encode(bytes))
        } else {
            format!("[{}]", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
        };
        format!(r#"{{"object":"embedding","embedding":{data},"index":{index}}}"#)
    };
    let data = request.inputs.iter().enumerate().map(item).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"id":"{:032x}","object":"list","data":[{data}],"model":{},"usage":{}"#,
        style.id,
        quote(&request.model),
        usage(request.input_tokens, 0)
    )
}
