//! A `POST /v1/messages/batches` body: everything that is checked before the batch exists.

use std::collections::HashSet;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::error::ApiError;
use super::request::Dialect;
use crate::json::{self, Fields};

/// Requests of a batch (Anthropic's documentation).
pub const MAX_REQUESTS: usize = 100_000;

/// Bytes of a batch: 256 MB (Anthropic's documentation).
pub const MAX_BYTES: usize = 256_000_000;

/// Characters of a `custom_id`.
const MAX_ID: usize = 64;

/// One request of a batch; what its params hold is looked at when it is executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its `custom_id`.
    pub id: Box<str>,
    /// Its `params`, byte for byte.
    pub params: Bytes,
}

/// A creation that passed all checks.
#[derive(Debug, PartialEq, Eq)]
pub struct Create {
    /// The requests.
    pub lines: Vec<Line>,
    /// What the call's headers said.
    pub dialect: Dialect,
}

/// The answer to a batch that is too large.
pub fn too_large() -> ApiError {
    ApiError::new(413, "Request exceeds the maximum size")
}

impl Create {
    /// Reads a body. Takes about a second for the largest.
    pub fn parse(body: &Bytes, dialect: Dialect) -> Result<Self, ApiError> {
        if body.len() > MAX_BYTES {
            return Err(too_large());
        }
        let fields = std::str::from_utf8(body).ok().and_then(Fields::parse);
        let fields = fields.ok_or_else(|| ApiError::invalid("The request body is not valid JSON"))?;
        if let Some(name) = fields.names().find(|name| *name != "requests") {
            return Err(ApiError::extra(name));
        }
        let raw = fields.get("requests").ok_or_else(|| ApiError::missing("requests"))?;
        let requests =
            json::list(raw).ok_or_else(|| ApiError::invalid("requests: Input should be a valid list"))?;
        if requests.is_empty() {
            let message = "requests: List should have at least 1 item after validation, not 0";
            return Err(ApiError::invalid(message));
        }
        if requests.len() > MAX_REQUESTS {
            return Err(too_large());
        }
        let mut ids = HashSet::with_capacity(requests.len());
        let mut lines = Vec::with_capacity(requests.len());
        for (index, raw) in requests.into_iter().enumerate() {
            let line = line(body, index, raw)?;
            if !ids.insert(line.id.clone()) {
                let message = format!("requests.{index}.custom_id: Duplicate custom_id '{}'", line.id);
                return Err(ApiError::invalid(message));
            }
            lines.push(line);
        }
        Ok(Self { lines, dialect })
    }
}

fn line(body: &Bytes, index: usize, raw: &RawValue) -> Result<Line, ApiError> {
    let place = |name: &str| format!("requests.{index}.{name}");
    let not_an_object = |name: &str| ApiError::invalid(format!("{name}: Input should be a valid dictionary"));
    let fields = json::object(raw).ok_or_else(|| not_an_object(&format!("requests.{index}")))?;
    if let Some(name) = fields.names().find(|name| !["custom_id", "params"].contains(name)) {
        return Err(ApiError::extra(&place(name)));
    }
    let id = fields.get("custom_id").ok_or_else(|| ApiError::missing(&place("custom_id")))?;
    let id = json::text(id).filter(|id| is_id(id)).ok_or_else(|| {
        let place = place("custom_id");
        ApiError::invalid(format!("{place}: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"))
    })?;
    let params = fields.get("params").ok_or_else(|| ApiError::missing(&place("params")))?;
    if !params.get().starts_with('{') {
        return Err(not_an_object(&place("params")));
    }
    Ok(Line { id: id.as_ref().into(), params: body.slice_ref(params.get().as_bytes()) })
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &str) -> Result<Create, ApiError> {
        Create::parse(&Bytes::copy_from_slice(body.as_bytes()), Dialect::default())
    }

    #[test]
    fn good_ones_keep_their_bytes() {
        let create = parse(r#"{"requests":[{"custom_id":"a-_9","params":{ "b":1.0, "b":1e999 }}]}"#).unwrap();
        assert_eq!(&*create.lines[0].id, "a-_9");
        assert_eq!(create.lines[0].params, r#"{ "b":1.0, "b":1e999 }"#);
    }

    #[test]
    fn bad_ones_are_refused() {
        let long = "x".repeat(65);
        for (requests, field) in [
            ("[]", "requests"),
            ("{}", "requests"),
            ("[1]", "requests.0"),
            (r#"[{"params":{}}]"#, "requests.0.custom_id"),
            (r#"[{"custom_id":1,"params":{}}]"#, "requests.0.custom_id"),
            (r#"[{"custom_id":"","params":{}}]"#, "requests.0.custom_id"),
            (r#"[{"custom_id":"a b","params":{}}]"#, "requests.0.custom_id"),
            (&format!(r#"[{{"custom_id":"{long}","params":{{}}}}]"#), "requests.0.custom_id"),
            (r#"[{"custom_id":"a"}]"#, "requests.0.params"),
            (r#"[{"custom_id":"a","params":[]}]"#, "requests.0.params"),
            (r#"[{"custom_id":"a","params":{},"method":"POST"}]"#, "requests.0.method"),
            (r#"[{"custom_id":"a","params":{}},{"custom_id":"a","params":{}}]"#, "requests.1.custom_id"),
        ] {
            let error = parse(&format!(r#"{{"requests":{requests}}}"#)).expect_err(requests);
            assert_eq!((error.status, error.message.split(':').next()), (400, Some(field)));
        }
        assert!(parse("{}").unwrap_err().message.starts_with("requests: Field required"));
        assert!(
            parse(r#"{"requests":[],"metadata":{}}"#).unwrap_err().message.starts_with("metadata: Extra")
        );
        assert_eq!(parse("nonsense").unwrap_err().status, 400);
        assert_eq!(parse("\u{feff}{}").unwrap_err().status, 400);
    }

    #[test]
    fn too_many_are_too_large() {
        let batch = |count: usize| {
            let one = |i| format!(r#"{{"custom_id":"{i}","params":{{}}}}"#);
            format!(r#"{{"requests":[{}]}}"#, (0..count).map(one).collect::<Vec<_>>().join(","))
        };
        assert_eq!(parse(&batch(MAX_REQUESTS)).unwrap().lines.len(), MAX_REQUESTS);
        let error = parse(&batch(MAX_REQUESTS + 1)).unwrap_err();
        assert_eq!((error.status, error.kind()), (413, "request_too_large"));
        // Only its size is looked at.
        let bytes = Bytes::from(vec![0; MAX_BYTES + 1]);
        assert_eq!(Create::parse(&bytes, Dialect::default()).unwrap_err().status, 413);
    }
}
