//! xAI (its SDK's types, and what clients of its REST API read): batches with counters in place of a status, and results in pages
//! in place of files.

mod result;

use std::borrow::Cow;
use std::time::Duration;

use http::Method;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::about::{About, Dialect, Key, StreamUsage};
use crate::caps::Caps;
use crate::job::{Counts, File, Job, JobError, Page, Phase, Unreadable};
use crate::provider::{Call, Document, Line, NewJob, Provider, Source, Upload};
use crate::result::{LineError, ResultLine};
use crate::{broken, json, openai};

/// Items asked for per page of a list, what it gives by itself.
const PER_PAGE: usize = 100;
/// Results asked for per page. A thousand are possible; a page is held in memory, with images in it perhaps.
const RESULTS_PER_PAGE: usize = 250;
/// How its batches' ids begin, and its files' do not.
const BATCH: &str = "batch_";
const TOKEN: &str = "pagination_token";

/// xAI.
#[derive(Debug, Clone, Copy)]
pub struct XAi;

static ABOUT: About = About {
    name: "xai",
    title: "xAI",
    dialect: Dialect::OpenAi,
    base_url: "https://api.x.ai/v1",
    key: Key::bearer(&["XAI_API_KEY"]),
    endpoints: &["/v1/chat/completions", "/v1/responses", "/v1/images/generations"],
    // From memory.
    stream_usage: StreamUsage::LastChunk,
    caps: Caps {
        // Nothing is documented about batches; that files have 48 MB at most is from memory.
        max_bytes: 45_000_000,
        poll_min: Duration::from_secs(5),
        // A fifth less, on price lists of others; not half.
        price_percent: 80,
        ..Caps::OPENAI
    },
};

impl Provider for XAi {
    fn about(&self) -> &'static About {
        &ABOUT
    }

    fn encode_line(&self, out: &mut Vec<u8>, line: &Line<'_>) {
        openai::encode_line(out, line.custom_id, line.endpoint, line.body);
    }

    fn line_len(&self, line: &Line<'_>, body: usize) -> usize {
        openai::line_len(line.custom_id, line.endpoint, body)
    }

    fn upload(&self, _name: &str) -> Upload {
        // A purpose is not asked for, nor kept.
        Upload::Form { call: Call::new(Method::POST, ["files"]), fields: Vec::new() }
    }

    /// There is no metadata: the name is what the batch is found by.
    fn create(&self, new: &NewJob<'_>, file: &str) -> Call {
        Call::post(["batches"], json!({"name": new.batch, "input_file_id": file}).to_string())
    }

    fn poll(&self, job: &str) -> Call {
        Call::get(["batches", job])
    }

    fn read_job(&self, body: &[u8]) -> Result<Job, Unreadable> {
        read_job(&json::parse(body)?)
    }

    fn cancel(&self, job: &str) -> Call {
        Call::new(Method::POST, ["batches".to_owned(), format!("{job}:cancel")])
    }

    fn list_jobs(&self, after: Option<&str>) -> Call {
        page(Call::get(["batches"]), PER_PAGE, after)
    }

    fn read_jobs(&self, body: &[u8], _after: Option<&str>) -> Result<Page<Job>, Unreadable> {
        let page = json::parse(body)?;
        let Some(list) = page["batches"].as_array() else { return Err(no_list(&page)) };
        let items = list.iter().filter_map(|item| read_job(item).ok()).collect();
        Ok(Page { items, next: json::string(&page[TOKEN]) })
    }

    fn list_files(&self, after: Option<&str>) -> Option<Call> {
        Some(page(Call::get(["files"]).with("order", "desc"), PER_PAGE, after))
    }

    fn read_files(&self, body: &[u8], _after: Option<&str>) -> Result<Page<File>, Unreadable> {
        let page = openai::list(body, usize::MAX, openai::read_file)?;
        let token = json::string(&json::parse(body)?[TOKEN]);
        Ok(Page { next: token.or(page.next), ..page })
    }

    fn read_file(&self, body: &[u8]) -> Result<File, Unreadable> {
        openai::read_file(&json::parse(body)?)
    }

    fn delete(&self, artifact: &str) -> Option<Call> {
        // Results are the batch's, and a batch cannot be deleted.
        (!artifact.starts_with(BATCH)).then(|| openai::delete_file(artifact))
    }

    fn results(&self, artifact: &str) -> Source {
        Source::Document(page(Call::get(["batches", artifact, "results"]), RESULTS_PER_PAGE, None))
    }

    fn read_result<'a>(&self, line: &'a [u8]) -> Result<ResultLine<'a>, LineError> {
        result::read(line)
    }

    fn read_document<'a>(&self, asked: &Call, body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
        let Ok(page) = serde_json::from_slice::<Results<'a>>(body) else { return read_broken(asked, body) };
        let Some(list) = page.results else { return Err(no_list(&json::parse(body)?)) };
        let elements = list.into_iter().map(|element| Cow::Borrowed(element.get().as_bytes())).collect();
        let next = page.pagination_token.filter(|token| !token.is_empty());
        let next = next.map(|token| with_token(asked.clone(), &token));
        Ok(Document { elements, next, broken: false })
    }

    fn is_missing_file(&self, status: u16, body: &[u8]) -> bool {
        // Errors are `{"code": "..", "error": ".."}`, two texts.
        matches!(status, 400 | 404)
            && json::error_message(body).is_some_and(|message| is_about_no_file(&message))
    }
}

#[derive(Deserialize)]
struct Results<'a> {
    #[serde(borrow, default)]
    results: Option<Vec<&'a RawValue>>,
    #[serde(default)]
    pagination_token: Option<String>,
}

/// A page of results of which some are no JSON.
fn read_broken<'a>(asked: &Call, body: &'a [u8]) -> Result<Document<'a>, Unreadable> {
    let list = broken::at(body, &["results"]).and_then(broken::elements).ok_or(Unreadable::NotJson)?;
    let token = broken::at(body, &[TOKEN]).and_then(|token| json::string(&json::parse(token).ok()?));
    let next = token.map(|token| with_token(asked.clone(), &token));
    Ok(Document { elements: list.into_iter().map(Cow::Borrowed).collect(), next, broken: true })
}

fn page(list: Call, size: usize, token: Option<&str>) -> Call {
    let list = list.with("limit", size.to_string());
    match token {
        Some(token) => list.with(TOKEN, token),
        None => list,
    }
}

/// The same call for another page.
fn with_token(mut call: Call, token: &str) -> Call {
    call.query.retain(|(name, _)| *name != TOKEN);
    call.with(TOKEN, token)
}

fn is_about_no_file(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("file")
        && ["cannot find", "not found", "does not exist"].iter().any(|words| message.contains(words))
}

fn no_list(page: &Value) -> Unreadable {
    page.get("error").map_or(Unreadable::NoId, |error| Unreadable::Error(json::error_text(error)))
}

/// A batch. How far it is follows from its counters, as its clients derive it.
fn read_job(value: &Value) -> Result<Job, Unreadable> {
    let id = json::string(&value["batch_id"]).map_or_else(|| json::id(value), Ok)?;
    let count = |name: &str| json::integer(&value["state"][name]).unwrap_or_default();
    let (total, succeeded) = (count("num_requests"), count("num_success"));
    let failed = count("num_error").saturating_add(count("num_cancelled"));
    let message = json::string(&value["cancel_by_xai_message"]);
    let (phase, status) = if !value["cancel_time"].is_null() {
        match (&message, succeeded) {
            (Some(_), 0) => (Phase::Failed, "failed"),
            _ => (Phase::Cancelled, "cancelled"),
        }
    } else if total == 0 {
        // It still reads its input.
        (Phase::Running, "validating")
    } else if count("num_pending") > 0 {
        (Phase::Running, "in_progress")
    } else {
        (Phase::Completed, "completed")
    };
    let has_results = !matches!(phase, Phase::Running | Phase::Failed);
    Ok(Job {
        phase,
        status: status.to_owned(),
        input: json::string(&value["input_file_id"]),
        output: has_results.then(|| id.clone()),
        errors_in: None,
        counts: (total > 0).then_some(Counts { total, completed: succeeded, failed }),
        errors: message.into_iter().map(|message| JobError { message, ..JobError::default() }).collect(),
        batch: json::string(&value["name"]),
        created_at: created_at(&value["create_time"]),
        id,
    })
}

/// A time. Over REST it is a bare day of a zone that is not said; what is wanted is a time before which the batch was certainly
/// created, so that it is never taken for too old: that day's end in the last zone of the world.
fn created_at(value: &Value) -> Option<i64> {
    const A_DAY_AND_THE_LAST_ZONE: i64 = (24 + 12) * 3600;
    let seconds = json::seconds(value)?;
    let is_day =
        value.as_str().is_some_and(|text| text.trim().len() == "2026-11-29".len() && text.contains('-'));
    Some(seconds.saturating_add(if is_day { A_DAY_AND_THE_LAST_ZONE } else { 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::tests::{NEW, json_body};

    fn job(more: Value) -> Job {
        let mut job = json!({"batch_id": "batch_1", "name": "bid", "create_time": "2026-11-29", "cancel_time": null,
            "cancel_by_xai_message": null, "input_file_id": "file-1"});
        job.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        XAi.read_job(job.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn the_name_is_the_marker() {
        let call = XAi.create(&NEW, "file-1");
        assert_eq!(json_body(&call), json!({"name": "bid", "input_file_id": "file-1"}));
        assert_eq!(XAi.cancel("batch_1").path, ["batches", "batch_1:cancel"]);
        let Upload::Form { fields, .. } = XAi.upload("f.jsonl") else { panic!("no form") };
        assert!(fields.is_empty());
    }

    #[test]
    fn counters_tell_how_far_it_is() {
        let state = |total, pending, success| {
            json!({"num_requests": total, "num_pending": pending,
            "num_success": success, "num_error": 1, "num_cancelled": 0})
        };
        let reading = job(json!({"state": state(0, 0, 0)}));
        assert_eq!((reading.phase, reading.counts, reading.output), (Phase::Running, None, None));
        assert_eq!(job(json!({"state": state(3, 1, 1)})).phase, Phase::Running);
        let done = job(json!({"state": state(3, 0, 2)}));
        assert_eq!((done.phase, done.output.as_deref()), (Phase::Completed, Some("batch_1")));
        assert_eq!(done.counts, Some(Counts { total: 3, completed: 2, failed: 1 }));
        assert_eq!((done.batch.as_deref(), done.input.as_deref()), (Some("bid"), Some("file-1")));
        let cancelled = job(json!({"state": state(3, 0, 1), "cancel_time": "2026-11-29"}));
        assert_eq!((cancelled.phase, cancelled.output.as_deref()), (Phase::Cancelled, Some("batch_1")));
        let refused = json!({"state": state(0, 0, 0), "cancel_time": "2026-11-29", "cancel_by_xai_message": "bad line"});
        let refused = job(refused);
        assert_eq!((refused.phase, refused.errors[0].message.as_str()), (Phase::Failed, "bad line"));
    }

    #[test]
    fn a_bare_day_never_makes_a_batch_look_old() {
        // 2026-11-29T23:59:59 at the last place on earth.
        assert!(job(json!({})).created_at.unwrap() >= 1_796_039_999);
        assert_eq!(job(json!({"create_time": "2026-11-29T10:00:00Z"})).created_at, Some(1_795_946_400));
    }

    #[test]
    fn lists_and_results_go_on_by_token() {
        let page =
            XAi.read_jobs(br#"{"batches":[{"batch_id":"batch_1","state":{}}],"pagination_token":"t"}"#, None);
        let page = page.unwrap();
        assert_eq!((page.items.len(), page.next.as_deref()), (1, Some("t")));
        assert!(XAi.list_jobs(Some("t")).query.contains(&(TOKEN, "t".to_owned())));
        let files = XAi.read_files(br#"{"data":[{"id":"file-1"}],"pagination_token":"t"}"#, None).unwrap();
        assert_eq!(files.next.as_deref(), Some("t"));

        let Source::Document(first) = XAi.results("batch_1") else { panic!("no document") };
        let body = br#"{"results": [ {"a": 1e400} , 2],"pagination_token":"t1"}"#;
        let part = XAi.read_document(&first, body).unwrap();
        assert_eq!(part.elements, [&b"{\"a\": 1e400}"[..], b"2"]);
        let second = part.next.unwrap();
        assert_eq!(second, first.clone().with(TOKEN, "t1"));
        let part = XAi.read_document(&second, br#"{"results":[],"pagination_token":"t2"}"#).unwrap();
        assert_eq!(part.next, Some(first.clone().with(TOKEN, "t2")));
        assert!(
            XAi.read_document(&first, br#"{"results":[],"pagination_token":""}"#).unwrap().next.is_none()
        );
        let error = XAi.read_document(&first, br#"{"code":"no","error":"gone"}"#).unwrap_err();
        assert_eq!(error, Unreadable::Error("gone".into()));
    }

    #[test]
    fn one_result_that_is_no_json_leaves_the_others_and_the_next_page() {
        let Source::Document(first) = XAi.results("batch_1") else { panic!("no document") };
        let body = br#"{"results":[{"batch_request_id":"a"},{"n":NaN},{"batch_request_id":"b"}],"pagination_token":"t"}"#;
        let part = XAi.read_document(&first, body).unwrap();
        assert_eq!((part.elements.len(), part.broken), (3, true));
        assert_eq!(part.elements[2], &br#"{"batch_request_id":"b"}"#[..]);
        assert!(XAi.read_result(&part.elements[1]).is_err());
        assert_eq!(part.next, Some(first.clone().with(TOKEN, "t")));
        let cut = XAi.read_document(&first, br#"{"results":[{"batch_request_id":"a"},{"batch_req"#).unwrap();
        assert_eq!((cut.elements.len(), cut.next, cut.broken), (2, None, true));
        assert_eq!(XAi.read_document(&first, b"<html>").unwrap_err(), Unreadable::NotJson);
    }

    #[test]
    fn files_are_deleted_and_results_are_not() {
        assert_eq!(XAi.delete("file-1"), Some(openai::delete_file("file-1")));
        assert_eq!(XAi.delete("batch_1"), None);
        assert!(XAi.is_missing_file(400, br#"{"code":"Client ..","error":"Cannot find file file-1"}"#));
        assert!(!XAi.is_missing_file(400, br#"{"code":"Client ..","error":"bad name"}"#));
    }
}
