//! The pieces of a streamed answer, as server-sent events or as the elements of one JSON array.

use bytes::Bytes;

use super::answer::{Style, candidate, envelope, finish, parts, text_part, usage};
use super::request::Request;
use crate::text::{answer_to, pieces, tokens};

/// All chunks of an answer, each a `GenerateContentResponse`; the last one has the reason of the end and all usage.
pub(crate) fn chunks(request: &Request, style: &Style) -> Vec<String> {
    let text = answer_to(&request.text, &request.magic, style.awkward);
    let output = tokens(&text) * request.n as u64;
    let plain = request.magic.calls.is_empty() && !request.magic.refuse;
    let said: Vec<String> = match plain {
        true => pieces(&text).into_iter().map(text_part).collect(),
        false => vec![parts(request, &text)],
    };
    let last = said.len().saturating_sub(1);
    let chunk = |(number, parts): (usize, &String)| {
        let end = (number == last).then(|| finish(request));
        let candidates =
            (0..request.n).map(|index| candidate(parts, end, index)).collect::<Vec<_>>().join(",");
        envelope(request, style, &candidates, &usage(request, end.map(|_| output)), "")
    };
    if said.is_empty() {
        return vec![chunk((0, &text_part("")))];
    }
    said.iter().enumerate().map(chunk).collect()
}

/// As server-sent events.
pub(crate) fn events(chunks: &[String]) -> Vec<Bytes> {
    chunks.iter().map(|chunk| Bytes::from(format!("data: {chunk}\r\n\r\n"))).collect()
}

/// As pieces of one JSON array.
pub(crate) fn array(chunks: &[String]) -> Vec<Bytes> {
    let last = chunks.len().saturating_sub(1);
    let piece = |(number, chunk): (usize, &String)| {
        let begin = if number == 0 { "[" } else { ",\r\n" };
        let end = if number == last { "]" } else { "" };
        Bytes::from(format!("{begin}{chunk}\n{end}"))
    };
    chunks.iter().enumerate().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gemini::method::Task;
    use serde_json::{Value, json};

    fn request(text: &str) -> Request {
        let body = json!({"contents": [{"parts": [{"text": text}]}]});
        Request::read(Task::Generate, "gemini-2.5-flash", &body.to_string()).unwrap()
    }

    #[test]
    fn streams_add_up_to_the_answer() {
        let style = Style { id: 1, awkward: false, dimensions: 4 };
        for text in ["a sentence in many pieces follows from this", "call:f echo:x", "refuse", "size:0"] {
            let request = request(text);
            let (mut whole, chunks) = (Vec::new(), chunks(&request, &style));
            super::super::answer::write(&request, &style, &mut whole);
            let whole: Value = serde_json::from_slice(&whole).unwrap();
            let array: Vec<Value> = serde_json::from_slice(&array(&chunks).concat()).unwrap();
            let text = |value: &Value| {
                value["candidates"][0]["content"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned()
            };
            assert_eq!(array.iter().map(text).collect::<String>(), text(&whole));
            let last = array.last().unwrap();
            assert_eq!(last["usageMetadata"], whole["usageMetadata"]);
            assert_eq!(last["candidates"][0]["finishReason"], whole["candidates"][0]["finishReason"]);
            let ended = array.iter().filter(|chunk| chunk["candidates"][0].get("finishReason").is_some());
            assert_eq!((ended.count(), events(&chunks).len()), (1, array.len()));
        }
    }
}
