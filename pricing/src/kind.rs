//! What is counted and priced.

/// A kind of what an answer is made from or consists of. Kinds are disjoint: nothing is counted in two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Tokens of the prompt that are of no other kind, tools' results included.
    Input,
    /// Tokens of the prompt that were read from the provider's cache.
    CachedInput,
    /// Tokens that were written into the cache, kept for as long as usual: 5 minutes at Anthropic, 30 at OpenAI.
    CacheWrite,
    /// Tokens that were written into the cache to be kept longer: an hour at Anthropic, 12 at OpenAI.
    CacheWriteLong,
    /// Tokens of the answer that are of no other kind.
    Output,
    /// Tokens that the model thought with.
    Reasoning,
    /// Tokens of sound in the prompt.
    AudioInput,
    /// Tokens of sound that were read from the cache.
    CachedAudio,
    /// Tokens of sound in the answer.
    AudioOutput,
    /// Tokens of pictures in the prompt.
    ImageInput,
    /// Tokens of pictures that were read from the cache.
    CachedImage,
    /// Tokens of pictures in the answer.
    ImageOutput,
    /// Tokens of films in the prompt.
    VideoInput,
    /// Tokens of films in the answer.
    VideoOutput,
    /// Pictures that were made, as a number of them. They are not tokens.
    Image,
}

impl Kind {
    /// How many kinds there are.
    pub(crate) const COUNT: usize = Self::ALL.len();

    /// All of them, in their order.
    pub const ALL: [Self; 15] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::CacheWriteLong,
        Self::Output,
        Self::Reasoning,
        Self::AudioInput,
        Self::CachedAudio,
        Self::AudioOutput,
        Self::ImageInput,
        Self::CachedImage,
        Self::ImageOutput,
        Self::VideoInput,
        Self::VideoOutput,
        Self::Image,
    ];

    /// The kinds that a prompt consists of.
    pub(crate) const PROMPT: [Self; 9] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::CacheWriteLong,
        Self::AudioInput,
        Self::CachedAudio,
        Self::ImageInput,
        Self::CachedImage,
        Self::VideoInput,
    ];

    /// The kinds that were read from the cache.
    pub(crate) const CACHED: [Self; 3] = [Self::CachedInput, Self::CachedAudio, Self::CachedImage];

    /// The kinds that an answer consists of.
    pub(crate) const ANSWER: [Self; 5] =
        [Self::Output, Self::Reasoning, Self::AudioOutput, Self::ImageOutput, Self::VideoOutput];

    /// Its name in the price list and in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrite => "cache_write",
            Self::CacheWriteLong => "cache_write_long",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioInput => "audio_input",
            Self::CachedAudio => "cached_audio",
            Self::AudioOutput => "audio_output",
            Self::ImageInput => "image_input",
            Self::CachedImage => "cached_image",
            Self::ImageOutput => "image_output",
            Self::VideoInput => "video_input",
            Self::VideoOutput => "video_output",
            Self::Image => "image",
        }
    }

    /// The kind with this name.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
