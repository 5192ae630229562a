//! From a job's result files to its callers, line by line.

use std::fmt::Display;
use std::time::Duration;

use bytes::Bytes;
use common::ids::Rid;
use common::outcome::{Fault, FaultClass, Outcome, Response, Route};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use providers::{Call, LineOutcome, ResultLine, Source, Unreadable};

use super::calls::trouble;
use super::work::Work;
use crate::api::LineSplitter;
use crate::core::{Lines, Trouble};

/// How soon a download that was cut is taken up where it ended. It ends: each time must have brought a line.
const RESUME_AFTER: Duration = Duration::from_millis(250);

/// Most parts of a document of results, each of hundreds of lines.
const MOST_PARTS: usize = 100_000;

/// The code of lines that were not executed since their job was cancelled (OpenAI batch guide).
const CANCELLED: &str = "batch_cancelled";

/// The job whose results these are.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    /// Its id.
    pub(super) job: &'a str,
    /// Whether what it has not executed goes another way.
    pub(super) given_up: bool,
}

/// Delivers every line of the files, and counts them.
pub(super) async fn deliver(work: &Work, files: &[String], of: Of<'_>) -> Result<Lines, Trouble> {
    let mut lines = Lines::default();
    for file in files {
        match work.client.provider().results(file) {
            Source::Lines(call) => file_of_lines(work, &call, of, &mut lines).await?,
            Source::Document(call) => document(work, call, of, &mut lines).await?,
        }
    }
    Ok(lines)
}

async fn file_of_lines(work: &Work, call: &Call, of: Of<'_>, lines: &mut Lines) -> Result<(), Trouble> {
    let mut splitter = LineSplitter::default();
    let mut from = splitter.offset();
    while let Err(trouble) = download(work, call, of, &mut splitter, lines).await {
        // Without progress the wait is the state machine's: others need the turn.
        if splitter.offset() == from {
            return Err(trouble);
        }
        from = splitter.offset();
        splitter.rewind();
        tokio::time::sleep(RESUME_AFTER).await;
    }
    Ok(())
}

/// Results within JSON, part by part, until one does not say where the next is.
async fn document(work: &Work, mut call: Call, of: Of<'_>, lines: &mut Lines) -> Result<(), Trouble> {
    let provider = work.client.provider();
    for _ in 0..MOST_PARTS {
        let body = work.client.document(&work.credential, &call).await.map_err(|e| trouble(provider, &e))?;
        let part = match provider.read_document(&call, &body) {
            Ok(part) => part,
            Err(Unreadable::Error(_)) => {
                unreadable(of, &"an error stands in their place", lines);
                return Ok(());
            }
            Err(problem) => {
                unreadable(of, &problem, lines);
                return Ok(());
            }
        };
        if part.broken {
            unreadable(of, &"a part of the results is broken", lines);
        }
        for element in &part.elements {
            take_line(work, element, of, lines).await;
        }
        match part.next {
            Some(next) => call = next,
            None => return Ok(()),
        }
    }
    unreadable(of, &"the results have too many parts", lines);
    Ok(())
}

/// What could not be read is counted, and said without quoting it: it may hold an answer. A page in place of a file has many
/// lines, of which the first says enough.
fn unreadable(of: Of<'_>, why: &dyn Display, lines: &mut Lines) {
    match lines.unreadable {
        0 => tracing::warn!(job = of.job, "results cannot be read: {why}"),
        _ => tracing::debug!(job = of.job, "more of the results cannot be read: {why}"),
    }
    lines.unreadable += 1;
}

async fn download(
    work: &Work,
    call: &Call,
    of: Of<'_>,
    splitter: &mut LineSplitter,
    lines: &mut Lines,
) -> Result<(), Trouble> {
    let failed = |error| trouble(work.client.provider(), &error);
    let mut content = work.client.content(&work.credential, call, splitter.offset()).await.map_err(failed)?;
    loop {
        match content.chunk().await.map_err(failed)? {
            Some(chunk) => splitter.push(chunk),
            None => break,
        }
        loop {
            match splitter.next_line() {
                Ok(Some(line)) => take_line(work, &line, of, lines).await,
                Ok(None) => break,
                // Nobody knows where it ends: the rest of the file is lost.
                Err(error) => {
                    unreadable(of, &error, lines);
                    return Ok(());
                }
            }
        }
    }
    if let Some(line) = splitter.finish() {
        take_line(work, &line, of, lines).await;
    }
    Ok(())
}

async fn take_line(work: &Work, line: &[u8], of: Of<'_>, lines: &mut Lines) {
    if line.is_empty() {
        return;
    }
    let parsed = match work.client.provider().read_result(line) {
        Ok(parsed) => parsed,
        Err(error) => return unreadable(of, &error, lines),
    };
    let Ok(rid) = parsed.custom_id.parse::<Rid>() else {
        return tracing::warn!(job = of.job, "a result line that is no answer to a request of ours");
    };
    if !lines.seen.insert(rid) {
        return;
    }
    count(&parsed.outcome, lines);
    // Of a batch that was taken over, others may serve the rest.
    if work.courier.knows(rid) {
        lines.answered.insert(rid);
        let request_id = work.client.provider().request_id();
        let outcome = outcome(parsed, of.job, request_id);
        work.courier.tell(rid, if of.given_up { goes_again(outcome) } else { outcome }).await;
    }
}

/// Counts as the provider does (OpenAI API reference, `request_counts`). Lines that were not executed since the job was
/// cancelled are neither completed nor failed.
fn count(outcome: &LineOutcome<'_>, lines: &mut Lines) {
    match outcome {
        LineOutcome::Response { status: 200..300, .. }
        | LineOutcome::Error { status: Some(200..300), .. } => {
            lines.succeeded += 1;
        }
        LineOutcome::Error { status: None, code, .. } if code == CANCELLED => {}
        LineOutcome::Response { .. } | LineOutcome::Error { .. } => lines.failed += 1,
    }
}

/// A line that was not executed since its job was given up.
fn goes_again(outcome: Outcome) -> Outcome {
    match outcome {
        Outcome::Fault(fault) if fault.code == CANCELLED => Outcome::Fault(fault.again()),
        outcome => outcome,
    }
}

/// What a line means to its caller.
pub(crate) fn outcome(line: ResultLine<'_>, job: &str, id_header: HeaderName) -> Outcome {
    match line.outcome {
        LineOutcome::Response { status, request_id, body } => {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
                headers.insert(id_header, id);
            }
            // A status that is none is as good as a server error.
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Outcome::Response(Response {
                status,
                headers,
                job: job.to_owned(),
                body: Bytes::copy_from_slice(&body),
                unbatchable: false,
                route: Route::Batch,
            })
        }
        // What has a status was executed, whatever its code says.
        LineOutcome::Error { status: Some(_), code, message } if code == CANCELLED => {
            Outcome::Fault(Fault::new(FaultClass::Internal, "no_result_line", message).no_retry())
        }
        LineOutcome::Error { code, message, .. } => Outcome::Fault(not_executed(&code, &message)),
    }
}

/// A line that was not executed (OpenAI batch guide: `batch_expired`, `batch_cancelled`, `request_timeout`; more are
/// possible).
fn not_executed(code: &str, message: &str) -> Fault {
    match code {
        "batch_expired" | "request_timeout" => {
            Fault::new(FaultClass::Expired, code, message).no_retry().again()
        }
        CANCELLED => Fault::new(FaultClass::Unavailable, code, message).retry_after(Duration::from_secs(1)),
        _ => Fault::new(FaultClass::Internal, code, message).no_retry().again(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a line counts (succeeded, failed), and the code of its fault, if it is one.
    fn judged(line: &str) -> (u64, u64, Option<String>) {
        let line = providers::openai::parse_result_line(line.as_bytes()).unwrap();
        let mut lines = Lines::default();
        count(&line.outcome, &mut lines);
        let code = match outcome(line, "batch_1", HeaderName::from_static("x-request-id")) {
            Outcome::Response(_) => None,
            Outcome::Fault(fault) => Some(fault.code),
        };
        (lines.succeeded, lines.failed, code)
    }

    #[test]
    fn lines_count_as_the_provider_counts_them() {
        let answer = |status| {
            format!(r#"{{"custom_id":"c","response":{{"status_code":{status},"body":{{}}}},"error":null}}"#)
        };
        assert_eq!(judged(&answer(200)), (1, 0, None));
        assert_eq!(judged(&answer(429)), (0, 1, None));
        let error = |code| format!(r#"{{"custom_id":"c","response":null,"error":{{"code":"{code}"}}}}"#);
        assert_eq!(judged(&error("batch_cancelled")), (0, 0, Some("batch_cancelled".into())));
        assert_eq!(judged(&error("request_timeout")), (0, 1, Some("request_timeout".into())));
    }

    #[test]
    fn what_was_executed_is_never_said_to_be_cancelled() {
        for (status, succeeded, failed) in [(200, 1, 0), (500, 0, 1)] {
            let line = format!(
                r#"{{"custom_id":"c","response":{{"status_code":{status},"body":null}},"error":{{"code":"batch_cancelled"}}}}"#
            );
            assert_eq!(judged(&line), (succeeded, failed, Some("no_result_line".into())));
        }
    }
}
