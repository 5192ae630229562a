//! The objects that `OpenAI`'s Files and Batch API answer with, read leniently.
//!
//! Compatible providers capitalise statuses, write times as strings, leave counts null, write an absent file id as
//! an empty string, and answer 200 with an error inside; none of that may lose a batch.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// A batch as the provider describes it (`OpenAI` API reference, "The batch object").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchObject {
    /// The provider's id of the job; never empty.
    pub id: String,
    /// How far it is.
    pub status: Status,
    /// The input file it was created from.
    pub input_file_id: Option<String>,
    /// The file of answers, once there are any.
    pub output_file_id: Option<String>,
    /// The file of lines that failed, if any did.
    pub error_file_id: Option<String>,
    /// When it was created, in unix seconds.
    pub created_at: Option<i64>,
    /// When the provider gives it up, in unix seconds.
    pub expires_at: Option<i64>,
    /// How many lines are done; need not add up.
    pub counts: Option<Counts>,
    /// Why the batch as a whole failed.
    pub errors: Vec<BatchError>,
    /// What its creator wrote on it.
    pub metadata: BTreeMap<String, String>,
}

/// How far a batch is. `Display` gives `OpenAI`'s spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// The input file is being checked.
    Validating,
    /// Lines are being executed.
    InProgress,
    /// Result files are being written.
    Finalizing,
    /// Over: every line was tried. Says nothing about their success.
    Completed,
    /// Over: the input was refused as a whole, nothing was executed.
    Failed,
    /// Over: out of time, perhaps with some lines done.
    Expired,
    /// On its way to cancelled; lines in flight still finish.
    Cancelling,
    /// Over: perhaps with some lines done.
    Cancelled,
    /// Something else; not taken for an end.
    Unknown(String),
}

/// The lines of a batch, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// All lines; 0 while validating.
    pub total: u64,
    /// Lines that succeeded.
    pub completed: u64,
    /// Lines that failed.
    pub failed: u64,
}

/// One reason for which a batch failed as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchError {
    /// Such as `invalid_json_line` or `token_limit_exceeded`; an open set, empty if there was none.
    pub code: String,
    /// The line of the input file, as the provider counts.
    pub line: Option<u64>,
    /// For people.
    pub message: String,
    /// The field that is wrong, if one is named.
    pub param: Option<String>,
}

/// A file as the provider describes it (`OpenAI` API reference, "The file object").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileObject {
    /// The provider's id of the file; never empty.
    pub id: String,
    /// The name given at upload, empty if the provider does not tell.
    pub filename: String,
    /// Its length in bytes.
    pub bytes: Option<u64>,
    /// When it was uploaded, in unix seconds.
    pub created_at: Option<i64>,
    /// `uploaded`, `processed` or `error`; deprecated at `OpenAI`, waited for at Azure.
    pub status: Option<String>,
}

/// Why an answer is not the object it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ObjectError {
    /// Not JSON, or JSON cut off.
    #[error("the answer is not JSON")]
    NotJson,
    /// An error where an object was due, with a success status.
    #[error("the answer is an error: {0}")]
    Error(String),
    /// An object with no id, or no object.
    #[error("the answer has no id")]
    NoId,
}

impl BatchObject {
    /// Reads an answer's body.
    ///
    /// # Errors
    /// [`ObjectError`] if there is no batch in it.
    pub fn parse(body: &[u8]) -> Result<Self, ObjectError> {
        Self::read(body)
    }
}

impl FileObject {
    /// Reads an answer's body.
    ///
    /// # Errors
    /// [`ObjectError`] if there is no file in it.
    pub fn parse(body: &[u8]) -> Result<Self, ObjectError> {
        Self::read(body)
    }
}

/// What lists are made of.
pub(super) trait Object: Sized {
    fn from_value(value: &Value) -> Result<Self, ObjectError>;
    fn created_at(&self) -> Option<i64>;

    fn read(body: &[u8]) -> Result<Self, ObjectError> {
        Self::from_value(&json(body)?)
    }
}

impl Object for BatchObject {
    fn from_value(value: &Value) -> Result<Self, ObjectError> {
        Ok(Self {
            id: id(value)?,
            status: Status::from(string(&value["status"]).unwrap_or_default()),
            input_file_id: string(&value["input_file_id"]),
            output_file_id: string(&value["output_file_id"]),
            error_file_id: string(&value["error_file_id"]),
            created_at: seconds(&value["created_at"]),
            expires_at: seconds(&value["expires_at"]),
            counts: counts(&value["request_counts"]),
            errors: errors(&value["errors"]),
            metadata: metadata(&value["metadata"]),
        })
    }

    fn created_at(&self) -> Option<i64> {
        self.created_at
    }
}

impl Object for FileObject {
    fn from_value(value: &Value) -> Result<Self, ObjectError> {
        Ok(Self {
            id: id(value)?,
            filename: string(&value["filename"]).unwrap_or_default(),
            bytes: integer(&value["bytes"]),
            created_at: seconds(&value["created_at"]),
            status: string(&value["status"]),
        })
    }

    fn created_at(&self) -> Option<i64> {
        self.created_at
    }
}

/// One page of a list, newest first.
#[derive(Debug)]
pub(super) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The id to continue after, if there is more.
    pub(super) next: Option<String>,
}

impl<T: Object> Page<T> {
    /// Reads a page; the items stand under `data` or `value`, or are the answer itself. What is not an object of its kind is
    /// left out. `asked` is the number of items asked for: where `has_more` is missing, a full page says that there is more.
    pub(super) fn parse(body: &[u8], asked: usize) -> Result<Self, ObjectError> {
        let page = json(body)?;
        let list = [&page["data"], &page["value"], &page].into_iter().find_map(Value::as_array);
        let Some(list) = list else {
            return Err(page
                .get("error")
                .map_or(ObjectError::NoId, |error| ObjectError::Error(error_text(error))));
        };
        let more = match (&page["has_more"], &page["nextLink"]) {
            (Value::Bool(more), _) => *more,
            (_, Value::String(link)) => !link.is_empty(),
            _ => list.len() >= asked,
        };
        let last = || list.last().and_then(|item| string(&item["id"]));
        let next = if more { string(&page["last_id"]).or_else(last) } else { None };
        Ok(Self { items: list.iter().filter_map(|item| T::from_value(item).ok()).collect(), next })
    }
}

impl Status {
    /// Whether the batch is over: nothing more will be executed or written.
    pub fn is_terminal(&self) -> bool {
        matches!(self, Status::Completed | Status::Failed | Status::Expired | Status::Cancelled)
    }

    fn name(&self) -> &str {
        match self {
            Status::Validating => "validating",
            Status::InProgress => "in_progress",
            Status::Finalizing => "finalizing",
            Status::Completed => "completed",
            Status::Failed => "failed",
            Status::Expired => "expired",
            Status::Cancelling => "cancelling",
            Status::Cancelled => "cancelled",
            Status::Unknown(name) => name,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl From<String> for Status {
    /// Reads a status in any case, with or without separators, in British or American spelling.
    fn from(name: String) -> Self {
        let letters = name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase());
        match letters.collect::<String>().as_str() {
            "validating" => Status::Validating,
            "inprogress" => Status::InProgress,
            "finalizing" | "finalising" => Status::Finalizing,
            "completed" => Status::Completed,
            "failed" => Status::Failed,
            "expired" => Status::Expired,
            "cancelling" | "canceling" => Status::Cancelling,
            "cancelled" | "canceled" => Status::Cancelled,
            _ => Status::Unknown(name),
        }
    }
}

/// The message of an `{"error": ..}` body, in any of the shapes seen; `None` if the body is nothing of the kind.
pub(super) fn error_message(body: &[u8]) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    body.get("error").map(error_text)
}

/// The `code` and `param` of an `{"error": ..}` body, empty where absent.
pub(super) fn error_field(body: &[u8], field: &str) -> Option<String> {
    let body: Value = serde_json::from_slice(body).ok()?;
    string(&body["error"][field])
}

fn error_text(error: &Value) -> String {
    string(&error["message"]).or_else(|| string(error)).unwrap_or_else(|| error.to_string())
}

fn json(body: &[u8]) -> Result<Value, ObjectError> {
    serde_json::from_slice(body).map_err(|_| ObjectError::NotJson)
}

fn id(value: &Value) -> Result<String, ObjectError> {
    string(&value["id"]).ok_or_else(|| match &value["error"] {
        Value::Null => ObjectError::NoId,
        error => ObjectError::Error(error_text(error)),
    })
}

/// A string that says something: the empty one counts as absent.
fn string(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

fn integer(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Unix seconds from a number, a number in a string, or an ISO 8601 time (UTC if it names no zone). Zero is absent.
fn seconds(value: &Value) -> Option<i64> {
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

/// The counts, if any of them is there.
fn counts(value: &Value) -> Option<Counts> {
    let [total, completed, failed] = ["total", "completed", "failed"].map(|field| integer(&value[field]));
    total.or(completed).or(failed)?;
    let [total, completed, failed] = [total, completed, failed].map(Option::unwrap_or_default);
    Some(Counts { total, completed, failed })
}

/// A list object, a bare list, one object, or one string.
fn errors(value: &Value) -> Vec<BatchError> {
    match value {
        Value::Array(list) => list.iter().flat_map(errors).collect(),
        Value::String(message) => vec![BatchError { message: message.clone(), ..BatchError::default() }],
        Value::Object(object) => match object.get("data") {
            Some(list) => errors(list),
            None if object.is_empty() => Vec::new(),
            None => vec![BatchError {
                code: string(&value["code"]).unwrap_or_default(),
                line: integer(&value["line"]),
                message: string(&value["message"]).unwrap_or_default(),
                param: string(&value["param"]),
            }],
        },
        _ => Vec::new(),
    }
}

fn metadata(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    value.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openais_own_batch_is_read_in_full() {
        let body = br#"{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","errors":{"object":"list","data":[
            {"code":"duplicate_custom_id","line":3,"message":"Twice.","param":"custom_id"},
            {"code":"token_limit_exceeded","line":null,"message":"Full.","param":null}]},
            "input_file_id":"file-1","completion_window":"24h","status":"failed","output_file_id":null,"error_file_id":"",
            "created_at":1711471533,"expires_at":1711557933,"request_counts":{"total":3,"completed":1,"failed":2},
            "metadata":{"llmp_bid":"b","n":1}}"#;
        let batch = BatchObject::parse(body).unwrap();
        assert_eq!((batch.id.as_str(), batch.status), ("batch_1", Status::Failed));
        assert_eq!(batch.input_file_id.as_deref(), Some("file-1"));
        assert_eq!((batch.output_file_id, batch.error_file_id), (None, None));
        assert_eq!((batch.created_at, batch.expires_at), (Some(1_711_471_533), Some(1_711_557_933)));
        assert_eq!(batch.counts, Some(Counts { total: 3, completed: 1, failed: 2 }));
        assert_eq!(batch.errors.len(), 2);
        assert_eq!(batch.errors[0].line, Some(3));
        assert_eq!((batch.errors[1].code.as_str(), batch.errors[1].line), ("token_limit_exceeded", None));
        assert_eq!(batch.metadata["llmp_bid"], "b");
        assert_eq!(batch.metadata["n"], "1");
    }

    #[test]
    fn other_providers_spellings_are_read() {
        let body = br#"{"id":"b","status":"In_Progress","created_at":"2024-03-26T16:45:33+00:00","expires_at":"1711557933",
            "request_counts":{"total":null,"failed":null},"errors":"no","metadata":null,"output_file_id":7}"#;
        let batch = BatchObject::parse(body).unwrap();
        assert_eq!(batch.status, Status::InProgress);
        assert_eq!((batch.created_at, batch.expires_at), (Some(1_711_471_533), Some(1_711_557_933)));
        assert_eq!((batch.counts, batch.output_file_id), (None, None));
        assert_eq!(batch.errors[0].message, "no");
        assert_eq!(seconds(&"2024-03-26T16:45:33.5".into()), Some(1_711_471_533));
        assert_eq!(seconds(&1_711_471_533.9.into()), Some(1_711_471_533));
        assert_eq!(seconds(&0.into()), None);
        for (name, terminal) in [("Canceled", true), ("COMPLETED", true), ("finalizing", false), ("", false)]
        {
            assert_eq!(Status::from(name.to_owned()).is_terminal(), terminal, "{name}");
        }
        assert_eq!(Status::from("PROGRESS".to_owned()).to_string(), "PROGRESS");
    }

    #[test]
    fn what_is_no_batch_says_why() {
        let error = |body: &str| BatchObject::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error(r#"{"error":{"message":"gone","code":null}}"#), ObjectError::Error("gone".into()));
        assert_eq!(error(r#"{"error":"gone"}"#), ObjectError::Error("gone".into()));
        assert_eq!(error(r#"{"id":""}"#), ObjectError::NoId);
        assert_eq!(error("[]"), ObjectError::NoId);
        assert_eq!(error("<html>"), ObjectError::NotJson);
        assert_eq!(error(r#"{"id":"b","sta"#), ObjectError::NotJson);
    }

    #[test]
    fn pages_are_read_from_data_value_or_a_bare_list() {
        let page = |body: &str| Page::<FileObject>::parse(body.as_bytes(), 2).unwrap();
        let ids = |page: &Page<FileObject>| page.items.iter().map(|file| file.id.clone()).collect::<Vec<_>>();
        let openai = page(r#"{"data":[{"id":"a"},{"error":{}}],"has_more":true,"last_id":"z"}"#);
        assert_eq!((ids(&openai), openai.next.as_deref()), (vec!["a".into()], Some("z")));
        let azure = page(r#"{"value":[{"id":"a"}],"nextLink":"https://x"}"#);
        assert_eq!((ids(&azure), azure.next.as_deref()), (vec!["a".into()], Some("a")));
        let bare = page(r#"[{"id":"a"},{"id":"b"}]"#);
        assert_eq!((ids(&bare), bare.next.as_deref()), (vec!["a".into(), "b".into()], Some("b")));
        assert_eq!(page(r#"{"data":[{"id":"a"}]}"#).next, None);
        assert_eq!(page(r#"{"data":[],"has_more":false}"#).next, None);
        let error = Page::<FileObject>::parse(br#"{"error":{"message":"no"}}"#, 2).unwrap_err();
        assert_eq!(error, ObjectError::Error("no".into()));
    }
}
