//! `OpenAI`'s error object.

use serde_json::{Value, json};

/// An error as `{"error":{message,type,param,code}}` with its HTTP status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// HTTP status, 400 to 599.
    pub status: u16,
    /// The error's `message`.
    pub message: String,
    /// The error's `type`.
    pub kind: &'static str,
    /// The error's `param`.
    pub param: Option<String>,
    /// The error's `code`.
    pub code: Option<String>,
    /// Seconds for a `retry-after` header.
    pub retry_after: Option<u64>,
}

/// The type of most errors.
pub(crate) const INVALID: &str = "invalid_request_error";

impl ApiError {
    /// An error with the type that goes with its status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        let kind = match status {
            429 => "rate_limit_error",
            500.. => "server_error",
            _ => INVALID,
        };
        Self { status, message: message.into(), kind, param: None, code: None, retry_after: None }
    }

    /// 400 with a param and a code; both may be empty for null.
    pub fn invalid(message: impl Into<String>, param: &str, code: &str) -> Self {
        Self::new(400, message).param(param).code(code)
    }

    /// 400 for a parameter that is not there.
    pub fn missing(param: &str) -> Self {
        Self::invalid(format!("Missing required parameter: '{param}'."), param, "missing_required_parameter")
    }

    /// 400 for a value of the wrong JSON type.
    pub fn wrong_type(param: &str, expected: &str, got: &str) -> Self {
        let message = format!("Invalid type for '{param}': expected {expected}, but got {got} instead.");
        Self::invalid(message, param, "invalid_type")
    }

    /// 400 for a value that is not one of those allowed.
    pub fn unsupported_value(param: &str, value: &str, allowed: &[&str]) -> Self {
        let allowed = allowed.iter().map(|value| format!("'{value}'")).collect::<Vec<_>>().join(", ");
        let message = format!("Invalid value: '{value}'. Supported values are: {allowed}.");
        Self::invalid(message, param, "invalid_value")
    }

    /// 404 for a model nobody has.
    pub fn no_model(model: &str) -> Self {
        let message = format!("The model `{model}` does not exist or you do not have access to it.");
        Self::new(404, message).code("model_not_found")
    }

    /// 429 with the seconds to wait.
    pub fn too_many(message: impl Into<String>, retry_after: u64) -> Self {
        let error = Self::new(429, message).code("rate_limit_exceeded");
        Self { kind: "requests", retry_after: Some(retry_after), ..error }
    }

    /// Sets `param`; empty means null.
    pub fn param(mut self, param: &str) -> Self {
        self.param = (!param.is_empty()).then(|| param.to_owned());
        self
    }

    /// Sets `code`; empty means null.
    pub fn code(mut self, code: &str) -> Self {
        self.code = (!code.is_empty()).then(|| code.to_owned());
        self
    }

    /// The status and the body of `OpenAI`'s API.
    pub fn openai(&self) -> (u16, Value) {
        let body =
            json!({"message": self.message, "type": self.kind, "param": self.param, "code": self.code});
        (self.status, json!({"error": body}))
    }
}
