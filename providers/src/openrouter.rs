//! OpenRouter (its documentation, and clients made against its API): a batch has its requests and its results in it, there are no
//! files. `requests` has to be the last member of a creation.
//!
//! A batch carries nothing of ours that is shown again. It can be deleted when it is over, not cancelled.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::{Caps, Marks};
use crate::compatible::upload_form;
use crate::job::{File, Job, Page, Phase, Unreadable};
use crate::openai::{self, JOBS_PER_PAGE};
use crate::provider::{Call, Document, Inline, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};
use crate::{broken, json};

/// OpenRouter.
#[derive(Debug, Clone, Copy)]
pub struct OpenRouter;

static ABOUT: About = About {
    name: "openrouter",
    title: "OpenRouter",
    dialect: Dialect::OpenAi,
    base_url: "https://openrouter.ai/api/v1",
    key: Key::bearer(&["OPENROUTER_API_KEY"]),
    endpoints: &["/v1/chat/completions", "/v1/responses", "/v1/embeddings"],
    // Its documentation of usage accounting: in the last message, whoever asks.
    stream_usage: StreamUsage::LastChunk,
    caps: Caps {
        max_lines: 5_000,
        // Everything, since there is nothing else.
        inline_bytes: u64::MAX,
        marks_jobs: Marks::Never,
        poll_min: Duration::from_secs(5),
        // Of its models most cost half, a few cost more than they do synchronously.
        price_percent: 50,
        ..Caps::OPENAI
    },
};

impl Provider for OpenRouter {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_bare(out, line.custom_id, line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::bare_len(line.custom_id, body)
    }

    /// Never asked: all travels inline.
    fn upload(&self, _name: &str) -> Upload {
        upload_form()
    }

    /// Never asked: all travels inline.
    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        Call::post(["batches"], openai::creation(new, file).to_string())
    }

    fn create_inline(&self, new: &NewJob<'_>) -> Option<Inline> {
        let (endpoint, model) = (json!(new.endpoint), json!(new.model));
        let head =
            format!(r#"{{"endpoint":{endpoint},"model":{model},"completion_window":"24h","requests":["#);
        let call = Call::new(Method::POST, ["batches"]);
        Some(Inline { call, head: head.into_bytes(), tail: b"]}".to_vec() })
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["batches", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        // It is known how a batch is although one of its results is no JSON.
        let job = without_results(body).or_else(|problem| broken::outline(body).ok_or(problem))?;
        read_job(&job)
    }

    /// There is no cancelling: the call will be refused, and the batch end by itself. Deleting it would lose what was done.
    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["batches", job, "cancel"])
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        openai::page(Call::get(["batches"]), JOBS_PER_PAGE, after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        openai::list(body, JOBS_PER_PAGE, read_job)
    }

    fn list_files(&self, _after: Option<&str>) -> Option<Call> {
        None
    }

    /// Never asked: there are none.
    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        openai::list(body, usize::MAX, openai::read_file)
    }

    /// Never asked: there are none.
    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        openai::read_file(&json::parse(body)?)
    }

    /// The artifact is the batch itself.
    fn delete(&self, artifact: &str) -> Option<Call> {
        Some(Call::new(Method::DELETE, ["batches", artifact]))
    }

    fn results(&self, artifact: &str) -> Source {
        Source::Document(self.poll(artifact))
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        openai::parse_result_line(line)
    }

    fn read_document<'a>(&self, _asked: &Call, body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
        let Ok(whole) = serde_json::from_slice::<Results<'a>>(body) else {
            let list =
                broken::at(body, &["results"]).and_then(broken::elements).ok_or(Unreadable::NotJson)?;
            let elements = list.into_iter().map(Cow::Borrowed).collect();
            return Ok(Document { elements, next: None, broken: true });
        };
        let Some(results) = whole.results else {
            // A batch without results, or no batch.
            self.read_job(body)?;
            return Ok(Document { elements: Vec::new(), next: None, broken: false });
        };
        let elements = results.into_iter().map(|result| Cow::Borrowed(result.get().as_bytes())).collect();
        Ok(Document { elements, next: None, broken: false })
    }

    fn is_missing_file(&self, _status: u16, _body: &[u8]) -> bool {
        false
    }
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow, default)]
    results: Option<Vec<&'a RawValue>>,
}

/// The batch as a value, without its results, which can be many times as long.
fn without_results(body: &[u8]) -> Result<Value, Unreadable> {
    let members: BTreeMap<Cow<'_, str>, &RawValue> = serde_json::from_slice(body)
        .map_err(|_| if json::parse(body).is_ok() { Unreadable::NoId } else { Unreadable::NotJson })?;
    let kept = members.into_iter().filter(|(name, _)| name != "results");
    let kept = kept.map(|(name, raw)| Some((name.into_owned(), serde_json::from_str(raw.get()).ok()?)));
    kept.collect::<Option<serde_json::Map<String, Value>>>().map(Value::Object).ok_or(Unreadable::NotJson)
}

/// A batch; its results are under its own id.
fn read_job(value: &Value) -> Result<Job, Unreadable> {
    let job = openai::read_job(value)?;
    let has_results = matches!(job.phase, Phase::Completed | Phase::Expired | Phase::Cancelled);
    Ok(Job { input: None, output: has_results.then(|| job.id.clone()), errors_in: None, ..job })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Counts;
    use crate::provider::tests::{NEW, line};
    use crate::result::LineOutcome;

    #[test]
    fn the_requests_are_the_last_member_of_a_creation() {
        let Inline { call, head, tail } = OpenRouter.create_inline(&NEW).unwrap();
        assert_eq!((call.method.as_str(), call.path.as_slice()), ("POST", &["batches".to_owned()][..]));
        let element = line(&OpenRouter, "/v1/chat/completions", true);
        assert_eq!(element, r#"{"custom_id":"c","body":{"n":1}}"#);
        let whole = [head, format!("{element},{element}").into_bytes(), tail].concat();
        let whole = String::from_utf8(whole).unwrap();
        let expected =
            r#"{"endpoint":"/v1/chat/completions","model":"m","completion_window":"24h","requests":["#;
        assert!(whole.starts_with(expected), "{whole}");
        let whole: Value = serde_json::from_str(&whole).unwrap();
        assert_eq!(whole["requests"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_batch_is_read_without_its_results_and_they_as_they_are() {
        let body = br#"{"id":"batch_1","status":"completed","request_counts":{"total":2,"completed":1,"failed":1},
            "created_at":1795946400,"error":null,"results":[{"custom_id":"c","response":{"status_code":200,"body":{"n":1e400}}},
            {"custom_id":"d","response":{"status_code":400,"body":{"error":{}}},"error":null}]}"#;
        let job = OpenRouter.read_job(body).unwrap();
        assert_eq!((job.phase, job.output.as_deref()), (Phase::Completed, Some("batch_1")));
        assert_eq!(job.counts, Some(Counts { total: 2, completed: 1, failed: 1 }));
        let Source::Document(call) = OpenRouter.results("batch_1") else { panic!("no document") };
        let document = OpenRouter.read_document(&call, body).unwrap();
        assert!(document.next.is_none());
        let first = OpenRouter.read_result(&document.elements[0]).unwrap();
        let expected =
            LineOutcome::Response { status: 200, request_id: None, body: Cow::Borrowed(br#"{"n":1e400}"#) };
        assert_eq!((first.custom_id.as_ref(), first.outcome), ("c", expected));
        let second = OpenRouter.read_result(&document.elements[1]).unwrap().outcome;
        assert!(matches!(second, LineOutcome::Response { status: 400, .. }));
        assert_eq!(OpenRouter.delete("batch_1").unwrap().path, ["batches", "batch_1"]);
    }

    #[test]
    fn one_result_that_is_no_json_leaves_the_others() {
        let body = br#"{"id":"b","status":"completed","request_counts":{"total":3,"completed":3,"failed":0},
            "results":[{"custom_id":"c"},{"n":NaN},{"custom_id":"d"}]}"#;
        let job = OpenRouter.read_job(body).unwrap();
        assert_eq!((job.phase, job.output.as_deref()), (Phase::Completed, Some("b")));
        assert_eq!(job.counts, Some(Counts { total: 3, completed: 3, failed: 0 }));
        let document = OpenRouter.read_document(&OpenRouter.poll("b"), body).unwrap();
        assert_eq!((document.elements.len(), document.broken), (3, true));
        assert_eq!(document.elements[2], &br#"{"custom_id":"d"}"#[..]);
        assert!(OpenRouter.read_document(&OpenRouter.poll("b"), b"<html>").is_err());
    }

    #[test]
    fn running_and_refused_batches_have_no_results() {
        let read = |body: &str| OpenRouter.read_job(body.as_bytes());
        assert_eq!(read(r#"{"id":"b","status":"in_progress"}"#).unwrap().output, None);
        let failed =
            read(r#"{"id":"b","status":"failed","error":{"message":"bad"},"results":null}"#).unwrap();
        assert_eq!((failed.phase, failed.output), (Phase::Failed, None));
        assert_eq!(failed.errors[0].message, "bad");
        assert_eq!(read(r#"{"error":{"message":"gone"}}"#), Err(Unreadable::Error("gone".into())));
        assert_eq!((read("[]"), read("{")), (Err(Unreadable::NoId), Err(Unreadable::NotJson)));
        let call = OpenRouter.poll("b");
        let none = OpenRouter.read_document(&call, br#"{"id":"b","status":"completed","results":null}"#);
        assert!(none.unwrap().elements.is_empty());
        assert!(OpenRouter.read_document(&call, br#"{"error":"gone"}"#).is_err());
        let page = OpenRouter.read_jobs(br#"{"data":[{"id":"b","status":"expired"}],"has_more":true}"#, None);
        assert_eq!(page.unwrap().next.as_deref(), Some("b"));
    }
}
