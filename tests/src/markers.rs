//! Marks that are planted where secrets are, and the search for them where no secret may be, however they are spelled.

use std::collections::BTreeMap;
use std::fmt;

use aho_corasick::AhoCorasick;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Stands in every API key.
pub const KEY: Mark = Mark { name: "key", text: "kQ7vXz2mWp9T" };
/// Stands in what organisations, projects and `Idempotency-Key`s are called.
pub const NAME: Mark = Mark { name: "name", text: "nH4bGy8rLd3J" };
/// Stands in every prompt.
pub const PROMPT: Mark = Mark { name: "prompt", text: "pV5cJt6sKf1N" };
/// Stands in every answer and in every message of an error.
pub const ANSWER: Mark = Mark { name: "answer", text: "aR3xMq8wZu7B" };

/// All of these.
pub const ALL: [Mark; 4] = [KEY, NAME, PROMPT, ANSWER];

/// Letters and digits that occur nowhere by chance: 71 bits. What carries it may be longer; to find a part is enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// What it stands in.
    pub name: &'static str,
    /// Itself.
    pub text: &'static str,
}

/// A mark where it does not belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Find {
    /// Which.
    pub mark: Mark,
    /// How it is written there.
    pub spelling: &'static str,
}

impl fmt::Display for Find {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.mark.name, self.spelling)
    }
}

/// Looks for marks in all their spellings.
#[derive(Debug)]
pub struct Search {
    automaton: AhoCorasick,
    finds: Vec<Find>,
}

impl Search {
    /// Looks for these marks.
    ///
    /// # Errors
    /// There are too many.
    pub fn new(marks: &[Mark]) -> anyhow::Result<Self> {
        let spelled = marks.iter().flat_map(|mark| {
            let finds = spellings(mark.text).into_iter();
            finds.map(|(spelling, text)| (Find { mark: *mark, spelling }, text))
        });
        let (finds, texts): (Vec<_>, Vec<_>) = spelled.unzip();
        Ok(Self { automaton: AhoCorasick::new(texts)?, finds })
    }

    /// What is found in there, and how often.
    pub fn find(&self, bytes: &[u8]) -> BTreeMap<Find, usize> {
        let mut found = BTreeMap::new();
        for at in self.automaton.find_iter(bytes) {
            *found.entry(self.finds[at.pattern().as_usize()]).or_default() += 1;
        }
        found
    }
}

/// The ways in which bytes get written, each with its name: what programs that print or pack them do.
pub fn spellings(text: &str) -> Vec<(&'static str, String)> {
    let each = |write: fn(u8) -> String| text.bytes().map(write).collect::<String>();
    let numbers: Vec<_> = text.bytes().map(|byte| byte.to_string()).collect();
    let mut spellings = vec![
        ("plain", text.to_owned()),
        ("backwards", text.chars().rev().collect()),
        ("hex", each(|byte| format!("{byte:02x}"))),
        ("HEX", each(|byte| format!("{byte:02X}"))),
        ("JSON escapes", each(|byte| format!("\\u{byte:04x}"))),
        ("JSON ESCAPES", each(|byte| format!("\\u{byte:04X}"))),
        ("string escapes", each(|byte| format!("\\x{byte:02x}"))),
        ("percents", each(|byte| format!("%{byte:02X}"))),
        ("numbers", numbers.join(", ")),
        ("numbers without spaces", numbers.join(",")),
        ("UTF-16", each(|byte| format!("{}\0", char::from(byte)))),
    ];
    let names = ["base64", "base64 shifted by 1", "base64 shifted by 2"];
    for (shift, name) in names.into_iter().enumerate() {
        let [standard, url_safe] = [&STANDARD, &URL_SAFE].map(|engine| base64(text, shift, engine));
        if standard != url_safe {
            spellings.push(("base64url", url_safe));
        }
        spellings.push((name, standard));
    }
    spellings
}

/// The base64 digits that are the same whatever stands before and behind, when so many bytes (of three) stand before.
fn base64(text: &str, shift: usize, engine: &impl base64::Engine) -> String {
    let mut bytes = vec![0; shift];
    bytes.extend_from_slice(text.as_bytes());
    let whole = bytes.len() * 8 / 6;
    let digits = engine.encode(bytes);
    digits[(shift * 8).div_ceil(6)..whole].to_owned()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;

    use super::*;

    #[test]
    fn every_spelling_of_every_mark_is_found_and_nothing_else() {
        let search = Search::new(&ALL).unwrap();
        for mark in ALL {
            let texts = [
                mark.text.to_owned(),
                format!("{:?}", mark.text.as_bytes()),
                serde_json::to_string(&serde_json::json!({ "a": format!("\"é\n{}", mark.text) })).unwrap(),
            ];
            for text in texts {
                assert_eq!(search.find(text.as_bytes()).values().sum::<usize>(), 1, "{text}");
            }
            for (before, engine) in (0..7).flat_map(|before| [(before, STANDARD), (before, URL_SAFE)]) {
                let around = ["\u{7f}~>".repeat(3).split_at(before).0, mark.text, "?\u{7f}>"].concat();
                let text = engine.encode(&around);
                let found = search.find(text.as_bytes());
                assert!(found.keys().all(|find| find.mark == mark), "{found:?}");
                assert_eq!(found.values().sum::<usize>(), 1, "{text}");
            }
        }
        assert!(search.find("kQ7vXz2mWp9 nothing".repeat(100).as_bytes()).is_empty());
    }
}
