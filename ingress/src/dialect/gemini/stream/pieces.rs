//! A long text in pieces, without decoding it.

/// The length of a piece in bytes as written. Google's chunks are of about this size, and some readers bound a line: aiohttp,
/// which Google's Python client uses where it is installed, stopped at 64 KiB for long.
pub(super) const PIECE: usize = 2048;

/// Cuts the inside of a JSON string into parts of [`PIECE`] bytes, or some bytes more where an escape, a pair of surrogates or a
/// character would be cut. No part is empty; an empty string has none.
pub(super) fn pieces(mut inside: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let mut end = 0;
        while end < inside.len() && end < PIECE {
            end += unit(&inside[end..]);
        }
        let (piece, rest) = inside.split_at(end);
        inside = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// The length of what stands first and must not be cut; the text is not empty and of a valid string.
fn unit(text: &str) -> usize {
    let escape = |text: &str| text.as_bytes().get(1) == Some(&b'u');
    let length = match text.as_bytes() {
        [b'\\', ..] if !escape(text) => 2,
        // The first half of a pair, if the second follows.
        [b'\\', _, b'd' | b'D', b'8' | b'9' | b'a' | b'b' | b'A' | b'B', _, _, b'\\', b'u', ..] => 12,
        [b'\\', ..] => 6,
        _ => text.chars().next().map_or(1, char::len_utf8),
    };
    length.min(text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dialect::gemini::json::arbitrary::written;

    fn inside(raw: &str) -> &str {
        &raw[1..raw.len() - 1]
    }

    #[test]
    fn a_short_text_is_one_piece() {
        assert_eq!(pieces("").count(), 0);
        assert_eq!(pieces("a\\n").collect::<Vec<_>>(), ["a\\n"]);
        assert_eq!(pieces(&"a".repeat(PIECE)).count(), 1);
        assert_eq!(pieces(&"a".repeat(PIECE + 1)).count(), 2);
    }

    #[test]
    fn escapes_and_characters_stay_whole() {
        for unit in ["\\n", "\\\\", "\\u00e9", "\\ud83d\\ude00", "\\uD83D\\uDE00", "é", "\u{2028}", "😀"] {
            for offset in 0..13 {
                let text = "a".repeat(offset) + &unit.repeat(PIECE);
                for piece in pieces(&text) {
                    let decoded: String = serde_json::from_str(&format!("\"{piece}\"")).unwrap();
                    assert!(!decoded.is_empty() && piece.len() < PIECE + 12, "{unit}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn the_pieces_make_the_text(text in ".{0,40}", escape in any::<u64>(), repeated in 1_usize..300) {
            let raw = written(&text.repeat(repeated), escape);
            let mut decoded = String::new();
            for piece in pieces(inside(&raw)) {
                decoded += &serde_json::from_str::<String>(&format!("\"{piece}\"")).unwrap();
            }
            prop_assert_eq!(decoded, text.repeat(repeated));
        }
    }
}
