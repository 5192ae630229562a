//! Words in a request's text that tell the simulator what to do with it.

/// What the words of one text ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Magic {
    /// `echo:XYZ`: answer exactly `XYZ`.
    pub echo: Option<String>,
    /// `fail:NNN`: answer with this HTTP status, 400 to 599.
    pub fail: Option<u16>,
    /// `expire`: the line is not executed (`batch_expired`).
    pub expire: bool,
    /// `vanish`: the line is not executed and in neither file.
    pub vanish: bool,
    /// `slow:MS`: the line or call takes at least so many milliseconds.
    pub slow: u64,
    /// `size:N`: the answer's text is N bytes long.
    pub size: Option<usize>,
    /// `noflex`: no capacity for flex processing.
    pub noflex: bool,
    /// `call:NAME`: the answer calls these tools.
    pub calls: Vec<String>,
    /// `refuse`: the answer's text is a refusal.
    pub refuse: bool,
    /// `think`: the answer begins with thoughts, readable ones and redacted ones.
    pub think: bool,
    /// `cite`: a part of the answer carries citations.
    pub cite: bool,
}

/// Largest answer that `size:N` can ask for, in bytes.
const MAX_SIZE: usize = 64 << 20;

/// Longest delay that `slow:MS` can ask for: a day in milliseconds.
const MAX_SLOW: u64 = 86_400_000;

impl Magic {
    /// Reads the words of a text, which are separated by white space.
    pub(crate) fn of(text: &str) -> Self {
        let mut magic = Self::default();
        for word in text.split_whitespace() {
            match word.split_once(':') {
                Some(("echo", marker)) if !marker.is_empty() => magic.echo = Some(marker.to_owned()),
                Some(("fail", status)) => {
                    magic.fail = status.parse().ok().filter(|status| (400..600).contains(status));
                }
                Some(("slow", ms)) => magic.slow = ms.parse().unwrap_or(0).min(MAX_SLOW),
                Some(("size", bytes)) => {
                    magic.size = bytes.parse().ok().map(|bytes: usize| bytes.min(MAX_SIZE))
                }
                Some(("call", name)) if !name.is_empty() => magic.calls.push(name.to_owned()),
                None if word == "expire" => magic.expire = true,
                None if word == "vanish" => magic.vanish = true,
                None if word == "noflex" => magic.noflex = true,
                None if word == "refuse" => magic.refuse = true,
                None if word == "think" => magic.think = true,
                None if word == "cite" => magic.cite = true,
                _ => {}
            }
        }
        magic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_and_bounded() {
        let magic = Magic::of("please echo:a:b-1 and\nfail:429 slow:20 size:99999999999");
        assert_eq!(magic.echo.as_deref(), Some("a:b-1"));
        assert_eq!((magic.fail, magic.slow, magic.size), (Some(429), 20, Some(MAX_SIZE)));
        let magic = Magic::of("call:a refuse call:b call:");
        assert_eq!((magic.calls, magic.refuse), (vec!["a".to_owned(), "b".to_owned()], true));
        assert_eq!(Magic::of("fail:200 expired vanishing echo:"), Magic::default());
    }
}
