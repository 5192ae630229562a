//! The APIs made after `OpenAI`'s: each a world of its own under a prefix.

use std::sync::Arc;

use axum::Router;
use jiff::Timestamp;

use crate::azure;
use crate::core::Millis;
use crate::openai::endpoint::Endpoint;
use crate::openai::profile::{Models, Profile};
use crate::openai::routes::{batch_routes, files_routes, serve};
use crate::shared::Shared;

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

/// All of them.
pub(crate) static PROFILES: [&Profile; 3] = [&azure::PROFILE, &GROQ, &COMPAT];

/// Their routes.
pub(crate) fn routes(shared: &Arc<Shared>) -> Router<Arc<Shared>> {
    let plain = |profile| serve(shared, profile, files_routes().merge(batch_routes()));
    Router::new()
        .nest("/azure/openai", azure::routes(shared))
        .nest("/groq/openai", plain(&GROQ))
        .nest("/compat", plain(&COMPAT))
}

/// A time as text, with seven decimals and the zone as it is to be written.
pub(crate) fn iso(ms: Millis, zone: &str) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or_default();
    format!("{}.{:03}0000{zone}", time.strftime("%Y-%m-%dT%H:%M:%S"), ms % 1000)
}
