//! The answer to a request, derived from it, so that a caller can tell that it is its own.

use super::error::ApiError;
use super::method::Task;
use super::request::Request;
use crate::openai::embedding;
use crate::text::{AWKWARD, answer_to, quote, tokens};

/// What of an answer does not come from its request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Makes the answer's `responseId` unique.
    pub id: u64,
    /// Odd characters, spacing and numbers.
    pub awkward: bool,
    /// Dimensions of an embedding when the request names none.
    pub dimensions: usize,
}

/// Writes the answer's body to the end of `out` and returns its output tokens.
pub(crate) fn write(request: &Request, style: &Style, out: &mut Vec<u8>) -> u64 {
    let (body, output_tokens) = match request.task {
        Task::Generate => generated(request, style),
        Task::Embed => (format!(r#"{{"embedding":{}}}"#, embedded(request, style)), 0),
    };
    out.extend_from_slice(body.as_bytes());
    output_tokens
}

/// The error that `fail:NNN` or flex without capacity asks for.
pub(crate) fn failure(request: &Request) -> Option<ApiError> {
    if request.flex && request.magic.noflex {
        return Some(ApiError::new(503, "The model is overloaded. Please try again later."));
    }
    Some(match request.magic.fail? {
        429 => ApiError { retry_after: Some(1), ..ApiError::new(429, "Resource has been exhausted.") },
        500 => ApiError::new(500, "An internal error has occurred."),
        503 => ApiError::new(503, "The model is overloaded. Please try again later."),
        status => ApiError::new(status, "The text asked for this failure."),
    })
}

/// The `{"values":[...]}` of an embedding.
pub(crate) fn embedded(request: &Request, style: &Style) -> String {
    let vector = embedding(&request.text, request.dimensions.unwrap_or(style.dimensions));
    let values = vector.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
    format!(r#"{{"values":[{values}]}}"#)
}

fn generated(request: &Request, style: &Style) -> (String, u64) {
    let text = answer_to(&request.text, &request.magic, style.awkward);
    let output = tokens(&text) * request.n as u64;
    let candidate = |index| candidate(&parts(request, &text), Some(finish(request)), index);
    let candidates = (0..request.n).map(candidate).collect::<Vec<_>>().join(",");
    let odd = if style.awkward { AWKWARD } else { "" };
    (envelope(request, style, &candidates, &usage(request, Some(output)), odd), output)
}

/// A `GenerateContentResponse`.
pub(crate) fn envelope(
    request: &Request,
    style: &Style,
    candidates: &str,
    usage: &str,
    more: &str,
) -> String {
    format!(
        r#"{{"candidates":[{candidates}],"usageMetadata":{usage},"modelVersion":{},"responseId":"sim{:016x}"{more}}}"#,
        quote(&request.model),
        style.id
    )
}

/// A candidate; one without parts has no content.
pub(crate) fn candidate(parts: &str, finish: Option<&str>, index: usize) -> String {
    let content = match parts {
        "" => String::new(),
        parts => format!(r#""content":{{"parts":[{parts}],"role":"model"}},"#),
    };
    let finish = finish.map(|reason| format!(r#""finishReason":"{reason}","#)).unwrap_or_default();
    format!(r#"{{{content}{finish}"index":{index}}}"#)
}

/// All parts of a whole answer: one text, or the calls of functions; none for a refusal.
pub(crate) fn parts(request: &Request, text: &str) -> String {
    if request.magic.refuse {
        return String::new();
    }
    if request.magic.calls.is_empty() {
        return text_part(text);
    }
    let call = |name: &String| {
        format!(r#"{{"functionCall":{{"name":{},"args":{{"text":{}}}}}}}"#, quote(name), quote(text))
    };
    request.magic.calls.iter().map(call).collect::<Vec<_>>().join(",")
}

/// A part that is text.
pub(crate) fn text_part(text: &str) -> String {
    format!(r#"{{"text":{}}}"#, quote(text))
}

/// Why the answer ends.
pub(crate) fn finish(request: &Request) -> &'static str {
    if request.magic.refuse { "SAFETY" } else { "STOP" }
}

/// The usage; before the end of a stream without what was put out.
pub(crate) fn usage(request: &Request, output: Option<u64>) -> String {
    let input = request.input_tokens;
    let candidates = output.map(|output| format!(r#""candidatesTokenCount":{output},"#)).unwrap_or_default();
    format!(
        r#"{{"promptTokenCount":{input},{candidates}"totalTokenCount":{},"promptTokensDetails":[{{"modality":"TEXT","tokenCount":{input}}}]}}"#,
        input + output.unwrap_or(0)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn answer(task: Task, model: &str, body: &Value, awkward: bool) -> Value {
        let request = Request::read(task, model, &body.to_string()).unwrap();
        let mut out = Vec::new();
        write(&request, &Style { id: 1, awkward, dimensions: 4 }, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn generate(text: &str, awkward: bool) -> Value {
        let body = json!({"contents": [{"parts": [{"text": text}]}]});
        answer(Task::Generate, "gemini-2.5-flash", &body, awkward)
    }

    #[test]
    fn answers_have_text_calls_or_nothing() {
        let said = generate("echo:me", false);
        assert_eq!(said["candidates"][0]["content"]["parts"], json!([{"text": "me"}]));
        assert_eq!(said["candidates"][0]["finishReason"], "STOP");
        assert!(said["usageMetadata"]["totalTokenCount"].as_u64() > Some(1));
        let called = generate("call:f call:g echo:x", false);
        let parts = &called["candidates"][0]["content"]["parts"];
        assert_eq!(parts[1], json!({"functionCall": {"name": "g", "args": {"text": "x"}}}));
        let refused = generate("refuse", false);
        assert_eq!(
            (&refused["candidates"][0]["finishReason"], &refused["candidates"][0]["content"]),
            (&json!("SAFETY"), &Value::Null)
        );
        assert!(generate("x", true)["x_simulator"].is_object());
    }

    #[test]
    fn embeddings_follow_from_their_text() {
        let body = json!({"content": {"parts": [{"text": "x"}]}, "outputDimensionality": 7});
        let answer = answer(Task::Embed, "gemini-embedding-001", &body, true);
        assert_eq!(answer["embedding"]["values"].as_array().unwrap().len(), 7);
    }
}
