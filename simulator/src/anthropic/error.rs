//! Anthropic's error object.

use serde_json::{Value, json};

/// An error as `{"type":"error","error":{"type","message"},"request_id"}` with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// The error's `message`.
    pub message: String,
    /// The error's `details.error_code`, where it has details.
    pub code: Option<String>,
    /// Seconds for a `retry-after` header.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// An error whose type is the one that goes with its status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), code: None, retry_after: None }
    }

    /// 400 for a body that is not as it should be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// 400 for a field that is not there.
    pub fn missing(field: &str) -> Self {
        Self::invalid(format!("{field}: Field required"))
    }

    /// 400 for a field that nobody knows.
    pub fn extra(field: &str) -> Self {
        Self::invalid(format!("{field}: Extra inputs are not permitted"))
    }

    /// 404 for a model nobody has.
    pub fn no_model(model: &str) -> Self {
        Self::new(404, format!("model: {model}"))
    }

    /// The error's `type` (Anthropic's list of errors; statuses without one take that of their class).
    pub fn kind(&self) -> &'static str {
        match self.status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            409 => "conflict_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            504 => "timeout_error",
            529 => "overloaded_error",
            500.. => "api_error",
            _ => "invalid_request_error",
        }
    }

    /// The body, as an answer has it and an errored line too.
    pub fn view(&self, request_id: &str) -> Value {
        let mut error = json!({"type": self.kind(), "message": self.message});
        if let Some(code) = &self.code {
            error["details"] = json!({"error_code": code});
        }
        json!({"type": "error", "error": error, "request_id": request_id})
    }
}
