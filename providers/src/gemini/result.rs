//! Results of a Gemini job: lines of a file, or elements within the job.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::broken;
use crate::result::{LineError, LineOutcome, ResultLine};

/// A line, or an element with its key in its metadata.
#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    key: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct Status<'a> {
    #[serde(default)]
    code: i64,
    #[serde(borrow, default)]
    message: Option<&'a RawValue>,
    #[serde(borrow, default)]
    details: Option<&'a RawValue>,
}

/// Reads one result.
pub(super) fn read(line: &[u8]) -> Result<ResultLine<'_>, LineError> {
    if line.trim_ascii_start().first().is_some_and(|byte| *byte != b'{') {
        return Err(LineError::Malformed { problem: "not an object", column: 1 });
    }
    let raw: RawLine<'_> =
        serde_json::from_slice(line).map_err(|error| LineError::from_json(&error, line))?;
    let key = raw.key.or(raw.metadata.and_then(|metadata| metadata.key));
    let custom_id = key.filter(|key| !key.is_empty()).ok_or(LineError::NoId)?;
    let outcome = match (raw.response, raw.error) {
        (Some(response), None) => {
            LineOutcome::Response { status: 200, request_id: None, body: response.get().as_bytes().into() }
        }
        (_, Some(error)) => failed(error, line)?,
        (None, None) => return Err(LineError::BadStatus),
    };
    Ok(ResultLine { custom_id, outcome })
}

/// An error has a gRPC code in place of an HTTP status, and stands alone. Its body is made as the API makes it of the same error
/// in a call alone, around the line's own bytes. That a line was cancelled within a job says that it was not executed.
fn failed<'a>(error: &'a RawValue, line: &'a [u8]) -> Result<LineOutcome<'a>, LineError> {
    let status: Status<'_> =
        serde_json::from_str(error.get()).map_err(|error| LineError::from_json(&error, line))?;
    let (code, name) = match status.code {
        1 => {
            let message = "The provider cancelled the request before it was executed.".into();
            return Ok(LineOutcome::Error { status: None, code: "batch_cancelled".into(), message });
        }
        3 => (400, "INVALID_ARGUMENT"),
        4 => (504, "DEADLINE_EXCEEDED"),
        5 => (404, "NOT_FOUND"),
        6 => (409, "ALREADY_EXISTS"),
        7 => (403, "PERMISSION_DENIED"),
        8 => (429, "RESOURCE_EXHAUSTED"),
        9 => (400, "FAILED_PRECONDITION"),
        10 => (409, "ABORTED"),
        11 => (400, "OUT_OF_RANGE"),
        12 => (501, "UNIMPLEMENTED"),
        14 => (503, "UNAVAILABLE"),
        16 => (401, "UNAUTHENTICATED"),
        2 => (500, "UNKNOWN"),
        _ => (500, "INTERNAL"),
    };
    let message = status.message.map_or("\"\"", RawValue::get);
    let details =
        status.details.map(|details| format!(r#","details":{}"#, details.get())).unwrap_or_default();
    let body = format!(r#"{{"error":{{"code":{code},"message":{message},"status":"{name}"{details}}}}}"#)
        .into_bytes();
    Ok(LineOutcome::Response { status: code, request_id: None, body: body.into() })
}

/// The elements of a job's inline results, wherever they are: in `response` or `metadata.output`, one level deep or two.
pub(super) fn elements(body: &[u8]) -> Option<Vec<&[u8]>> {
    let job: RawJob<'_> = serde_json::from_slice(body).ok()?;
    let places = [job.response, job.metadata.and_then(|metadata| metadata.output)];
    places.into_iter().flatten().find_map(within)
}

/// The same where one of them is no JSON.
pub(super) fn broken_elements(body: &[u8]) -> Option<Vec<&[u8]>> {
    const PLACES: [&[&str]; 2] = [&["response"], &["metadata", "output"]];
    const LISTS: [&str; 2] = ["inlinedResponses", "inlinedEmbedContentResponses"];
    let places = PLACES.iter().filter_map(|place| broken::at(body, place));
    let mut lists = places.flat_map(|place| LISTS.iter().filter_map(move |list| broken::at(place, &[list])));
    lists.find_map(|list| broken::elements(broken::at(list, &LISTS[..1]).unwrap_or(list)))
}

#[derive(Deserialize)]
struct RawJob<'a> {
    #[serde(borrow, default)]
    response: Option<&'a RawValue>,
    #[serde(borrow, default)]
    metadata: Option<RawMetadata<'a>>,
}

#[derive(Deserialize)]
struct RawMetadata<'a> {
    #[serde(borrow, default)]
    output: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawOutput<'a> {
    #[serde(borrow, default)]
    inlined_responses: Option<&'a RawValue>,
    #[serde(borrow, default)]
    inlined_embed_content_responses: Option<&'a RawValue>,
}

fn within(place: &RawValue) -> Option<Vec<&[u8]>> {
    let output: RawOutput<'_> = serde_json::from_str(place.get()).ok()?;
    let list = output.inlined_responses.or(output.inlined_embed_content_responses)?;
    let list = match list.get().starts_with('{') {
        true => serde_json::from_str::<RawOutput<'_>>(list.get()).ok()?.inlined_responses?,
        false => list,
    };
    let elements: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    Some(elements.into_iter().map(|element| element.get().as_bytes()).collect())
}
