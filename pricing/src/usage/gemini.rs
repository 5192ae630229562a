//! Gemini's `usageMetadata` (types of its SDK 3.4): thoughts and what tools gave back stand beside the other counts.

use super::{Media, Prompt, Usage, split_answer, sum};
use crate::json::{Object, Unknown};
use crate::kind::Kind;

/// Reads a `usageMetadata` object.
pub(crate) fn read(usage: &Object<'_>) -> Result<Usage, Unknown> {
    let prompt = usage.count("promptTokenCount")?;
    let answer = usage.count("candidatesTokenCount")?;
    if prompt.is_none() && answer.is_none() {
        return Err(Unknown);
    }
    let tools = usage.count("toolUsePromptTokenCount")?.unwrap_or(0);
    let from_tools = media(usage, "toolUsePromptTokensDetails")?;
    let said = usage.get("cacheTokensDetails").is_some();
    let prompt = Prompt {
        total: sum([prompt.unwrap_or(0), tools])?,
        media: media(usage, "promptTokensDetails")?.and(from_tools)?,
        cached: usage.count("cachedContentTokenCount")?.unwrap_or(0),
        cached_media: said.then(|| media(usage, "cacheTokensDetails")).transpose()?,
        ..Prompt::default()
    };
    let thoughts = usage.count("thoughtsTokenCount")?.unwrap_or(0);
    let read = prompt.split(Usage::default())?.with(Kind::Reasoning, thoughts);
    let answer = answer.unwrap_or(0);
    sum([answer, thoughts])?;
    split_answer(answer, media(usage, "candidatesTokensDetails")?, read)
}

/// Tokens by modality; text and documents are none of these.
fn media(usage: &Object<'_>, key: &str) -> Result<Media, Unknown> {
    let mut media = Media::default();
    for part in usage.objects(key)? {
        let count = part.count("tokenCount")?.unwrap_or(0);
        let field = match part.text("modality").as_deref() {
            Some("AUDIO") => &mut media.audio,
            Some("IMAGE") => &mut media.image,
            Some("VIDEO") => &mut media.video,
            _ => continue,
        };
        *field = sum([*field, count])?;
    }
    Ok(media)
}

impl Media {
    fn and(self, other: Self) -> Result<Self, Unknown> {
        Ok(Self {
            audio: sum([self.audio, other.audio])?,
            image: sum([self.image, other.image])?,
            video: sum([self.video, other.video])?,
        })
    }
}
