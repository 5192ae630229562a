//! What a batch line makes of a JSON text: the same bytes, but for raw line ends between tokens.

/// Maps CR and LF outside of strings to spaces. Written down a second time, from the rule and not from the product.
pub fn newlines_to_spaces(json: &str) -> String {
    let (mut in_string, mut escaped) = (false, false);
    let mut mapped = String::with_capacity(json.len());
    for c in json.chars() {
        mapped.push(if !in_string && matches!(c, '\r' | '\n') { ' ' } else { c });
        if escaped {
            escaped = false;
        } else if in_string && c == '\\' {
            escaped = true;
        } else if c == '"' {
            in_string = !in_string;
        }
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_line_ends_between_tokens_change() {
        assert_eq!(newlines_to_spaces("{\r\n\t\"a\\\"\\n\u{2028}\":\n1}"), "{  \t\"a\\\"\\n\u{2028}\": 1}");
    }
}
