//! OpenAI, and the parts that others share who speak like it.
//!
//! What is encoded and decoded here follows OpenAI's API reference (Files, Batch) and what compatible providers are known to
//! send instead; reading is lenient, writing is strict.

mod line;
mod object;
mod result;

use http::Method;
use serde_json::{Value, json};

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::Caps;
use crate::job::{File, Job, Page, Unreadable};
use crate::provider::{Call, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};
use crate::{BATCH_ID, json};

pub use line::{bare_len, encode_bare, encode_line, line_len};
pub use object::{list, read_file, read_job, status};
pub use result::parse_result_line;
pub(crate) use result::{status as http_status, text};

/// How long the provider keeps an input file, or a result file, that we did not come to delete: longer than any batch lives.
pub const FILES_EXPIRE_AFTER_S: u64 = 2 * 24 * 3600;
/// Items asked for per page of batches, the most there can be.
pub const JOBS_PER_PAGE: usize = 100;
/// Items asked for per page of files; ten thousand are allowed, and would be some megabytes.
pub const FILES_PER_PAGE: usize = 1000;

/// The endpoints whose bodies are JSON (API reference, `endpoint` of a batch).
pub const ENDPOINTS: [&str; 7] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
];

/// OpenAI.
#[derive(Debug, Clone, Copy)]
pub struct OpenAi;

static ABOUT: About = About {
    name: "openai",
    title: "OpenAI",
    dialect: Dialect::OpenAi,
    base_url: "https://api.openai.com/v1",
    key: Key::bearer(&["OPENAI_API_KEY"]),
    endpoints: &ENDPOINTS,
    stream_usage: StreamUsage::OnRequest,
    // Documentation of flex processing.
    caps: Caps { flex: &["/chat/completions", "/responses"], ..Caps::OPENAI },
};

impl Provider for OpenAi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        encode_line(out, line.custom_id, line.endpoint, line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        line_len(line.custom_id, line.endpoint, body)
    }

    fn upload(&self, _name: &str) -> Upload {
        upload_form()
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        let mut body = creation(new, file);
        body["output_expires_after"] = json!({"anchor": "created_at", "seconds": FILES_EXPIRE_AFTER_S});
        Call::post(["batches"], body.to_string())
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["batches", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        read_job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["batches", job, "cancel"])
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        page(Call::get(["batches"]), JOBS_PER_PAGE, after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        list(body, JOBS_PER_PAGE, read_job)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        let list = Call::get(["files"]).with("purpose", "batch").with("order", "desc");
        Some(page(list, FILES_PER_PAGE, after))
    }

    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        list(body, FILES_PER_PAGE, read_file)
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        read_file(&json::parse(body)?)
    }

    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(delete_file(artifact))
    }

    fn results(&self, artifact: &str) -> Source {
        lines_of(artifact)
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        parse_result_line(line)
    }

    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool {
        is_missing_file(status, body)
    }
}

/// The upload of a file (API reference, "Upload file").
pub fn upload_form() -> Upload {
    let fields = vec![
        ("purpose", "batch".to_owned()),
        ("expires_after[anchor]", "created_at".to_owned()),
        ("expires_after[seconds]", FILES_EXPIRE_AFTER_S.to_string()),
    ];
    Upload::Form { call: Call::new(Method::POST, ["files"]), fields }
}

/// The body of a creation (API reference, "Create batch"). The completion window is `24h`, the only one.
pub fn creation(new: &NewJob<'_>, file: &str) -> Value {
    json!({
        "input_file_id": file,
        "endpoint": new.endpoint,
        "metadata": {BATCH_ID: new.batch},
        "completion_window": "24h",
    })
}

/// One page of a list.
pub fn page(list: Call, size: usize, after: Option<&str>) -> Call {
    let list = list.with("limit", size.to_string());
    match after {
        Some(after) => list.with("after", after),
        None => list,
    }
}

/// The lines of a file.
pub fn lines_of(file: &str) -> Source {
    Source::Lines(Call::get(["files", file, "content"]))
}

/// The call that deletes a file.
pub fn delete_file(file: &str) -> Call {
    Call::new(Method::DELETE, ["files", file])
}

/// Whether this is OpenAI's 400 "Cannot find file ..." for a file that was uploaded a moment ago: its create reads from a store
/// that lags behind its uploads. It passes within a minute. (A deleted file gets the same answer.)
pub fn is_missing_file(status: u16, body: &[u8]) -> bool {
    status == 400 && json::error_message(body).is_some_and(|message| message.starts_with("Cannot find file"))
}
