//! What an answer used, each kind counted once.

mod anthropic;
mod gemini;
mod openai;

use crate::json::Unknown;
use crate::kind::Kind;

pub(crate) use anthropic::Message;

pub(crate) use gemini::read as gemini;
pub(crate) use openai::read as openai;

/// How many of each [`Kind`] a call used, and how many embeddings it got.
///
/// Kinds are disjoint in all dialects: OpenAI and Gemini count what was cached as part of the prompt, Anthropic beside it;
/// most count thoughts as part of the answer, Gemini and xAI beside it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    counts: [u64; Kind::COUNT],
    /// Vectors that the answer consists of.
    pub embeddings: u64,
}

impl Usage {
    /// How many of one kind.
    pub fn of(&self, kind: Kind) -> u64 {
        self.counts[kind as usize]
    }

    /// With so many of one kind.
    #[must_use]
    pub fn with(mut self, kind: Kind, count: u64) -> Self {
        self.counts[kind as usize] = count;
        self
    }

    /// All tokens of the prompt, cached ones included; they decide whether its context is a long one.
    pub fn input(&self) -> u64 {
        self.sum(&Kind::PROMPT)
    }

    /// Those of [`Usage::input`] that were read from the cache.
    pub fn cached_input(&self) -> u64 {
        self.sum(&Kind::CACHED)
    }

    /// All tokens of the answer, thoughts included.
    pub fn output(&self) -> u64 {
        self.sum(&Kind::ANSWER)
    }

    /// Those of [`Usage::output`] that the model thought with.
    pub fn reasoning(&self) -> u64 {
        self.of(Kind::Reasoning)
    }

    fn sum(&self, kinds: &[Kind]) -> u64 {
        kinds.iter().fold(0, |sum, kind| sum.saturating_add(self.of(*kind)))
    }
}

/// Tokens that are not text.
#[derive(Debug, Clone, Copy, Default)]
struct Media {
    audio: u64,
    image: u64,
    video: u64,
}

/// A prompt as OpenAI and Gemini count it: a sum, and parts of it that can overlap.
#[derive(Debug, Default)]
struct Prompt {
    total: u64,
    media: Media,
    cached: u64,
    /// Which of the cached tokens were no text, if that is said.
    cached_media: Option<Media>,
    written: u64,
    /// Those of the written tokens that are kept long.
    written_long: u64,
}

impl Prompt {
    /// Takes the parts apart.
    ///
    /// Where it is not said what was cached, it is text as far as there is so much of it, and then pictures and sound.
    fn split(&self, usage: Usage) -> Result<Usage, Unknown> {
        let Self { total, media, cached, written, .. } = *self;
        let no_text = sum([media.audio, media.image, media.video, written])?;
        let text = total.checked_sub(no_text).ok_or(Unknown)?;
        let from_cache = match self.cached_media {
            Some(said) => said,
            None => {
                let beyond = cached.saturating_sub(text);
                let image = beyond.min(media.image);
                Media { image, audio: beyond - image, video: 0 }
            }
        };
        let less = |whole: u64, part: u64| whole.checked_sub(part).ok_or(Unknown);
        // Films have no price of their own in the cache.
        let cached_other = sum([from_cache.image, from_cache.audio])?;
        let cached_text = less(cached, cached_other)?;
        Ok(usage
            .with(Kind::Input, less(text, less(cached_text, from_cache.video)?)?)
            .with(Kind::CachedInput, cached_text)
            .with(Kind::CacheWrite, less(written, self.written_long)?)
            .with(Kind::CacheWriteLong, self.written_long)
            .with(Kind::AudioInput, less(media.audio, from_cache.audio)?)
            .with(Kind::CachedAudio, from_cache.audio)
            .with(Kind::ImageInput, less(media.image, from_cache.image)?)
            .with(Kind::CachedImage, from_cache.image)
            .with(Kind::VideoInput, less(media.video, from_cache.video)?))
    }
}

/// An answer's tokens but for thoughts.
fn split_answer(total: u64, media: Media, usage: Usage) -> Result<Usage, Unknown> {
    let no_text = sum([media.audio, media.image, media.video])?;
    Ok(usage
        .with(Kind::Output, total.checked_sub(no_text).ok_or(Unknown)?)
        .with(Kind::AudioOutput, media.audio)
        .with(Kind::ImageOutput, media.image)
        .with(Kind::VideoOutput, media.video))
}

fn sum<const N: usize>(counts: [u64; N]) -> Result<u64, Unknown> {
    counts.into_iter().try_fold(0_u64, u64::checked_add).ok_or(Unknown)
}
