//! Anthropic's usage (types of its SDK 2.12): what was cached and written stands beside `input_tokens`.

use super::Usage;
use crate::json::{Object, Unknown};
use crate::kind::Kind;

/// What the events of one message have said so far. A stream says the prompt at its beginning, and sums at its end that go before.
#[derive(Debug, Default)]
pub(crate) struct Message {
    input: Option<u64>,
    cached: Option<u64>,
    written: Option<u64>,
    written_short: Option<u64>,
    written_long: Option<u64>,
    output: Option<u64>,
    thoughts: Option<u64>,
    /// Whether something was not understood, which nothing that follows makes good.
    unknown: bool,
    /// The service tier that it says.
    pub tier: Option<String>,
    /// Whether it was answered in the United States, as asked for, which costs more.
    pub us: bool,
    /// Whether it was answered in the fast mode, which costs more.
    pub fast: bool,
}

impl Message {
    /// Takes in one more `usage` object.
    pub fn absorb(&mut self, usage: Result<Object<'_>, Unknown>) {
        self.unknown |= usage.and_then(|usage| self.counts(&usage)).is_err();
    }

    fn counts(&mut self, usage: &Object<'_>) -> Result<(), Unknown> {
        let kept = usage.object("cache_creation")?;
        let made = usage.object("output_tokens_details")?;
        for (field, object, key) in [
            (&mut self.input, usage, "input_tokens"),
            (&mut self.cached, usage, "cache_read_input_tokens"),
            (&mut self.written, usage, "cache_creation_input_tokens"),
            (&mut self.written_short, &kept, "ephemeral_5m_input_tokens"),
            (&mut self.written_long, &kept, "ephemeral_1h_input_tokens"),
            (&mut self.output, usage, "output_tokens"),
            (&mut self.thoughts, &made, "thinking_tokens"),
        ] {
            *field = object.count(key)?.or(*field);
        }
        self.tier = usage.text("service_tier").or(self.tier.take());
        self.us |= usage.text("inference_geo").is_some_and(|geo| geo == "us");
        self.fast |= usage.text("speed").is_some_and(|speed| speed == "fast");
        Ok(())
    }

    /// All that was said, as one usage.
    pub fn usage(&self) -> Result<Usage, Unknown> {
        let (Some(input), Some(output), false) = (self.input, self.output, self.unknown) else {
            return Err(Unknown);
        };
        let cached = self.cached.unwrap_or(0);
        let long = self.written_long.unwrap_or(0);
        let short = match self.written {
            Some(all) => all.checked_sub(long).ok_or(Unknown)?,
            None => self.written_short.unwrap_or(0),
        };
        let thoughts = self.thoughts.unwrap_or(0);
        super::sum([input, cached, short, long])?;
        Ok(Usage::default()
            .with(Kind::Input, input)
            .with(Kind::CachedInput, cached)
            .with(Kind::CacheWrite, short)
            .with(Kind::CacheWriteLong, long)
            .with(Kind::Reasoning, thoughts)
            .with(Kind::Output, output.checked_sub(thoughts).ok_or(Unknown)?))
    }
}
