//! Mistral (its SDK's types): jobs in place of batches, one model each, lines without a target; results in OpenAI's form.

use std::time::Duration;

use http::Method;
use serde_json::{Value, json};

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::Caps;
use crate::compatible::{is_unknown_file, upload_form};
use crate::job::{Counts, File, Job, JobError, Page, Phase, Unreadable};
use crate::provider::{Call, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};
use crate::{BATCH_ID, json, openai};

/// Items asked for per page of jobs or files.
const PER_PAGE: usize = 100;

/// Mistral.
#[derive(Debug, Clone, Copy)]
pub struct Mistral;

static ABOUT: About = About {
    name: "mistral",
    title: "Mistral",
    dialect: Dialect::OpenAi,
    base_url: "https://api.mistral.ai/v1",
    key: Key::bearer(&["MISTRAL_API_KEY"]),
    // Of its endpoints those that the dialect has.
    endpoints: &["/v1/chat/completions", "/v1/embeddings", "/v1/moderations"],
    // Its SDK has no way to ask; that the last chunk has it is from memory.
    stream_usage: StreamUsage::LastChunk,
    // A job may have a million requests; nothing is documented about bytes.
    caps: Caps { poll_min: Duration::from_secs(5), batch_percent: Some(50), ..Caps::OPENAI },
};

impl Provider for Mistral {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_bare(out, line.custom_id, line.body);
        out.push(b'\n');
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::bare_len(line.custom_id, body) + 1
    }

    fn upload(&self, _name: &str) -> Upload {
        upload_form()
    }

    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        let body = json!({
            "endpoint": new.endpoint,
            "model": new.model,
            "input_files": [file],
            "metadata": {BATCH_ID: new.batch},
            "timeout_hours": ABOUT.caps.window.as_secs() / 3600,
        });
        Call::post(["batch", "jobs"], body.to_string())
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["batch", "jobs", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        read_job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["batch", "jobs", job, "cancel"])
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        page(Call::get(["batch", "jobs"]).with("order_by", "-created"), after)
    }

    fn read_jobs(&self, body: &[u8], after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        read_page(body, after, read_job)
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        Some(page(Call::get(["files"]).with("purpose", "batch"), after))
    }

    fn read_files(&self, body: &[u8], after: Option<&str>) -> Result<Page<File>, Unreadable> {
        read_page(body, after, openai::read_file)
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
        is_unknown_file(status, body)
    }
}

/// A page by its number, counted from 0.
fn page(list: Call, number: Option<&str>) -> Call {
    list.with("page", number.unwrap_or("0")).with("page_size", PER_PAGE.to_string())
}

/// Reads a page, whose number `after` is. What comes to the list meanwhile moves the rest back, so nothing is missed by that.
fn read_page<T>(
    body: &[u8],
    after: Option<&str>,
    read: impl Fn(&Value) -> Result<T, Unreadable>,
) -> Result<Page<T>, Unreadable> {
    let value = json::parse(body)?;
    // An empty list may be null.
    let shown = value["data"].as_array().map_or(0, Vec::len);
    let page = match (&value["data"], json::integer(&value["total"])) {
        (Value::Null, Some(_)) => Page { items: Vec::new(), next: None },
        _ => openai::list(body, usize::MAX, read)?,
    };
    let number: u64 = after.and_then(|number| number.parse().ok()).unwrap_or(0);
    let until = number.saturating_add(1);
    let more = json::integer(&value["total"])
        .map_or(shown >= PER_PAGE, |total| until.saturating_mul(PER_PAGE as u64) < total);
    Ok(Page { items: page.items, next: (more && shown > 0).then(|| until.to_string()) })
}

fn read_job(value: &Value) -> Result<Job, Unreadable> {
    let counts = counts(value);
    let (output, errors_in) = (json::string(&value["output_file"]), json::string(&value["error_file"]));
    let done = counts.is_some_and(|counts| counts.completed.saturating_add(counts.failed) > 0);
    let status = json::string(&value["status"]).unwrap_or_default();
    let (phase, status) = match status.as_str() {
        "QUEUED" => (Phase::Running, "validating"),
        "RUNNING" => (Phase::Running, "in_progress"),
        "SUCCESS" => (Phase::Completed, "completed"),
        // It is not said that nothing was executed then: where something was, its results count.
        "FAILED" if done || output.is_some() || errors_in.is_some() => (Phase::Completed, "failed"),
        "FAILED" => (Phase::Failed, "failed"),
        "TIMEOUT_EXCEEDED" => (Phase::Expired, "expired"),
        "CANCELLATION_REQUESTED" => (Phase::Running, "cancelling"),
        "CANCELLED" => (Phase::Cancelled, "cancelled"),
        other => (Phase::Running, other),
    };
    let message =
        |error: &Value| Some(JobError { message: json::string(&error["message"])?, ..JobError::default() });
    Ok(Job {
        id: json::id(value)?,
        phase,
        status: status.to_owned(),
        input: json::string(&value["input_files"][0]),
        output,
        errors_in,
        counts,
        errors: value["errors"].as_array().into_iter().flatten().filter_map(message).collect(),
        batch: json::string(&value["metadata"][BATCH_ID]),
        created_at: json::seconds(&value["created_at"]),
    })
}

fn counts(value: &Value) -> Option<Counts> {
    let count = |name: &str| json::integer(&value[name]);
    Some(Counts {
        total: count("total_requests")?,
        completed: count("succeeded_requests").unwrap_or_default(),
        failed: count("failed_requests").unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::{NEW, json_body, line};
    use crate::result::LineOutcome;

    #[test]
    fn a_job_names_its_model_and_carries_the_batch() {
        let call = Mistral.create(&NEW, "file-1");
        assert_eq!(call.path, ["batch", "jobs"]);
        let expected = json!({
            "endpoint": "/v1/chat/completions",
            "model": "m",
            "input_files": ["file-1"],
            "metadata": {"llmp_bid": "bid"},
            "timeout_hours": 24,
        });
        assert_eq!(json_body(&call), expected);
        assert_eq!(
            line(&Mistral, "/v1/chat/completions", false),
            "{\"custom_id\":\"c\",\"body\":{\"n\":1}}\n"
        );
        assert_eq!(Mistral.delete("file-1"), Some(openai::delete_file("file-1")));
    }

    fn job(more: Value) -> Job {
        let mut job = json!({"id": "j", "object": "batch", "input_files": ["f"], "metadata": {"llmp_bid": "bid"},
            "created_at": 1_795_946_400, "errors": []});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Mistral.read_job(job.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn jobs_are_read() {
        let done =
            job(json!({"status": "SUCCESS", "output_file": "o", "error_file": null, "total_requests": 3,
            "completed_requests": 3, "succeeded_requests": 2, "failed_requests": 1}));
        assert_eq!((done.phase, done.output.as_deref(), done.errors_in), (Phase::Completed, Some("o"), None));
        assert_eq!(done.counts, Some(Counts { total: 3, completed: 2, failed: 1 }));
        assert_eq!((done.input.as_deref(), done.batch.as_deref()), (Some("f"), Some("bid")));
        assert_eq!(done.created_at, Some(1_795_946_400));
        for (status, phase) in [
            ("QUEUED", Phase::Running),
            ("RUNNING", Phase::Running),
            ("TIMEOUT_EXCEEDED", Phase::Expired),
            ("CANCELLATION_REQUESTED", Phase::Running),
            ("CANCELLED", Phase::Cancelled),
            ("NEW", Phase::Running),
        ] {
            assert_eq!(job(json!({"status": status})).phase, phase, "{status}");
        }
    }

    #[test]
    fn a_job_that_failed_after_work_was_done_has_results() {
        let refused = job(
            json!({"status": "FAILED", "errors": [{"message": "bad line", "count": 1}], "total_requests": 0}),
        );
        assert_eq!((refused.phase, refused.errors[0].message.as_str()), (Phase::Failed, "bad line"));
        assert_eq!(job(json!({"status": "FAILED", "error_file": "e"})).phase, Phase::Completed);
        let all_failed = json!({"status": "FAILED", "total_requests": 2, "failed_requests": 2});
        assert_eq!(job(all_failed).phase, Phase::Completed);
    }

    #[test]
    fn pages_are_numbered() {
        assert!(Mistral.list_jobs(None).query.contains(&("page", "0".to_owned())));
        assert!(Mistral.list_jobs(Some("2")).query.contains(&("page", "2".to_owned())));
        let page = |body: Value, after| Mistral.read_jobs(body.to_string().as_bytes(), after).unwrap();
        let full = json!({"object": "list", "data": [{"id": "j", "status": "QUEUED"}], "total": 201});
        assert_eq!(page(full.clone(), None).next.as_deref(), Some("1"));
        assert_eq!(page(full.clone(), Some("1")).next.as_deref(), Some("2"));
        assert_eq!(page(full, Some("2")).next, None);
        assert_eq!(page(json!({"object": "list", "total": 0}), None), Page { items: Vec::new(), next: None });
        assert!(Mistral.read_jobs(b"{\"detail\":\"Unauthorized\"}", None).is_err());
    }

    #[test]
    fn results_are_openais_and_a_missing_file_is_a_404() {
        let line = br#"{"custom_id":"c","response":{"status_code":422,"body":{"detail":[]}},"error":null}"#;
        let outcome = Mistral.read_result(line).unwrap().outcome;
        assert!(matches!(outcome, LineOutcome::Response { status: 422, .. }));
        assert!(Mistral.is_missing_file(404, br#"{"object":"error","message":"Cannot find file x"}"#));
        assert!(!Mistral.is_missing_file(404, br#"{"object":"error","message":"No such model"}"#));
    }
}
