//! The objects that OpenAI's Files and Batch API answer with, read leniently.
//!
//! Compatible providers capitalise statuses, write times as strings, leave counts null, write an absent file id as
//! an empty string, and answer 200 with an error inside; none of that may lose a batch.

use serde_json::Value;

use crate::BATCH_ID;
use crate::job::{Counts, File, Job, JobError, Page, Phase, Unreadable};
use crate::json::{error_text, id, integer, parse, seconds, string};

/// Reads a batch (API reference, "The batch object").
///
/// # Errors
/// [`Unreadable`] if there is none.
pub fn read_job(value: &Value) -> Result<Job, Unreadable> {
    let (phase, status) = status(string(&value["status"]).unwrap_or_default());
    Ok(Job {
        id: id(value)?,
        phase,
        status,
        input: string(&value["input_file_id"]),
        output: string(&value["output_file_id"]),
        errors_in: string(&value["error_file_id"]),
        counts: counts(&value["request_counts"]),
        errors: Some(errors(&value["errors"]))
            .filter(|list| !list.is_empty())
            .unwrap_or_else(|| errors(&value["error"])),
        batch: string(&value["metadata"][BATCH_ID]),
        created_at: seconds(&value["created_at"]),
    })
}

/// Reads a file (API reference, "The file object").
///
/// # Errors
/// [`Unreadable`] if there is none.
pub fn read_file(value: &Value) -> Result<File, Unreadable> {
    Ok(File {
        id: id(value)?,
        name: string(&value["filename"]).unwrap_or_default(),
        created_at: seconds(&value["created_at"]),
        ready: true,
    })
}

/// Reads a page; the items stand under `data` or `value`, or are the answer itself. What is not an object of its kind is
/// left out. `asked` is the number of items asked for: where `has_more` is missing, a full page says that there is more.
///
/// # Errors
/// [`Unreadable`] if there is no list.
pub fn list<T>(
    body: &[u8],
    asked: usize,
    read: impl Fn(&Value) -> Result<T, Unreadable>,
) -> Result<Page<T>, Unreadable> {
    let page = parse(body)?;
    let list = [&page["data"], &page["value"], &page].into_iter().find_map(Value::as_array);
    let Some(list) = list else {
        return Err(page.get("error").map_or(Unreadable::NoId, |error| Unreadable::Error(error_text(error))));
    };
    let more = match (&page["has_more"], &page["nextLink"]) {
        (Value::Bool(more), _) => *more,
        (_, Value::String(link)) => !link.is_empty(),
        _ => list.len() >= asked,
    };
    let last = || list.last().and_then(|item| string(&item["id"]));
    let next = if more { string(&page["last_id"]).or_else(last) } else { None };
    Ok(Page { items: list.iter().filter_map(|item| read(item).ok()).collect(), next })
}

/// What a status means, and OpenAI's word for it. Read in any case, with or without separators, in British or American
/// spelling.
pub fn status(name: String) -> (Phase, String) {
    let letters = name.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase());
    let (phase, word) = match letters.collect::<String>().as_str() {
        "validating" => (Phase::Running, "validating"),
        "inprogress" => (Phase::Running, "in_progress"),
        "finalizing" | "finalising" => (Phase::Running, "finalizing"),
        "completed" => (Phase::Completed, "completed"),
        "failed" => (Phase::Failed, "failed"),
        "expired" => (Phase::Expired, "expired"),
        "cancelling" | "canceling" => (Phase::Running, "cancelling"),
        "cancelled" | "canceled" => (Phase::Cancelled, "cancelled"),
        _ => return (Phase::Running, name),
    };
    (phase, word.to_owned())
}

/// The counts, if any of them is there.
fn counts(value: &Value) -> Option<Counts> {
    let [total, completed, failed] = ["total", "completed", "failed"].map(|field| integer(&value[field]));
    total.or(completed).or(failed)?;
    let [total, completed, failed] = [total, completed, failed].map(Option::unwrap_or_default);
    Some(Counts { total, completed, failed })
}

/// A list object, a bare list, one object, or one string.
fn errors(value: &Value) -> Vec<JobError> {
    match value {
        Value::Array(list) => list.iter().flat_map(errors).collect(),
        Value::String(message) if !message.is_empty() => {
            vec![JobError { message: message.clone(), ..JobError::default() }]
        }
        Value::Object(object) => match object.get("data") {
            Some(list) => errors(list),
            None if object.is_empty() => Vec::new(),
            None => vec![JobError {
                code: string(&value["code"]).unwrap_or_default(),
                line: integer(&value["line"]),
                message: string(&value["message"]).unwrap_or_default(),
            }],
        },
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(body: &[u8]) -> Result<Job, Unreadable> {
        read_job(&parse(body)?)
    }

    #[test]
    fn openais_own_batch_is_read_in_full() {
        let body = br#"{"id":"batch_1","object":"batch","endpoint":"/v1/chat/completions","errors":{"object":"list","data":[
            {"code":"duplicate_custom_id","line":3,"message":"Twice.","param":"custom_id"},
            {"code":"token_limit_exceeded","line":null,"message":"Full.","param":null}]},
            "input_file_id":"file-1","completion_window":"24h","status":"failed","output_file_id":null,"error_file_id":"",
            "created_at":1711471533,"expires_at":1711557933,"request_counts":{"total":3,"completed":1,"failed":2},
            "metadata":{"llmp_bid":"b","n":1}}"#;
        let job = job(body).unwrap();
        assert_eq!((job.id.as_str(), job.phase, job.status.as_str()), ("batch_1", Phase::Failed, "failed"));
        assert_eq!(job.input.as_deref(), Some("file-1"));
        assert_eq!((job.output, job.errors_in), (None, None));
        assert_eq!(job.created_at, Some(1_711_471_533));
        assert_eq!(job.counts, Some(Counts { total: 3, completed: 1, failed: 2 }));
        assert_eq!(job.errors.len(), 2);
        assert_eq!(job.errors[0].line, Some(3));
        assert_eq!((job.errors[1].code.as_str(), job.errors[1].line), ("token_limit_exceeded", None));
        assert_eq!(job.batch.as_deref(), Some("b"));
    }

    #[test]
    fn other_providers_spellings_are_read() {
        let body = br#"{"id":"b","status":"In_Progress","created_at":"2024-03-26T16:45:33+00:00","expires_at":"1711557933",
            "request_counts":{"total":null,"failed":null},"errors":"no","metadata":null,"output_file_id":7}"#;
        let job = job(body).unwrap();
        assert_eq!((job.phase, job.status.as_str()), (Phase::Running, "in_progress"));
        assert_eq!((job.created_at, job.counts, job.output), (Some(1_711_471_533), None, None));
        assert_eq!(job.errors[0].message, "no");
        for (name, phase) in [
            ("Canceled", Phase::Cancelled),
            ("COMPLETED", Phase::Completed),
            ("finalizing", Phase::Running),
            ("", Phase::Running),
        ] {
            assert_eq!(status(name.to_owned()).0, phase, "{name}");
        }
        assert_eq!(status("PROGRESS".to_owned()), (Phase::Running, "PROGRESS".to_owned()));
    }

    #[test]
    fn what_is_no_batch_says_why() {
        let error = |body: &str| job(body.as_bytes()).unwrap_err();
        assert_eq!(error(r#"{"error":{"message":"gone","code":null}}"#), Unreadable::Error("gone".into()));
        assert_eq!(error(r#"{"error":"gone"}"#), Unreadable::Error("gone".into()));
        assert_eq!(error(r#"{"id":""}"#), Unreadable::NoId);
        assert_eq!(error("[]"), Unreadable::NoId);
        assert_eq!(error("<html>"), Unreadable::NotJson);
        assert_eq!(error(r#"{"id":"b","sta"#), Unreadable::NotJson);
    }

    #[test]
    fn pages_are_read_from_data_value_or_a_bare_list() {
        let page = |body: &str| list(body.as_bytes(), 2, read_file).unwrap();
        let ids = |page: &Page<File>| page.items.iter().map(|file| file.id.clone()).collect::<Vec<_>>();
        let openai = page(r#"{"data":[{"id":"a"},{"error":{}}],"has_more":true,"last_id":"z"}"#);
        assert_eq!((ids(&openai), openai.next.as_deref()), (vec!["a".into()], Some("z")));
        let azure = page(r#"{"value":[{"id":"a"}],"nextLink":"https://x"}"#);
        assert_eq!((ids(&azure), azure.next.as_deref()), (vec!["a".into()], Some("a")));
        let bare = page(r#"[{"id":"a"},{"id":"b"}]"#);
        assert_eq!((ids(&bare), bare.next.as_deref()), (vec!["a".into(), "b".into()], Some("b")));
        assert_eq!(page(r#"{"data":[{"id":"a"}]}"#).next, None);
        assert_eq!(page(r#"{"data":[],"has_more":false}"#).next, None);
        let error = list(br#"{"error":{"message":"no"}}"#, 2, read_file).unwrap_err();
        assert_eq!(error, Unreadable::Error("no".into()));
    }
}
