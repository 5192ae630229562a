//! What a run came to, as it is shown at its end.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::screen::grouped;

/// Tokens of all answers, as `/stats` has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Tokens {
    /// Of all prompts, with what was read from a cache.
    pub(crate) input: u64,
    /// Of those, what was read from a cache.
    pub(crate) cached_input: u64,
    /// Of all answers, with what was thought.
    pub(crate) output: u64,
    /// Of those, what was thought.
    pub(crate) reasoning: u64,
}

/// What the answers cost, in dollars, as `/stats` has it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Cost {
    /// At the price of ordinary calls.
    pub(crate) list_usd: f64,
    /// At the price that they were made for.
    pub(crate) paid_usd: f64,
    /// The difference.
    pub(crate) saved_usd: f64,
    /// Requests whose price is not known; they are in none of the sums.
    pub(crate) unknown_requests: u64,
}

/// A title, and lines of a label and a value each.
#[derive(Debug)]
pub(crate) struct Receipt {
    title: String,
    lines: Vec<(&'static str, String)>,
}

impl Receipt {
    /// Nothing but a title.
    pub(crate) fn new(title: impl fmt::Display) -> Self {
        Self { title: title.to_string(), lines: Vec::new() }
    }

    /// Adds a line.
    #[must_use]
    pub(crate) fn line(mut self, label: &'static str, value: impl fmt::Display) -> Self {
        self.lines.push((label, value.to_string()));
        self
    }

    /// Adds how long it took.
    #[must_use]
    pub(crate) fn took(self, took: Duration) -> Self {
        match took.as_secs() {
            0..60 => self.line("time taken", format_args!("{:.1} s", took.as_secs_f64())),
            seconds => self.line("time taken", rough(seconds)),
        }
    }

    /// Adds a line of tokens.
    #[must_use]
    pub(crate) fn tokens(self, tokens: Tokens) -> Self {
        let part = |count, what| match count {
            0 => String::new(),
            _ => format!(" ({} {what})", grouped(count)),
        };
        let input = grouped(tokens.input) + " in" + &part(tokens.cached_input, "cached");
        let output = grouped(tokens.output) + " out" + &part(tokens.reasoning, "reasoning");
        self.line("tokens", format_args!("{input}, {output}"))
    }

    /// Adds lines of what it cost.
    #[must_use]
    pub(crate) fn cost(self, cost: Cost) -> Self {
        let percent = match cost.list_usd > 0.0 {
            true => format!(" ({:.0} %)", cost.saved_usd / cost.list_usd * 100.0),
            false => String::new(),
        };
        let receipt = self
            .line("list price", dollars(cost.list_usd))
            .line("paid", dollars(cost.paid_usd))
            .line("saved", dollars(cost.saved_usd) + &percent);
        match cost.unknown_requests {
            0 => receipt,
            unknown => receipt.line("not priced", format_args!("{} requests", grouped(unknown))),
        }
    }
}

impl fmt::Display for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.title)?;
        let width = self.lines.iter().map(|(label, _)| label.len()).max().unwrap_or(0);
        self.lines.iter().try_for_each(|(label, value)| write!(f, "\n  {label:width$}  {value}"))
    }
}

/// An amount to a millionth of a dollar: single calls cost less than a cent.
pub(crate) fn dollars(usd: f64) -> String {
    format!("${usd:.6}")
}

/// A duration to two units, for people.
pub(crate) fn rough(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_below_each_other() {
        let tokens = Tokens { input: 12_345, cached_input: 1000, output: 7, reasoning: 0 };
        let cost = Cost { list_usd: 3.0, paid_usd: 1.5, saved_usd: 1.5, unknown_requests: 2 };
        let took = Duration::from_secs(3720);
        let receipt = Receipt::new("ran x").line("jobs", 3).took(took).tokens(tokens).cost(cost);
        let expected = "ran x
  jobs        3
  time taken  1 h 2 min
  tokens      12,345 in (1,000 cached), 7 out
  list price  $3.000000
  paid        $1.500000
  saved       $1.500000 (50 %)
  not priced  2 requests";
        assert_eq!(receipt.to_string(), expected);
    }

    #[test]
    fn nothing_paid_is_no_percentage() {
        let text = Receipt::new("").cost(Cost::default()).to_string();
        assert!(text.ends_with("saved       $0.000000"), "{text}");
    }
}
