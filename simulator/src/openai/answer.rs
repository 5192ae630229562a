//! The answer to a request, derived from it, so that a caller can tell that it is its own.

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::endpoint::Endpoint;
use super::error::ApiError;
use super::profile::Profile;
use super::request::Request;
use crate::credential::sha256;
use crate::json;
use crate::text::{AWKWARD, answer_to, quote, tokens};

/// What of an answer does not come from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Makes the answer's ids unique.
    pub id: u64,
    /// Unix seconds.
    pub created: u64,
    /// Odd characters, spacing and numbers.
    pub awkward: bool,
    /// Dimensions of an embedding when the request names none.
    pub dimensions: usize,
    /// The tier that serves it.
    pub tier: &'static str,
    /// Whose answer it is.
    pub profile: &'static Profile,
}

/// A PNG of one pixel.
const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The text of the answer.
pub(crate) fn content(request: &Request<'_>, awkward: bool) -> String {
    answer_to(&request.text, &request.magic, awkward)
}

/// The embedding of one input: dimension `i` is byte `i % 32` of the SHA-256 of the input, mapped onto -1 to 1.
///
/// A string is hashed as its text, token lists as their raw JSON.
pub fn embedding(input: &str, dimensions: usize) -> Vec<f32> {
    let hash = sha256(input.as_bytes());
    (0..dimensions).map(|index| f32::from(hash[index % 32]) / 127.5 - 1.0).collect()
}

/// Writes the answer's body to the end of `out` and returns its completion tokens.
pub(crate) fn write(request: &Request<'_>, style: &Style, out: &mut Vec<u8>) -> u64 {
    let own = (style.profile.answer)(request, style);
    let (head, output_tokens) = own.unwrap_or_else(|| match request.endpoint {
        Endpoint::ChatCompletions => chat(request, style),
        Endpoint::Responses => responses(request, style, "completed"),
        Endpoint::Completions => completions(request, style),
        Endpoint::Embeddings => (embeddings(request, style), 0),
        Endpoint::Moderations => (moderation(request, style), 0),
        Endpoint::ImagesGenerations | Endpoint::ImagesEdits => (images(request, style), 1),
        Endpoint::Videos => (video(request, style), 1),
    });
    out.extend_from_slice(head.as_bytes());
    if style.awkward {
        out.extend_from_slice(AWKWARD.as_bytes());
    }
    if let Some(marker) = &request.magic.echo {
        // Writing to a Vec cannot fail.
        let _ = write!(out, r#","x_simulator_echo":{}"#, quote(marker));
    }
    out.push(b'}');
    output_tokens
}

/// The error that `fail:NNN` or flex without capacity asks for.
pub(crate) fn failure(request: &Request<'_>) -> Option<ApiError> {
    let flex = request.service_tier().is_some_and(|tier| tier == "flex");
    if flex && request.magic.noflex {
        return Some(ApiError::new(429, "Resource Unavailable").code("resource_unavailable"));
    }
    Some(match request.magic.fail? {
        400 => ApiError::invalid("The text asked for this failure.", "messages", "invalid_value"),
        429 => ApiError::too_many(format!("Rate limit reached for {}.", request.model), 1),
        status @ 500.. => {
            ApiError::new(status, "The server had an error while processing your request. Sorry about that!")
        }
        status => ApiError::new(status, "The text asked for this failure."),
    })
}

fn chat(request: &Request<'_>, style: &Style) -> (String, u64) {
    let text = content(request, style.awkward);
    let (message, finish) = chat_message(request, style, &text);
    let logprobs = if request.fields.is_true("logprobs") { logprobs(&text) } else { "null".to_owned() };
    let choices = (0..request.n).map(|index| {
        format!(r#"{{"index":{index},"message":{message},"logprobs":{logprobs},"finish_reason":"{finish}"}}"#)
    });
    let choices = choices.collect::<Vec<_>>().join(",");
    let output = tokens(&text) * request.n as u64;
    let body = format!(
        r#"{{"id":"chatcmpl-{:016x}","object":"chat.completion","created":{},"model":{},"choices":[{choices}],"usage":{},"service_tier":"{}","system_fingerprint":"fp_simulator""#,
        style.id,
        style.created,
        quote(&request.model),
        chat_usage(request.input_tokens, output),
        style.tier
    );
    (body, output)
}

/// The message of a choice, and its `finish_reason`.
fn chat_message(request: &Request<'_>, style: &Style, text: &str) -> (String, &'static str) {
    let quoted = quote(text);
    if request.magic.calls.is_empty() {
        let (content, refusal) =
            if request.magic.refuse { ("null", quoted.as_str()) } else { (quoted.as_str(), "null") };
        let message =
            format!(r#"{{"role":"assistant","content":{content},"refusal":{refusal},"annotations":[]}}"#);
        return (message, "stop");
    }
    let arguments = arguments(text);
    let call = |(index, name): (usize, &String)| {
        format!(
            r#"{{"id":"call_{:016x}{index}","type":"function","function":{{"name":{},"arguments":{arguments}}}}}"#,
            style.id,
            quote(name)
        )
    };
    let calls = request.magic.calls.iter().enumerate().map(call).collect::<Vec<_>>().join(",");
    let message = format!(
        r#"{{"role":"assistant","content":null,"tool_calls":[{calls}],"refusal":null,"annotations":[]}}"#
    );
    (message, "tool_calls")
}

/// The arguments of a tool call, `{"text": ...}` in a string.
pub(crate) fn arguments(text: &str) -> String {
    quote(&format!(r#"{{"text":{}}}"#, quote(text)))
}

/// The log probabilities of a choice: one token for each word.
fn logprobs(text: &str) -> String {
    let token = |word: &str| {
        format!(
            r#"{{"token":{},"logprob":-0.25,"bytes":{:?},"top_logprobs":[]}}"#,
            quote(word),
            word.as_bytes()
        )
    };
    let tokens = text.split_inclusive(' ').map(token).collect::<Vec<_>>().join(",");
    format!(r#"{{"content":[{tokens}],"refusal":null}}"#)
}

/// The usage object of chat completions and completions.
pub(crate) fn chat_usage(input: u64, output: u64) -> String {
    format!(
        r#"{{"prompt_tokens":{input},"completion_tokens":{output},"total_tokens":{},"prompt_tokens_details":{{"cached_tokens":0,"audio_tokens":0}},"completion_tokens_details":{{"reasoning_tokens":0,"audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}}}"#,
        input + output
    )
}

/// A response object without its closing brace; with a status other than `completed` it has no output yet.
pub(crate) fn responses(request: &Request<'_>, style: &Style, status: &str) -> (String, u64) {
    let text = content(request, style.awkward);
    let output_tokens = tokens(&text);
    let (output, usage) = if status == "completed" {
        let items = output_items(request, style, &text);
        let input = request.input_tokens;
        let usage = format!(
            r#"{{"input_tokens":{input},"input_tokens_details":{{"cached_tokens":0}},"output_tokens":{output_tokens},"output_tokens_details":{{"reasoning_tokens":0}},"total_tokens":{}}}"#,
            input + output_tokens
        );
        (items, usage)
    } else {
        (String::new(), "null".to_owned())
    };
    let body = format!(
        r#"{{"id":"resp_{:016x}","object":"response","created_at":{},"status":"{status}","background":false,"error":null,"incomplete_details":null,"instructions":null,"max_output_tokens":null,"model":{},"output":[{output}],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{{"effort":null,"summary":null}},"service_tier":"{}","store":true,"temperature":1.0,"text":{{"format":{{"type":"text"}}}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":{usage},"user":null,"metadata":{{}}"#,
        style.id,
        style.created,
        quote(&request.model),
        style.tier
    );
    (body, output_tokens)
}

/// All items of a response that is complete.
fn output_items(request: &Request<'_>, style: &Style, text: &str) -> String {
    if request.magic.refuse {
        let part = format!(r#"{{"type":"refusal","refusal":{}}}"#, quote(text));
        return item_of_parts(style.id, "completed", &part);
    }
    if request.magic.calls.is_empty() {
        return message_item(style.id, "completed", Some(text));
    }
    let arguments = arguments(text);
    let call = |(index, name): (usize, &String)| {
        format!(
            r#"{{"id":"fc_{id:016x}{index}","type":"function_call","status":"completed","arguments":{arguments},"call_id":"call_{id:016x}{index}","name":{}}}"#,
            quote(name),
            id = style.id
        )
    };
    request.magic.calls.iter().enumerate().map(call).collect::<Vec<_>>().join(",")
}

/// The message item of a response; without a text it has no content yet.
pub(crate) fn message_item(id: u64, status: &str, text: Option<&str>) -> String {
    item_of_parts(id, status, &text.map(text_part).unwrap_or_default())
}

fn item_of_parts(id: u64, status: &str, parts: &str) -> String {
    format!(
        r#"{{"id":"msg_{id:016x}","type":"message","status":"{status}","role":"assistant","content":[{parts}]}}"#
    )
}

/// The text part of a response's message.
pub(crate) fn text_part(text: &str) -> String {
    format!(r#"{{"type":"output_text","annotations":[],"logprobs":[],"text":{}}}"#, quote(text))
}

fn completions(request: &Request<'_>, style: &Style) -> (String, u64) {
    let text = content(request, style.awkward);
    let quoted = quote(&text);
    let choice =
        |index| format!(r#"{{"text":{quoted},"index":{index},"logprobs":null,"finish_reason":"stop"}}"#);
    let choices = (0..request.n).map(choice).collect::<Vec<_>>().join(",");
    let output = tokens(&text) * request.n as u64;
    let body = format!(
        r#"{{"id":"cmpl-{:016x}","object":"text_completion","created":{},"model":{},"choices":[{choices}],"usage":{}"#,
        style.id,
        style.created,
        quote(&request.model),
        chat_usage(request.input_tokens, output)
    );
    (body, output)
}

fn embeddings(request: &Request<'_>, style: &Style) -> String {
    let asked = request.fields.get("dimensions").and_then(json::integer);
    let dimensions = asked.map_or(style.dimensions, |asked| asked.clamp(1, 4096) as usize);
    let base64 = request.fields.text("encoding_format").is_some_and(|format| format == "base64");
    let item = |(index, input): (usize, &Cow<'_, str>)| {
        let vector = embedding(input, dimensions);
        let data = if base64 {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            format!("\"{}\"", BASE64_STANDARD.encode(bytes))
        } else {
            format!("[{}]", vector.iter().map(f32::to_string).collect::<Vec<_>>().join(","))
        };
        format!(r#"{{"object":"embedding","index":{index},"embedding":{data}}}"#)
    };
    let data = request.inputs.iter().enumerate().map(item).collect::<Vec<_>>().join(",");
    format!(
        r#"{{"object":"list","data":[{data}],"model":{},"usage":{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}"#,
        quote(&request.model),
        tokens = request.input_tokens
    )
}

fn moderation(request: &Request<'_>, style: &Style) -> String {
    const CATEGORIES: [&str; 13] = [
        "harassment",
        "harassment/threatening",
        "hate",
        "hate/threatening",
        "illicit",
        "illicit/violent",
        "self-harm",
        "self-harm/instructions",
        "self-harm/intent",
        "sexual",
        "sexual/minors",
        "violence",
        "violence/graphic",
    ];
    let flagged = request.text.contains("flagme");
    let member = |value: &str| CATEGORIES.map(|name| format!(r#""{name}":{value}"#)).join(",");
    format!(
        r#"{{"id":"modr-{:016x}","model":{},"results":[{{"flagged":{flagged},"categories":{{{}}},"category_scores":{{{}}},"category_applied_input_types":{{{}}}}}]"#,
        style.id,
        quote(&request.model),
        member(if flagged { "true" } else { "false" }),
        member(if flagged { "0.9" } else { "0.0001" }),
        member("[\"text\"]")
    )
}

fn images(request: &Request<'_>, style: &Style) -> String {
    let prompt = quote(&content(request, style.awkward));
    let image = format!(r#"{{"b64_json":"{PIXEL}","revised_prompt":{prompt}}}"#);
    let data = vec![image; request.n.min(10)].join(",");
    let input = request.input_tokens;
    format!(
        r#"{{"created":{},"data":[{data}],"usage":{{"input_tokens":{input},"input_tokens_details":{{"image_tokens":0,"text_tokens":{input}}},"output_tokens":1,"total_tokens":{}}}"#,
        style.created,
        input + 1
    )
}

fn video(request: &Request<'_>, style: &Style) -> String {
    format!(
        r#"{{"id":"video_{:016x}","object":"video","created_at":{},"status":"completed","progress":100,"model":{},"seconds":"4","size":"720x1280""#,
        style.id,
        style.created,
        quote(&request.model)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Fields;
    use crate::openai::profile::OPENAI;
    use crate::openai::request::model_of;
    use serde_json::Value;

    fn style(awkward: bool) -> Style {
        Style { id: 1, created: 2, awkward, dimensions: 4, tier: "default", profile: &OPENAI }
    }

    fn answer(endpoint: Endpoint, body: &str, awkward: bool) -> (String, Value) {
        let fields = Fields::parse(body).unwrap();
        let model = model_of(endpoint, &fields).unwrap();
        let request = Request::check(endpoint, model, fields, body.len()).unwrap();
        let mut out = Vec::new();
        write(&request, &style(awkward), &mut out);
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn every_endpoint_answers_valid_json_with_the_marker() {
        for endpoint in Endpoint::ALL {
            let body = r#"{"model":"m","messages":[{"role":"user","content":"echo:X7 \u2028"}],"input":"echo:X7","prompt":"echo:X7","n":2}"#;
            for awkward in [false, true] {
                let (text, value) = answer(endpoint, body, awkward);
                assert_eq!(value["x_simulator_echo"], "X7", "{endpoint:?}");
                assert_eq!(text.contains('\u{2028}'), awkward);
                assert!(!text.contains('\n'));
            }
        }
    }

    #[test]
    fn chat_has_n_choices_and_usage() {
        let body = r#"{"model":"gpt-4o","n":2,"messages":[{"role":"user","content":"echo:X7"}]}"#;
        let (_, value) = answer(Endpoint::ChatCompletions, body, false);
        assert_eq!(value["choices"].as_array().unwrap().len(), 2);
        assert_eq!(value["choices"][1]["message"]["content"], "X7");
        assert_eq!(value["usage"]["prompt_tokens"], body.len() / 4);
        assert_eq!(value["service_tier"], "default");
    }

    #[test]
    fn tools_are_called_and_requests_refused_on_demand() {
        let body = |text: &str| {
            format!(
                r#"{{"model":"gpt-4o","logprobs":true,"messages":[{{"role":"user","content":"{text}"}}],"input":"{text}"}}"#
            )
        };
        let chat = |text: &str| answer(Endpoint::ChatCompletions, &body(text), false).1["choices"][0].take();
        let output = |text: &str| answer(Endpoint::Responses, &body(text), false).1["output"].take();
        let called = chat("call:a call:b echo:X7");
        assert_eq!(called["finish_reason"], "tool_calls");
        assert_eq!(called["message"]["content"], Value::Null);
        let second = &called["message"]["tool_calls"][1]["function"];
        assert_eq!((&second["name"], &second["arguments"]), (&"b".into(), &r#"{"text":"X7"}"#.into()));
        let items = output("call:a call:b echo:X7");
        assert_eq!((&items[1]["name"], &items[1]["arguments"]), (&"b".into(), &r#"{"text":"X7"}"#.into()));
        let refused = chat("refuse echo:X7");
        assert_eq!(
            (&refused["message"]["content"], &refused["message"]["refusal"]),
            (&Value::Null, &"X7".into())
        );
        assert_eq!(output("refuse echo:X7")[0]["content"][0]["refusal"], "X7");
        assert_eq!(chat("echo:X7")["logprobs"]["content"][0]["token"], "X7");
    }

    #[test]
    fn size_is_exact() {
        let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"echo:X7 size:1000"}]}"#;
        let (_, value) = answer(Endpoint::ChatCompletions, body, false);
        let content = value["choices"][0]["message"]["content"].as_str().unwrap();
        assert_eq!(content.len(), 1000);
        assert!(content.starts_with("X7 ."));
    }

    #[test]
    fn float_and_base64_embeddings_agree() {
        let floats = answer(Endpoint::Embeddings, r#"{"model":"m","input":["a","b"]}"#, false).1;
        let body = r#"{"model":"m","input":["a","b"],"encoding_format":"base64"}"#;
        let packed = answer(Endpoint::Embeddings, body, false).1;
        let bytes = BASE64_STANDARD.decode(packed["data"][1]["embedding"].as_str().unwrap()).unwrap();
        let unpacked: Vec<f32> =
            bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
        assert_eq!(unpacked, embedding("b", 4));
        let listed = floats["data"][1]["embedding"].as_array().unwrap();
        assert_eq!(listed.iter().map(|v| v.as_f64().unwrap() as f32).collect::<Vec<_>>(), unpacked);
    }
}
