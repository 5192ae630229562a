//! One line of a batch's input file.

use memchr::memchr2_iter;

const HEAD: &[u8] = br#"{"custom_id":""#;
const METHOD_URL: &[u8] = br#"","method":"POST","url":""#;
const BODY: &[u8] = br#"","body":"#;
const TAIL: &[u8] = b"}";

/// Appends one input line to `out`: `{"custom_id":..,"method":"POST","url":..,"body":..}` and a newline.
///
/// `body` must be one JSON value. Its raw newlines, which are white space between tokens and would end the line, become
/// spaces; every other byte is kept as it is. `url` must equal the batch's `endpoint` (`OpenAI` API reference, Batch).
pub fn encode_line(out: &mut Vec<u8>, custom_id: &str, url: &str, body: &[u8]) {
    out.reserve(line_len(custom_id, url, body.len()));
    out.extend_from_slice(HEAD);
    push_escaped(out, custom_id);
    out.extend_from_slice(METHOD_URL);
    push_escaped(out, url);
    push_body(out, body);
    out.push(b'\n');
}

/// The length in bytes of the line that [`encode_line`] appends, its newline included.
pub fn line_len(custom_id: &str, url: &str, body_len: usize) -> usize {
    HEAD.len()
        + escaped_len(custom_id)
        + METHOD_URL.len()
        + escaped_len(url)
        + BODY.len()
        + body_len
        + TAIL.len()
        + 1
}

/// Appends `{"custom_id":..,"body":..}`, as [`encode_line`] does, without a newline: the form of those whose jobs name the
/// endpoint for all.
pub fn encode_bare(out: &mut Vec<u8>, custom_id: &str, body: &[u8]) {
    out.reserve(bare_len(custom_id, body.len()));
    out.extend_from_slice(HEAD);
    push_escaped(out, custom_id);
    push_body(out, body);
}

/// The length in bytes of what [`encode_bare`] appends.
pub fn bare_len(custom_id: &str, body_len: usize) -> usize {
    HEAD.len() + escaped_len(custom_id) + BODY.len() + body_len + TAIL.len()
}

fn push_body(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(BODY);
    let start = out.len();
    out.extend_from_slice(body);
    for newline in memchr2_iter(b'\n', b'\r', body) {
        out[start + newline] = b' ';
    }
    out.extend_from_slice(TAIL);
}

fn push_escaped(out: &mut Vec<u8>, text: &str) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0..0x20 => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                out.extend_from_slice(b"\\u00");
                out.extend([HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            }
            _ => out.push(byte),
        }
    }
}

fn escaped_len(text: &str) -> usize {
    text.bytes()
        .map(|byte| match byte {
            b'"' | b'\\' => 2,
            0..0x20 => 6,
            _ => 1,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pretty_printed_body_becomes_one_line_of_the_same_length() {
        let mut out = b"kept\n".to_vec();
        let body = b"{\r\n  \"n\": 9007199254740993,\n  \"a\": 1e400, \"a\": \"\\n\xe2\x80\xa8\"\n}";
        encode_line(&mut out, "id_1", "/v1/responses", body);
        let expected = "kept\n{\"custom_id\":\"id_1\",\"method\":\"POST\",\"url\":\"/v1/responses\",\"body\":{    \"n\": \
                        9007199254740993,   \"a\": 1e400, \"a\": \"\\n\u{2028}\" }}\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        assert_eq!(line_len("id_1", "/v1/responses", body.len()), expected.len() - "kept\n".len());
    }

    #[test]
    fn an_unusual_id_is_escaped() {
        let id = "a\"b\\c\u{1}\u{1f}\u{7f}é";
        let mut out = Vec::new();
        encode_line(&mut out, id, "/", b"1");
        assert_eq!(out.len(), line_len(id, "/", 1));
        let line: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(line["custom_id"], id);
    }
}
