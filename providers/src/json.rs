//! Reading providers' JSON leniently: numbers in strings, empty strings for what is absent, times in any form.

use serde_json::Value;

use crate::job::Unreadable;

/// The value of an answer's body.
///
/// # Errors
/// [`Unreadable::NotJson`].
pub fn parse(body: &[u8]) -> Result<Value, Unreadable> {
    serde_json::from_slice(body).map_err(|_| Unreadable::NotJson)
}

/// A string that says something: the empty one counts as absent.
pub fn string(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A whole number, or one in a string.
pub fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Unix seconds from a number, a number in a string, or an ISO 8601 time (UTC if it names no zone). Zero is absent.
pub fn seconds(value: &Value) -> Option<i64> {
    let seconds = match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds as i64)),
        Value::String(text) => text.trim().parse().ok().or_else(|| iso_seconds(text.trim())),
        _ => None,
    };
    seconds.filter(|seconds| *seconds > 0)
}

fn iso_seconds(text: &str) -> Option<i64> {
    let zoned = || text.parse::<jiff::Timestamp>().ok();
    let local = || text.parse::<jiff::civil::DateTime>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    zoned().or_else(|| Some(local()?.timestamp())).map(jiff::Timestamp::as_second)
}

/// The words of an error object in any of the shapes seen.
pub fn error_text(error: &Value) -> String {
    string(&error["message"]).or_else(|| string(error)).unwrap_or_else(|| error.to_string())
}

/// The message of an `{"error": ..}` body; `None` if the body is nothing of the kind.
pub fn error_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("error").map(error_text)
}

/// A field of an `{"error": ..}` body, as `code` or `param`.
pub fn error_field(body: &[u8], field: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    string(&body["error"][field])
}

/// The id of an object.
///
/// # Errors
/// [`Unreadable::NoId`], or the error that stands where the object was due.
pub fn id(value: &Value) -> Result<String, Unreadable> {
    string(&value["id"]).ok_or_else(|| match &value["error"] {
        Value::Null => Unreadable::NoId,
        error => Unreadable::Error(error_text(error)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_come_in_many_forms() {
        assert_eq!(seconds(&"2024-03-26T16:45:33.5".into()), Some(1_711_471_533));
        assert_eq!(seconds(&"2024-03-26T16:45:33+00:00".into()), Some(1_711_471_533));
        assert_eq!(seconds(&1_711_471_533.9.into()), Some(1_711_471_533));
        assert_eq!(seconds(&"1711557933".into()), Some(1_711_557_933));
        assert_eq!(seconds(&0.into()), None);
    }
}
