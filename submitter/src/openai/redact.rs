//! Keeps keys out of messages that people read.

use std::borrow::Cow;

use super::Credential;

const REDACTED: &str = "[redacted]";
/// A shorter header value (an organisation's nickname, say) is no secret, and may be part of many words.
const SHORTEST_SECRET: usize = 12;
/// Messages are for people: more than this is cut, in bytes.
const LONGEST_MESSAGE: usize = 2048;

/// A message with everything taken out that is or looks like a key, cut to a readable length, on one line.
///
/// Providers quote keys, whole or with stars in their middle, in messages about wrong keys.
pub(super) fn redact(text: &str, credential: &Credential) -> String {
    let mut text = Cow::Borrowed(text);
    for secret in credential.secrets().filter(|secret| secret.len() >= SHORTEST_SECRET) {
        if text.contains(secret) {
            text = text.replace(secret, REDACTED).into();
        }
    }
    let mut out = String::with_capacity(text.len().min(LONGEST_MESSAGE + REDACTED.len()));
    for word in text.split_inclusive(|c: char| !is_key_char(c)) {
        let key = word.trim_end_matches(|c: char| !is_key_char(c));
        if looks_like_key(key) {
            out.push_str(REDACTED);
            out.push_str(&word[key.len()..]);
        } else {
            out.push_str(word);
        }
        if out.len() > LONGEST_MESSAGE {
            let end = (0..=LONGEST_MESSAGE).rev().find(|&end| out.is_char_boundary(end)).unwrap_or(0);
            out.truncate(end);
            out.push('…');
            break;
        }
    }
    out.replace(|c: char| c.is_control(), " ")
}

fn is_key_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '*')
}

/// `OpenAI`'s and Anthropic's keys begin with `sk-`, session keys with `sess-`; stars stand for a key's middle.
fn looks_like_key(word: &str) -> bool {
    (word.starts_with("sk-") || word.starts_with("sess-") || word.contains("***")) && word.len() > 6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_whole_or_masked_are_taken_out() {
        let credential = Credential::bearer("0123456789abcdef").unwrap();
        let text = "Incorrect API key provided: sk-proj-abc_123***xyz. Not \"sk-live-1234\", 0123456789abcdef\nor \
                    abcd****wxyz; ask-me-anything (task-123) is fine.";
        assert_eq!(
            redact(text, &credential),
            "Incorrect API key provided: [redacted]. Not \"[redacted]\", [redacted] or [redacted]; ask-me-anything \
             (task-123) is fine."
        );
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let short = redact(&"é".repeat(5000), &Credential::default());
        assert!(short.len() < 2060 && short.ends_with("é…"), "{}", short.len());
        assert!(redact(&"x".repeat(5000), &Credential::default()).len() < 2060);
    }
}
