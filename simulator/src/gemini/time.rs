//! Google's spelling of times.

use crate::core::Millis;

/// A time as `2026-01-31T12:00:00.5Z`; the epoch for times that no calendar has.
pub(crate) fn stamp(time: Millis) -> String {
    let time = i64::try_from(time).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.unwrap_or(jiff::Timestamp::UNIX_EPOCH).to_string()
}
