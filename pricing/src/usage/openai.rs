//! OpenAI's usage (types of its SDK 3.54), of all endpoints, and that of the many who speak like it.

use super::{Media, Prompt, Usage, split_answer, sum};
use crate::json::{Object, Unknown};
use crate::kind::Kind;

/// Reads a `usage` object. What an endpoint for images puts out is pictures unless it says otherwise.
pub(crate) fn read(usage: &Object<'_>, images: bool) -> Result<Usage, Unknown> {
    let (prompt, details) = either(usage, ["prompt_tokens", "input_tokens"])?;
    let (answer, made) = either(usage, ["completion_tokens", "output_tokens"])?;
    if prompt.is_none() && answer.is_none() {
        return Err(Unknown);
    }
    let read = self::prompt(prompt.unwrap_or(0), &details)?.split(Usage::default())?;
    let thoughts = made.count("reasoning_tokens")?.unwrap_or(0);
    let answer = answer.unwrap_or(0);
    // xAI counts thoughts beside the answer, and its total says so.
    let whole = sum([read.input(), answer, thoughts]).ok();
    let beside = whole.is_some() && usage.count("total_tokens")? == whole;
    let answer = if beside { answer } else { answer.checked_sub(thoughts).ok_or(Unknown)? };
    let mut media = self::media(&made)?;
    if images && made.count("text_tokens")?.is_none() && made.count("image_tokens")?.is_none() {
        media.image = answer;
    }
    split_answer(answer, media, read.with(Kind::Reasoning, thoughts))
}

/// A count that has one of two names, and its details.
fn either<'a>(usage: &Object<'a>, names: [&str; 2]) -> Result<(Option<u64>, Object<'a>), Unknown> {
    let name = names.into_iter().find(|name| usage.get(name).is_some()).unwrap_or(names[0]);
    Ok((usage.count(name)?, usage.object(&format!("{name}_details"))?))
}

fn prompt(total: u64, details: &Object<'_>) -> Result<Prompt, Unknown> {
    let count = |key: &str| Ok(details.count(key)?.unwrap_or(0));
    let said = details.get("cached_tokens_details").is_some();
    Ok(Prompt {
        total,
        media: media(details)?,
        cached: count("cached_tokens")?,
        cached_media: said.then(|| media(&details.object("cached_tokens_details")?)).transpose()?,
        written: count("cache_write_tokens")?,
        written_long: details.object("cache_write_tokens_details")?.count("ttl_12h_tokens")?.unwrap_or(0),
    })
}

fn media(details: &Object<'_>) -> Result<Media, Unknown> {
    let count = |key: &str| Ok(details.count(key)?.unwrap_or(0));
    Ok(Media { audio: count("audio_tokens")?, image: count("image_tokens")?, video: count("video_tokens")? })
}
