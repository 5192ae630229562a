//! What all providers' answers are made of: a text that follows from the request, its tokens, its pieces.

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::credential::{hex, sha256};
use crate::json::{self, Fields};
use crate::magic::Magic;

/// White space, escapes, separators and numbers that break clients which split lines or rebuild JSON: a member for the
/// end of an object.
pub(crate) const AWKWARD: &str = concat!(
    r#","x_simulator" : { "numbers": [1.10, 1E+2, 12345678901234567890123, -0.0], "escaped": "\u2028\"\\\/\n","#,
    "\"raw\":\"\u{2028}\u{2029}\u{85}\u{1f600}\",\"a\" : null , \"A\":[ ] }"
);

/// Bytes of text in one event of a stream, about.
const PIECE: usize = 16;

/// Events that a text is spread over at most.
const MAX_PIECES: usize = 256;

/// The text of the answer to `text`: the marker of `echo:`, else a sentence with the text's checksum.
pub(crate) fn answer_to(text: &str, magic: &Magic, awkward: bool) -> String {
    let mut answer = match &magic.echo {
        Some(marker) => marker.clone(),
        None => {
            let hash = hex(&sha256(text.as_bytes())[..8]);
            let odd = if awkward { " \u{2028}\u{1f600} \"quoted\" \\ \t" } else { "" };
            format!("You sent {} bytes; their checksum is {hash}.{odd}", text.len())
        }
    };
    if let Some(size) = magic.size {
        if answer.len() < size {
            answer.push(' ');
            answer.extend(std::iter::repeat_n('.', size - answer.len()));
        } else {
            let cut = (0..=size).rev().find(|&at| answer.is_char_boundary(at)).unwrap_or(0);
            answer.truncate(cut);
        }
    }
    answer
}

/// The text of the last message of a user, else of the last message.
pub(crate) fn last_user_text(messages: &[Fields<'_>]) -> String {
    let of_user =
        messages.iter().rev().find(|message| message.text("role").is_some_and(|role| role == "user"));
    let content = of_user.or(messages.last()).and_then(|message| message.get("content"));
    content.map(spoken).unwrap_or_default()
}

/// The text of a string, or of the parts of a list of parts.
pub(crate) fn spoken(raw: &RawValue) -> String {
    if let Some(text) = json::text(raw) {
        return text.into_owned();
    }
    let parts = json::list(raw).unwrap_or_default();
    let texts = parts.into_iter().filter_map(|part| match json::object(part) {
        Some(fields) => fields.text("text").map(Cow::into_owned),
        None => json::text(part).map(Cow::into_owned),
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The tokens of a text: a quarter of its bytes, at least one.
pub(crate) fn tokens(text: &str) -> u64 {
    (text.len() as u64 / 4).max(1)
}

/// A text as a JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".into())
}

/// Cuts a text into the pieces of a stream, at character boundaries.
pub(crate) fn pieces(text: &str) -> Vec<&str> {
    let size = PIECE.max(text.len().div_ceil(MAX_PIECES));
    let mut rest = text;
    let mut list = Vec::new();
    while !rest.is_empty() {
        let end = (size..rest.len()).find(|&at| rest.is_char_boundary(at)).unwrap_or(rest.len());
        let (piece, after) = rest.split_at(end);
        list.push(piece);
        rest = after;
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text() {
        for text in ["", "a", "é\u{1f600}é\u{1f600}é\u{1f600}é\u{1f600}é\u{1f600}", &"x".repeat(100_000)]
        {
            let pieces = pieces(text);
            assert_eq!(pieces.concat(), text);
            assert!(pieces.len() <= MAX_PIECES);
        }
    }
}
