//! The APIs made after `OpenAI`'s: each a world of its own under a prefix.

use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use jiff::Timestamp;
use serde_json::Value;

use crate::azure;
use crate::core::Millis;
use crate::mistral;
use crate::openai::batch::view;
use crate::openai::endpoint::Endpoint;
use crate::openai::profile::{Models, Profile};
use crate::openai::routes::{batch_routes, files_routes, serve};
use crate::openai::{Batch, Model};
use crate::openrouter;
use crate::shared::Shared;
use crate::together;
use crate::xai;

/// Groq: chat completions only, smaller files, longer windows (its SDK's types).
static GROQ: Profile = Profile {
    name: "groq",
    key: "gsk_",
    models: Models::Any,
    endpoints: &[Endpoint::ChatCompletions],
    window_hours: (24, 168),
    max_file_bytes: 100_000_000,
    ..Profile::openai()
};

/// Any API that is `OpenAI`'s in all but its address, keys and models.
static COMPAT: Profile = Profile { name: "compat", key: "ck-", models: Models::Any, ..Profile::openai() };

/// One that takes metadata and does not show them.
static UNMARKED: Profile =
    Profile { name: "unmarked", key: "um-", batch: |batch| without(batch, &["metadata"]), ..COMPAT };

/// One that does not show the input file either.
static MUTE: Profile = Profile {
    name: "mute",
    key: "mu-",
    batch: |batch| without(batch, &["metadata", "input_file_id"]),
    ..COMPAT
};

/// `OpenAI`'s batch object without some of its members.
fn without(batch: &Batch, members: &[&str]) -> Value {
    let mut object = view(batch);
    if let Some(object) = object.as_object_mut() {
        members.iter().for_each(|member| drop(object.remove(*member)));
    }
    object
}

/// All of them.
pub(crate) static PROFILES: [&Profile; 9] = [
    &azure::PROFILE,
    &GROQ,
    &COMPAT,
    &UNMARKED,
    &MUTE,
    &mistral::PROFILE,
    &xai::PROFILE,
    &openrouter::PROFILE,
    &together::PROFILE,
];

/// Their routes.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let plain = |profile| serve(shared, profile, files_routes().merge(batch_routes()));
    Router::new()
        .nest("/azure/openai", azure::routes(shared))
        .nest("/groq/openai", plain(&GROQ))
        .nest("/compat", plain(&COMPAT))
        .nest("/unmarked", plain(&UNMARKED))
        .nest("/mute", plain(&MUTE))
        .nest("/mistral", mistral::routes(shared))
        .nest("/xai", xai::routes(shared))
        .nest("/openrouter/api", openrouter::routes(shared))
        .nest("/together", together::routes(shared))
}

/// A time as nothing but its day.
pub(crate) fn day(ms: Millis) -> String {
    iso(ms, "Z").chars().take(10).collect()
}

/// A time as text, with seven decimals and the zone as it is to be written.
pub(crate) fn iso(ms: Millis, zone: &str) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    format!("{}.{:03}0000{zone}", time.strftime("%Y-%m-%dT%H:%M:%S"), ms % 1000)
}

/// The result lines of a batch, wherever they are kept, without their ends.
pub(crate) fn result_lines(model: &Model, batch: &Batch, now: Millis) -> Vec<Bytes> {
    let files = [&batch.output_file, &batch.error_file].into_iter().flatten();
    let files = files.filter_map(|id| model.files.get(now, &batch.owner, id).ok());
    let texts = std::iter::once(&batch.results).chain(files.map(|file| &file.content));
    let lines = texts.flat_map(|text| text.split(|&byte| byte == b'\n').map(|line| text.slice_ref(line)));
    lines.filter(|line| !line.is_empty()).collect()
}

/// An object with one more member: a list of JSON texts, which stay as they are.
pub(crate) fn spliced<'a>(object: &Value, member: &str, items: impl Iterator<Item = &'a [u8]>) -> String {
    let mut text = object.to_string();
    // The closing brace of the object.
    text.pop();
    let items: Vec<_> = items.map(String::from_utf8_lossy).collect();
    text.push_str(&format!(",\"{member}\":[{}]}}", items.join(",")));
    text
}
