//! Keeps keys out of messages of others before they reach a log.
//!
//! Providers quote keys, whole or with stars in their middle, in messages about wrong keys; gateways quote whole headers
//! and URLs. What looks like a key is taken out, even where it is none: a log can do without it.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex_lite::{Captures, Regex};

/// Stands where a key was.
const REDACTED: &str = "[redacted]";
/// A shorter header value (an organisation's nickname, say) is no secret, and may be part of many words.
const SHORTEST_SECRET: usize = 12;
/// Messages are for people: more than this is cut, in bytes.
const LONGEST: usize = 2048;
/// So much of a message is looked at, in bytes; what is cut off may have been a part of a key.
const LOOKED_AT: usize = 8 * LONGEST;

/// A second look at what a pattern has found.
type IsKey = fn(&str) -> bool;

/// What keys look like, and a second look at what was found. What is named `keep` and `after` stays.
const KEYS: [(&str, IsKey); 5] = [
    // Behind the name of a scheme (RFC 9110, 11.1).
    (r#"(?<keep>(?i:\b(?:bearer|basic))[\s:="']+)[^\s"',;<>(){}\[\]]{6,}"#, always),
    // Behind a name that says so: `key=`, `"api_key": "`, `X-Api-Key: `, `&sig=`.
    (
        r#"(?<keep>(?i:(?:key|token|secret|password|passwd|credential|signature|sig|authorization)["']?\s*[=:]\s*["']?))[^\s"',;&<>(){}\[\]]{4,}"#,
        always,
    ),
    // The user and password of a URL.
    (r"(?<keep>://)[^\s/@]+(?<after>@)", always),
    // With stars for their middle, or with the beginnings that providers give them; a JSON web token.
    (
        r"[A-Za-z0-9_\-]*\*{3,}[A-Za-z0-9_*\-]*|\b(?i:sk|pk|rk|sess|gsk|xai|hf|pplx|ghp|glpat)[-_][A-Za-z0-9_*\-]{3,}|\b(?:AIza|AKIA|ya29\.|eyJ)[A-Za-z0-9_\-]{8,}(?:\.[A-Za-z0-9_\-]+)*",
        always,
    ),
    // Any other long token.
    (r"[A-Za-z0-9_+\-]{24,}[A-Za-z0-9_+/=\-]*", is_token),
];
/// Letters and digits in a row from which on a word is taken for a token. Names of models have hyphens or dots in between.
const TOKEN_RUN: usize = 24;
/// What ids of the provider's objects, and ours, begin with (OpenAI API reference): they are wanted in logs.
const IDS: [&str; 8] = ["file-", "batch_", "req_", "resp_", "chatcmpl-", "msg_", "org-", "llmp-"];

static PATTERNS: LazyLock<Vec<(Regex, IsKey)>> = LazyLock::new(|| {
    // They are constants, and a test uses each.
    #[allow(clippy::expect_used)]
    let compiled = |pattern: &str| Regex::new(pattern).expect("a pattern");
    KEYS.iter().map(|(pattern, look)| (compiled(pattern), *look)).collect()
});

/// A message with everything taken out that is one of these secrets or looks like a key, cut to a readable length, on one
/// line.
pub fn redact<'a>(text: &str, secrets: impl Iterator<Item = &'a str>) -> String {
    let mut text = beginning(text);
    for secret in secrets.filter(|secret| secret.len() >= SHORTEST_SECRET) {
        if text.contains(secret) {
            text = text.replace(secret, REDACTED).into();
        }
    }
    for (pattern, is_key) in PATTERNS.iter() {
        let replaced = pattern.replace_all(&text, |found: &Captures<'_>| replacement(found, *is_key));
        if let Cow::Owned(replaced) = replaced {
            text = replaced.into();
        }
    }
    let mut text = text.replace(|c: char| c.is_control(), " ");
    if text.len() > LONGEST {
        text.truncate(boundary(&text, LONGEST));
        text.push('…');
    }
    text
}

/// As much of a message as is looked at, without the word that is cut.
fn beginning(text: &str) -> Cow<'_, str> {
    if text.len() <= LOOKED_AT {
        return text.into();
    }
    let text = &text[..boundary(text, LOOKED_AT)];
    let end = text.rfind(char::is_whitespace).unwrap_or_default();
    format!("{}…", &text[..end]).into()
}

/// The end of the last character that lies within so many bytes.
fn boundary(text: &str, most: usize) -> usize {
    (0..=most).rev().find(|&end| text.is_char_boundary(end)).unwrap_or_default()
}

fn replacement(found: &Captures<'_>, is_key: IsKey) -> String {
    let part = |name| found.name(name).map_or("", |part| part.as_str());
    match found.get(0).map_or("", |whole| whole.as_str()) {
        whole if is_key(whole) => format!("{}{REDACTED}{}", part("keep"), part("after")),
        whole => whole.to_owned(),
    }
}

fn always(_: &str) -> bool {
    true
}

/// Whether a long word is as random as keys are.
fn is_token(word: &str) -> bool {
    let is_id = IDS.iter().any(|prefix| word.starts_with(prefix));
    let random = |run: &str| {
        run.len() >= TOKEN_RUN
            && run.bytes().any(|byte| byte.is_ascii_digit())
            && run.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    !is_id && word.split(['-', '_']).any(random)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        redact(text, std::iter::empty())
    }

    #[test]
    fn the_callers_own_key_is_taken_out_whatever_it_looks_like() {
        let secrets = ["Bearer", "my own secret", "short"];
        let text = "my own secretmy own secret is wrong; Bearer and short are words";
        assert_eq!(
            redact(text, secrets.into_iter()),
            "[redacted][redacted] is wrong; Bearer and short are words"
        );
    }

    #[test]
    fn what_providers_quote_is_taken_out() {
        for (said, logged) in [
            (
                "Incorrect API key provided: sk-proj-abc_123***xyz. Find",
                "Incorrect API key provided: [redacted]. Find",
            ),
            ("Not \"sk-live-1234\" or abcd****wxyz;", "Not \"[redacted]\" or [redacted];"),
            ("sess-abcdef, gsk_abcdef and hf_abcdef", "[redacted], [redacted] and [redacted]"),
            ("x Bearer abcdefgh.ij/kl+m==\n", "x Bearer [redacted] "),
            ("authorization: basic dXNlcjpwYXNz", "authorization: [redacted] [redacted]"),
            ("GET /v1beta?key=abcd&alt=sse", "GET /v1beta?key=[redacted]&alt=sse"),
            ("{\"api_key\": \"abcd\"}", "{\"api_key\": \"[redacted]\"}"),
            ("X-Api-Key: abcd, x", "X-Api-Key: [redacted], x"),
            ("?sv=2024&sig=ab%2Fcd%3D", "?sv=2024&sig=[redacted]"),
            ("API key not valid: AIzaSyA0123456789_abcdefghijklmnopqrstu.", "API key not valid: [redacted]."),
            ("AKIAIOSFODNN7EXAMPLE", "[redacted]"),
            ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln-_x.", "token [redacted]."),
            ("postgres://user:pass@host/x", "postgres://[redacted]@host/x"),
            ("hex 0123456789abcdef0123456789abcdef", "hex [redacted]"),
            ("(q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=)", "([redacted])"),
            ("x_q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQ-y", "[redacted]"),
        ] {
            assert_eq!(plain(said), logged, "{said}");
        }
    }

    #[test]
    fn what_helps_is_left() {
        for text in [
            "Cannot find file file-9LFk1CyuHyf6KkcfEUsgBw",
            "batch_67f7bd2c8b2881909f14dd9bbf3c8a2c, req_0123456789abcdef0123456789abcdef",
            "llmp-AAAAAAAAAAAAAAAAAAAAAA-1.jsonl",
            "The model `gpt-4o-mini-search-preview-2025-03-11` does not exist; ask-me-anything (task-123) is fine.",
            "Enqueued token limit reached for ft:gpt-4o-2024-08-06:my-company:a-rather-long-suffix in organization org-x",
            "error sending request: client error (Connect): tcp connect error: Connection refused (os error 111)",
            "https://api.openai.com/v1/batches/batch_1/cancel",
            "é\u{2028}…",
        ] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn a_long_message_is_cut_between_characters_and_never_within_a_key() {
        let short = plain(&"é".repeat(5000));
        assert!(short.len() < 2060 && short.ends_with("é…"), "{}", short.len());
        assert!(plain(&"x".repeat(5000)).len() < 2060);
        let shrinks = format!("{}sk-{}", "sk-abcdefghijklmnopqrstuvwxyz ".repeat(546), "secret".repeat(50));
        assert!(shrinks.find("secret").is_some_and(|at| at < LOOKED_AT));
        assert!(!plain(&shrinks).contains("secret"));
    }
}
