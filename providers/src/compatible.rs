//! What many providers took over from OpenAI: files, batches, lines and results in its form, without what only it knows.
//!
//! Files and results are not given an expiry: `output_expires_after` and `expires_after` are answered with 400 by others
//! (Perplexity's reference says so, and Groq's types have neither). What is left over after a crash is found by its name.

use http::Method;
use serde_json::Value;

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::{Caps, Marks};
use crate::job::{File, Job, Page, Unreadable};
use crate::json;
use crate::openai::{self, ENDPOINTS};
use crate::provider::{Call, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};

/// Items asked for per page of batches or files: more than a hundred is refused by some.
const PER_PAGE: usize = 100;

/// A provider that speaks like OpenAI and differs in its facts alone.
#[derive(Debug, Clone, Copy)]
pub struct Compatible {
    about: &'static About,
}

impl Compatible {
    /// One with these facts.
    pub const fn new(about: &'static About) -> Self {
        Self { about }
    }
}

/// Any API that speaks like OpenAI, at an address that the operator names.
pub static COMPATIBLE: Compatible = Compatible::new(&About {
    name: "openai-compatible",
    title: "OpenAI-compatible API",
    dialect: Dialect::OpenAi,
    base_url: "",
    key: Key::bearer(&[]),
    endpoints: &ENDPOINTS,
    stream_usage: StreamUsage::OnRequest,
    // Metadata are asked for; not every such API keeps and shows them.
    caps: Caps { marks_jobs: Marks::Perhaps, ..Caps::OPENAI },
});

impl Provider for Compatible {
    fn about(&self) -> &'static About {
        self.about
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_line(out, line.custom_id, line.endpoint, line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::line_len(line.custom_id, line.endpoint, body)
    }

    fn upload(&self, _name: &str) -> Upload {
        upload_form()
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        Call::post(["batches"], openai::creation(new, file).to_string())
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

    fn list_jobs(&self, after: Option<&str>) -> Call {
        openai::page(Call::get(["batches"]), PER_PAGE, after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        openai::list(body, PER_PAGE, openai::read_job)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        let list = Call::get(["files"]).with("purpose", "batch").with("order", "desc");
        Some(openai::page(list, PER_PAGE, after))
    }

    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        openai::list(body, PER_PAGE, openai::read_file)
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

/// The upload of a file that only says what it is for.
pub fn upload_form() -> Upload {
    let fields = vec![("purpose", "batch".to_owned())];
    Upload::Form { call: Call::new(Method::POST, ["files"]), fields }
}

/// Whether a creation was answered with 404 and words about a file, as in "Input file not found": others than OpenAI do that
/// for a file that is not visible yet.
pub fn is_unknown_file(status: u16, body: &[u8]) -> bool {
    let about_a_file = |body: Value| {
        let said =
            [&body["error"], &body["message"], &body["detail"]].into_iter().find(|said| !said.is_null());
        said.is_some_and(|said| json::error_text(said).to_ascii_lowercase().contains("file"))
    };
    status == 404 && json::parse(body).is_ok_and(about_a_file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::{NEW, json_body};
    use serde_json::json;

    #[test]
    fn nothing_expires_that_others_do_not_let_expire() {
        let call = COMPATIBLE.create(&NEW, "file-1");
        assert_eq!((call.method.as_str(), call.path.join("/")), ("POST", "batches".to_owned()));
        let expected = json!({
            "input_file_id": "file-1",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "metadata": {"llmp_bid": "bid"},
        });
        assert_eq!(json_body(&call), expected);
        let Upload::Form { fields, .. } = COMPATIBLE.upload("f.jsonl") else { panic!("no form") };
        assert_eq!(fields, [("purpose", "batch".to_owned())]);
    }

    #[test]
    fn a_file_that_is_not_visible_yet_is_known_by_its_404() {
        let missing = |status, body: &str| COMPATIBLE.is_missing_file(status, body.as_bytes());
        assert!(missing(400, r#"{"error":{"message":"Cannot find file file-1"}}"#));
        assert!(missing(404, r#"{"error":{"message":"Input file not found"}}"#));
        assert!(missing(404, r#"{"detail":"File not found"}"#));
        assert!(!missing(404, "<html>file not found</html>"));
        assert!(!missing(404, r#"{"error":{"message":"Invalid URL"}}"#));
        assert!(!missing(400, r#"{"error":{"message":"Input file not found"}}"#));
    }
}
