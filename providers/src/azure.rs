//! Azure OpenAI and Foundry (Azure's documentation of Global Batch and its REST reference): OpenAI's form with habits of its own.
//!
//! Every resource has an address of its own, `https://RESOURCE.openai.azure.com/openai/v1`. Callers may use the older paths with an
//! `api-version` too, `/openai/deployments/NAME/chat/completions`, which `AzureOpenAI` of OpenAI's SDKs writes. The model of a
//! request is the name of a deployment, and in a batch it must be one for batches, which answers no direct calls: the operator
//! says which stands for which ([`Upstream::models`](crate::Upstream::models)). Jobs do not expire: the window is what we cancel after. Statuses come capitalised, times as text, lists under `value`, and a job without errors has an
//! error file of no bytes; all that is read as it is.

use std::time::Duration;

use http::Method;
use serde_json::json;

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::Caps;
use crate::job::{File, Job, Page, Unreadable};
use crate::json;
use crate::openai::{self, FILES_PER_PAGE, JOBS_PER_PAGE};
use crate::provider::{Call, Legacy, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};

/// How long files are kept that we did not come to delete, in seconds: 14 days, the shortest possible. Without an expiry a
/// resource takes 500 files, with it 10,000.
const FILES_EXPIRE_AFTER_S: u64 = 1_209_600;

/// The path of the base URL, and how the older tree beside it begins.
const V1: &str = "/v1";
const OPENAI: &str = "/openai";
const BASE: &str = "/openai/v1";

/// Azure OpenAI.
#[derive(Debug, Clone, Copy)]
pub struct Azure;

static ABOUT: About = About {
    name: "azure",
    title: "Azure OpenAI",
    dialect: Dialect::OpenAi,
    base_url: "",
    key: Key::in_header("api-key", &["AZURE_OPENAI_API_KEY"]),
    // The documentation says that embeddings are not supported; deployments of it exist. The operator may add them.
    endpoints: &["/v1/chat/completions", "/v1/responses"],
    stream_usage: StreamUsage::OnRequest,
    caps: Caps {
        max_lines: 100_000,
        // The documentation asks for a minute between two questions.
        poll_min: Duration::from_secs(60),
        polls_per_minute: 60,
        flex: &["/chat/completions", "/responses"],
        ..Caps::OPENAI
    },
};

impl Provider for Azure {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_line(out, line.custom_id, path(line.endpoint), line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::line_len(line.custom_id, path(line.endpoint), body)
    }

    fn upload(&self, _name: &str) -> Upload {
        let fields = vec![
            ("purpose", "batch".to_owned()),
            // Azure's documentation has dots where OpenAI has brackets.
            ("expires_after.anchor", "created_at".to_owned()),
            ("expires_after.seconds", FILES_EXPIRE_AFTER_S.to_string()),
        ];
        Upload::Form { call: Call::new(Method::POST, ["files"]), fields }
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        let mut body = openai::creation(&NewJob { endpoint: path(new.endpoint), ..*new }, file);
        body["output_expires_after"] = json!({"anchor": "created_at", "seconds": FILES_EXPIRE_AFTER_S});
        Call::post(["batches"], body.to_string())
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
        openai::page(Call::get(["batches"]), JOBS_PER_PAGE, after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        openai::list(body, JOBS_PER_PAGE, openai::read_job)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        let list = Call::get(["files"]).with("purpose", "batch").with("order", "desc");
        Some(openai::page(list, FILES_PER_PAGE, after))
    }

    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        openai::list(body, FILES_PER_PAGE, openai::read_file)
    }

    fn file(&self, id: &str) -> Option<Call> {
        Some(Call::get(["files", id]))
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        let value = json::parse(body)?;
        // One that could not be processed is as ready as it will be: the creation will say why.
        let waits = ["uploaded", "pending", "running"];
        let status = json::string(&value["status"]).unwrap_or_default().to_ascii_lowercase();
        Ok(File { ready: !waits.contains(&status.as_str()), ..openai::read_file(&value)? })
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
        openai::is_missing_file(status, body)
    }

    fn legacy<'a>(&self, path: &'a str) -> Option<Legacy<'a>> {
        let below = path
            .strip_prefix(OPENAI)
            .filter(|below| is_dir(below) && !below.strip_prefix(V1).is_some_and(is_dir))?;
        let (model, below) = match deployment(below) {
            Some((name, below)) => (Some(name), below),
            None => (None, below),
        };
        Some(Legacy { replaces: BASE, below, model })
    }

    /// A version of the older tree, or `preview`: a batch is spoken without.
    fn neutral_query(&self) -> &'static [&'static str] {
        &["api-version"]
    }
}

/// Whether a path ends where another was taken off, or goes on below it.
fn is_dir(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with('/')
}

/// The name and the rest of `/deployments/NAME/...`. Names have letters, digits, `-`, `_` and `.`, so that nothing is
/// percent-decoded; a path with any other is passed on as it is.
fn deployment(below: &str) -> Option<(&str, &str)> {
    let rest = below.strip_prefix("/deployments/")?;
    let (name, rest) = rest.split_at(rest.find('/')?);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let is_name = name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.bytes().all(plain);
    is_name.then_some((name, rest))
}

/// An endpoint as the documentation's examples write it, both in creations and in lines: chat completions without a version.
fn path(endpoint: &str) -> &str {
    match endpoint {
        "/v1/chat/completions" => "/chat/completions",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Phase;
    use crate::provider::tests::{NEW, json_body, line};

    #[test]
    fn creations_and_lines_name_the_endpoint_alike_and_all_files_expire() {
        let expected = json!({
            "input_file_id": "file-1",
            "endpoint": "/chat/completions",
            "completion_window": "24h",
            "metadata": {"llmp_bid": "bid"},
            "output_expires_after": {"anchor": "created_at", "seconds": 1_209_600},
        });
        assert_eq!(json_body(&Azure.create(&NEW, "file-1")), expected);
        let text = line(&Azure, "/v1/chat/completions", false);
        assert_eq!(
            text,
            "{\"custom_id\":\"c\",\"method\":\"POST\",\"url\":\"/chat/completions\",\"body\":{\"n\":1}}\n"
        );
        assert!(line(&Azure, "/v1/responses", false).contains("\"/v1/responses\""));
        let Upload::Form { fields, .. } = Azure.upload("f.jsonl") else { panic!("no form") };
        let seconds = fields.iter().find(|(name, _)| *name == "expires_after.seconds");
        assert_eq!(seconds.map(|(_, value)| value.as_str()), Some("1209600"));
    }

    #[test]
    fn older_paths_are_read() {
        let legacy = |below, model| Some(Legacy { replaces: "/openai/v1", below, model });
        for (path, expected) in [
            ("/openai/deployments/gpt-4o/chat/completions", legacy("/chat/completions", Some("gpt-4o"))),
            ("/openai/deployments/a.b_C-1/embeddings/", legacy("/embeddings/", Some("a.b_C-1"))),
            ("/openai/deployments/m/x/y", legacy("/x/y", Some("m"))),
            ("/openai/responses", legacy("/responses", None)),
            ("/openai/files/file-1", legacy("/files/file-1", None)),
            ("/openai/v1preview/x", legacy("/v1preview/x", None)),
            ("/openai", legacy("", None)),
            ("/openai/deployments/gpt-4o", legacy("/deployments/gpt-4o", None)),
            ("/openai/deployments//x", legacy("/deployments//x", None)),
            ("/openai/deployments/../x", legacy("/deployments/../x", None)),
            ("/openai/deployments/a%2fb/x", legacy("/deployments/a%2fb/x", None)),
            ("/openai/v1/chat/completions", None),
            ("/openai/v1", None),
            ("/v1/chat/completions", None),
            ("/openaix/responses", None),
            ("", None),
        ] {
            assert_eq!(Azure.legacy(path), expected, "{path}");
        }
    }

    #[test]
    fn a_file_is_ready_when_it_is_processed() {
        assert_eq!(Azure.file("file-1"), Some(Call::get(["files", "file-1"])));
        let ready = |status: &str| {
            let body = json!({"id": "file-1", "filename": "f.jsonl", "status": status}).to_string();
            Azure.read_file(body.as_bytes()).unwrap().ready
        };
        assert!(ready("processed") && ready("Processed") && ready("error"));
        assert!(!ready("pending") && !ready("Running") && !ready("uploaded"));
    }

    #[test]
    fn jobs_are_read_as_they_come() {
        let body = br#"{"value":[{"id":"batch_1","status":"Completed","created_at":"2026-11-29T10:00:00.0000000+00:00",
            "request_counts":{"total":null,"completed":null,"failed":null},"input_file_id":"file-1","output_file_id":"file-2",
            "error_file_id":"file-3","metadata":{"llmp_bid":"bid"}}],"has_more":true,"last_id":"batch_1","first_id":"batch_1"}"#;
        let page = Azure.read_jobs(body, None).unwrap();
        let job = &page.items[0];
        assert_eq!((job.phase, job.status.as_str()), (Phase::Completed, "completed"));
        assert_eq!((job.counts, job.created_at), (None, Some(1_795_946_400)));
        assert_eq!((job.errors_in.as_deref(), job.batch.as_deref()), (Some("file-3"), Some("bid")));
        assert_eq!(page.next.as_deref(), Some("batch_1"));
        assert_eq!(Azure.delete("file-3"), Some(openai::delete_file("file-3")));
        let failed = br#"{"id":"b","status":"Failed","errors":{"object":"list","data":[{"code":"token_limit_exceeded","line":null}]}}"#;
        let job = Azure.read_job(failed).unwrap();
        assert_eq!((job.phase, job.errors[0].code.as_str()), (Phase::Failed, "token_limit_exceeded"));
    }
}
