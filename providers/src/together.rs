//! Together (its SDK's types and upload): uploads in two steps, creations that are answered with a wrapped job, a list that is
//! nothing but jobs, and statuses in capitals.
//!
//! A job has no metadata and no name, so none carries a batch's id; but it names its input file, which is made for it alone.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use serde_json::json;

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::{Caps, Marks};
use crate::compatible::is_unknown_file;
use crate::job::{File, Job, Page, Unreadable};
use crate::provider::{Call, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};
use crate::{json, openai};

/// Together.
#[derive(Debug, Clone, Copy)]
pub struct Together;

static ABOUT: About = About {
    name: "together",
    title: "Together",
    dialect: Dialect::OpenAi,
    base_url: "https://api.together.xyz/v1",
    key: Key::bearer(&["TOGETHER_API_KEY"]),
    endpoints: &["/v1/chat/completions"],
    // From memory; its SDK's chunks have a place for it.
    stream_usage: StreamUsage::LastChunk,
    caps: Caps {
        // 100 MB a file, with 5 % of headroom.
        max_bytes: 95_000_000,
        marks_jobs: Marks::Never,
        poll_min: Duration::from_secs(5),
        // Up to half less, for some models only: the others cost what they cost.
        price_percent: 50,
        ..Caps::OPENAI
    },
};

impl Provider for Together {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_line(out, line.custom_id, line.endpoint, line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::line_len(line.custom_id, line.endpoint, body)
    }

    fn upload(&self, name: &str) -> Upload {
        Upload::Presigned {
            start: announce(name),
            file_id: "x-together-file-id",
            finish: ("files", "preprocess"),
        }
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        let body = json!({
            "input_file_id": file,
            "endpoint": new.endpoint,
            "completion_window": "24h",
            "model_id": new.model,
        });
        Call::post(["batches"], body.to_string())
    }

    fn read_created(&self, body: &[u8]) -> Result<Job, Unreadable> {
        let value = json::parse(body)?;
        openai::read_job(value.get("job").unwrap_or(&value))
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["batches", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        openai::read_job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["batches", job, "cancel"])
    }

    fn list_jobs(&self, _after: Option<&str>) -> Call {
        Call::get(["batches"])
    }

    /// All there are: there are no pages.
    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        Ok(Page { next: None, ..openai::list(body, usize::MAX, openai::read_job)? })
    }

    fn list_files(&self, _after: Option<&str>) -> Option<Call> {
        Some(Call::get(["files"]))
    }

    /// All there are: there are no pages.
    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        Ok(Page { next: None, ..openai::list(body, usize::MAX, openai::read_file)? })
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        openai::read_file(&json::parse(body)?)
    }

    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(openai::delete_file(artifact))
    }

    fn results(&self, artifact: &str) -> Source {
        openai::lines_of(artifact)
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        openai::parse_result_line(line)
    }

    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool {
        openai::is_missing_file(status, body) || is_unknown_file(status, body)
    }
}

/// The call that asks for a place: a form without a file. (Its SDK sends a checksum, too, by which the same file is refused a
/// second time; it is not asked for, and a stream has none before its end.)
fn announce(name: &str) -> Call {
    const BOUNDARY: &str = "llm-proxy-form-7f3c1a9e";
    let mut form = String::new();
    for (field, value) in [("purpose", "batch-api"), ("file_name", name), ("file_type", "jsonl")] {
        form.push_str(&format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{field}\"\r\n\r\n{value}\r\n"
        ));
    }
    form.push_str(&format!("--{BOUNDARY}--\r\n"));
    let mut call = Call { body: Bytes::from(form), ..Call::new(Method::POST, ["files"]) };
    let kind = HeaderValue::from_static("multipart/form-data; boundary=llm-proxy-form-7f3c1a9e");
    call.headers.insert(CONTENT_TYPE, kind);
    call
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Phase;
    use crate::provider::tests::{NEW, json_body};

    #[test]
    fn an_upload_begins_with_a_form_without_a_file() {
        let Upload::Presigned { start, file_id, finish } = Together.upload("f.jsonl") else {
            panic!("not presigned")
        };
        assert_eq!((file_id, finish), ("x-together-file-id", ("files", "preprocess")));
        let boundary = start.headers[CONTENT_TYPE].to_str().unwrap().split_once("boundary=").unwrap().1;
        let form = String::from_utf8(start.body.to_vec()).unwrap();
        assert!(
            form.starts_with(&format!("--{boundary}\r\n")) && form.ends_with(&format!("--{boundary}--\r\n"))
        );
        assert!(form.contains("name=\"file_name\"\r\n\r\nf.jsonl\r\n"));
        assert!(form.contains("name=\"purpose\"\r\n\r\nbatch-api\r\n"));
        let file = br#"{"id":"f","filename":"f.jsonl","Processed":true,"created_at":1795946400}"#;
        assert_eq!(Together.read_file(file).unwrap().name, "f.jsonl");
    }

    #[test]
    fn a_creation_says_nothing_but_what_is_known() {
        let expected = json!({"input_file_id": "f", "endpoint": "/v1/chat/completions", "completion_window": "24h",
            "model_id": "m"});
        assert_eq!(json_body(&Together.create(&NEW, "f")), expected);
        let answer = br#"{"job":{"id":"j","status":"VALIDATING","input_file_id":"f"},"warning":""}"#;
        let job = Together.read_created(answer).unwrap();
        assert_eq!((job.id.as_str(), job.input.as_deref(), job.phase), ("j", Some("f"), Phase::Running));
        assert!(Together.read_created(br#"{"error":{"message":"no"}}"#).is_err());
        assert_eq!(Together.delete("f"), Some(openai::delete_file("f")));
    }

    #[test]
    fn jobs_are_a_bare_list_with_capitals_and_an_error_that_is_text() {
        let page = br#"[{"id":"a","status":"COMPLETED","created_at":"2026-11-29T10:00:00.0000000Z","progress":100.0,
            "output_file_id":"o","error_file_id":"","error":""},
            {"id":"b","status":"FAILED","error":"bad line"},{"id":"c","status":"EXPIRED"},{"id":"d","status":"CANCELLED"},
            {"id":"e","status":"IN_PROGRESS"}]"#;
        let page = Together.read_jobs(page, None).unwrap();
        let phases: Vec<Phase> = page.items.iter().map(|job| job.phase).collect();
        let expected = [Phase::Completed, Phase::Failed, Phase::Expired, Phase::Cancelled, Phase::Running];
        assert_eq!(phases, expected);
        assert_eq!((page.items[0].created_at, page.next), (Some(1_795_946_400), None));
        assert_eq!((page.items[0].errors.len(), page.items[0].errors_in.as_deref()), (0, None));
        assert_eq!(page.items[1].errors[0].message, "bad line");
    }
}
