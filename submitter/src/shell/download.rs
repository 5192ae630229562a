//! From a job's result files to its callers, line by line.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use common::ids::Rid;
use common::outcome::{Fault, FaultClass, Outcome, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::calls::trouble;
use super::work::Work;
use crate::core::Trouble;
use crate::openai::{Client, LineOutcome, LineSplitter, ResultLine, parse_result_line};

/// How soon a download that was cut is taken up where it ended. It ends: each time must have brought a line.
const RESUME_AFTER: Duration = Duration::from_millis(250);

/// Delivers every line of the files. Returns whose lines there were, and how many lines.
pub(super) async fn deliver(
    client: &Client,
    work: &Work,
    files: &[String],
    job: &str,
) -> Result<(BTreeSet<Rid>, u64), Trouble> {
    let mut answered = BTreeSet::new();
    let mut lines = 0;
    for file in files {
        let mut splitter = LineSplitter::default();
        let mut from = splitter.offset();
        while let Err(trouble) =
            download(client, work, file, job, &mut splitter, &mut answered, &mut lines).await
        {
            // Without progress the wait is the state machine's: others need the turn.
            if splitter.offset() == from {
                return Err(trouble);
            }
            from = splitter.offset();
            splitter.rewind();
            tokio::time::sleep(RESUME_AFTER).await;
        }
    }
    Ok((answered, lines))
}

async fn download(
    client: &Client,
    work: &Work,
    file: &str,
    job: &str,
    splitter: &mut LineSplitter,
    answered: &mut BTreeSet<Rid>,
    lines: &mut u64,
) -> Result<(), Trouble> {
    let mut content =
        client.content(&work.credential, file, splitter.offset()).await.map_err(|e| trouble(&e))?;
    loop {
        match content.chunk().await.map_err(|e| trouble(&e))? {
            Some(chunk) => splitter.push(chunk),
            None => break,
        }
        while let Some(line) = splitter.next_line().map_err(|e| too_long(&e.to_string()))? {
            take_line(work, &line, job, answered, lines).await;
        }
    }
    if let Some(line) = splitter.finish() {
        take_line(work, &line, job, answered, lines).await;
    }
    Ok(())
}

async fn take_line(work: &Work, line: &Bytes, job: &str, answered: &mut BTreeSet<Rid>, lines: &mut u64) {
    if line.is_empty() {
        return;
    }
    let parsed = match parse_result_line(line) {
        Ok(parsed) => parsed,
        Err(error) => return tracing::warn!(job, %error, "a result line cannot be read"),
    };
    let Some(rid) = parsed.custom_id.parse::<Rid>().ok().filter(|rid| work.courier.knows(*rid)) else {
        return tracing::warn!(job, "a result line for a request that is not in the batch");
    };
    if answered.insert(rid) {
        *lines += 1;
        work.courier.tell(rid, outcome(parsed, job)).await;
    }
}

fn outcome(line: ResultLine<'_>, job: &str) -> Outcome {
    match line.outcome {
        LineOutcome::Response { status, request_id, body } => {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if let Some(id) = request_id.and_then(|id| HeaderValue::from_str(&id).ok()) {
                headers.insert("x-request-id", id);
            }
            // A status that is none is as good as a server error.
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
            Outcome::Response(Response {
                status,
                headers,
                job: job.to_owned(),
                body: Bytes::copy_from_slice(body),
            })
        }
        LineOutcome::Error { code, message, .. } => Outcome::Fault(not_executed(&code, &message)),
    }
}

/// A line that was not executed (OpenAI batch guide: `batch_expired`, `batch_cancelled`, `request_timeout`; more are
/// possible).
fn not_executed(code: &str, message: &str) -> Fault {
    match code {
        "batch_expired" | "request_timeout" => Fault::new(FaultClass::Expired, code, message).no_retry(),
        "batch_cancelled" => {
            Fault::new(FaultClass::Unavailable, code, message).retry_after(Duration::from_secs(1))
        }
        _ => Fault::new(FaultClass::Internal, code, message).no_retry(),
    }
}

fn too_long(message: &str) -> Trouble {
    Trouble {
        kind: crate::core::TroubleKind::NotDone,
        retry_after: None,
        retryable: false,
        file_not_visible: false,
        message: message.to_owned(),
        answer: None,
        status: None,
    }
}
