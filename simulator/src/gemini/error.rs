//! Google's error object.

use serde_json::{Value, json};

/// An error as `{"error":{code,message,status,details}}` with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, 400 to 599.
    pub http: u16,
    /// The error's `message`.
    pub message: String,
    /// The error's `status`, the name of a gRPC code.
    pub status: String,
    /// The `reason` of an `ErrorInfo` in its details.
    pub reason: Option<&'static str>,
    /// The field of a `BadRequest` in its details.
    pub field: Option<String>,
    /// Seconds for a `retry-after` header and a `RetryInfo` in its details.
    pub retry_after: Option<u64>,
}

/// gRPC codes with their numbers, and the HTTP status that goes with each (`google/rpc/code.proto`).
const CODES: [(&str, u32, u16); 16] = [
    ("INVALID_ARGUMENT", 3, 400),
    ("UNAUTHENTICATED", 16, 401),
    ("PERMISSION_DENIED", 7, 403),
    ("NOT_FOUND", 5, 404),
    ("ABORTED", 10, 409),
    ("RESOURCE_EXHAUSTED", 8, 429),
    ("CANCELLED", 1, 499),
    ("INTERNAL", 13, 500),
    ("UNIMPLEMENTED", 12, 501),
    ("UNAVAILABLE", 14, 503),
    ("DEADLINE_EXCEEDED", 4, 504),
    // Each of these shares its HTTP status with one above.
    ("FAILED_PRECONDITION", 9, 400),
    ("OUT_OF_RANGE", 11, 400),
    ("ALREADY_EXISTS", 6, 409),
    ("UNKNOWN", 2, 500),
    ("DATA_LOSS", 15, 500),
];

/// The number of a gRPC code; that of `UNKNOWN` for names that are none.
pub(crate) fn number(status: &str) -> u32 {
    CODES.iter().find(|(name, ..)| *name == status).map_or(2, |(_, number, _)| *number)
}

impl ApiError {
    /// An error with the gRPC code that goes with an HTTP status.
    pub fn new(http: u16, message: impl Into<String>) -> Self {
        let known = CODES.iter().find(|(.., status)| *status == http).map(|(name, ..)| *name);
        let status = known.unwrap_or(if http < 500 { "INVALID_ARGUMENT" } else { "INTERNAL" });
        let message = message.into();
        Self { http, message, status: status.into(), reason: None, field: None, retry_after: None }
    }

    /// 400 `INVALID_ARGUMENT`.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 400 `INVALID_ARGUMENT` for a field of the body, which may be empty for the body itself.
    pub fn at(field: &str, message: impl Into<String>) -> Self {
        Self { field: Some(field.to_owned()), ..Self::invalid(message) }
    }

    /// 400 `FAILED_PRECONDITION`.
    pub fn precondition(message: impl Into<String>) -> Self {
        Self { status: "FAILED_PRECONDITION".into(), ..Self::new(400, message) }
    }

    /// 404 for what is not there.
    pub fn not_found() -> Self {
        Self::new(404, "Requested entity was not found.")
    }

    /// 403 for a file that is not there, or that another key owns (this is how Google says both).
    pub fn no_file(id: &str) -> Self {
        Self::new(403, format!("You do not have permission to access the File {id} or it may not exist."))
    }

    /// The number of its gRPC code.
    pub fn number(&self) -> u32 {
        number(&self.status)
    }

    /// The body.
    pub fn body(&self) -> String {
        let mut details: Vec<Value> = Vec::new();
        if let Some(reason) = self.reason {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": reason,
                "domain": "googleapis.com",
                "metadata": {"service": "generativelanguage.googleapis.com"},
            }));
        }
        if let Some(field) = &self.field {
            let mut violation = json!({"description": self.message});
            if !field.is_empty() {
                violation["field"] = json!(field);
            }
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.BadRequest",
                "fieldViolations": [violation],
            }));
        }
        if let Some(seconds) = self.retry_after {
            details.push(json!({
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": format!("{seconds}s"),
            }));
        }
        let mut error = json!({"code": self.http, "message": self.message, "status": self.status});
        if !details.is_empty() {
            error["details"] = details.into();
        }
        json!({ "error": error }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_go_with_their_http_status() {
        assert_eq!(ApiError::new(429, "").status, "RESOURCE_EXHAUSTED");
        assert_eq!((ApiError::new(429, "").number(), ApiError::new(400, "").number()), (8, 3));
        assert_eq!(ApiError::new(418, "").status, "INVALID_ARGUMENT");
        assert_eq!(ApiError::new(599, "").status, "INTERNAL");
        assert_eq!((number("FAILED_PRECONDITION"), number("nonsense")), (9, 2));
    }
}
