//! The small calls, and what their ends mean to the state machine.

use std::time::Duration;

use bytes::Bytes;
use common::ids::Bid;
use common::outcome::{Outcome, Response, Route};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use providers::{Job, Provider};

use super::candidates::{Search, find};
use super::work::Work;
use crate::api::{Answer, ApiError, Kind};
use crate::core::{Did, Gone, JobView, Op, Trouble, TroubleKind};

/// How far a provider's clock may be behind ours, in seconds.
const CLOCK_SLACK: i64 = 300;

/// Makes a call for a batch.
pub(super) async fn call(bid: Bid, work: &Work, op: Op) -> Did {
    let (client, credential) = (&work.client, &work.credential);
    let provider = client.provider();
    let trouble = |error: ApiError| trouble(provider, &error);
    match op {
        Op::Create { file } => {
            let created = client.create(credential, &work.new_job(&bid.to_string()), &file).await;
            Did::Created(created.map(view).map_err(trouble))
        }
        Op::Find { batch, files, age, except } => {
            let search = Search { batch: batch.to_string(), files, since: since(age), except };
            let found = find(work, &search).await;
            let views = found.map(|found| (found.items.into_iter().map(view).collect(), found.complete));
            Did::Found(views.map_err(trouble))
        }
        Op::Poll { job } => Did::Polled(client.retrieve(credential, &job).await.map(view).map_err(trouble)),
        Op::Cancel { job } => Did::Cancelled(client.cancel(credential, &job).await.map_err(trouble)),
        Op::Delete { file } => {
            let was_there = client.delete(credential, &file).await.map_err(trouble);
            Did::Deleted(file, was_there.map(|was| if was { Gone::Deleted } else { Gone::Absent }))
        }
        Op::Sweep { name, keep, age } => Did::Swept(sweep(work, &name, &keep, age).await.map_err(trouble)),
        // The data-carrying operations have their own modules and never come here.
        Op::Open(_)
        | Op::Upload { .. }
        | Op::CreateInline { .. }
        | Op::Download { .. }
        | Op::Tell(..)
        | Op::Flush => Did::Flushed,
    }
}

/// The moment before which nothing of a batch of this age was created, in unix seconds of the provider's clock.
fn since(age: Duration) -> i64 {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::now().as_second().saturating_sub(age).saturating_sub(CLOCK_SLACK)
}

async fn sweep(work: &Work, name: &str, keep: &[String], age: Duration) -> Result<usize, ApiError> {
    let found = work.client.find_files(&work.credential, since(age), name).await?;
    let mut deleted = 0;
    for file in found.items.iter().filter(|file| !keep.contains(&file.id)) {
        work.client.delete(&work.credential, &file.id).await?;
        deleted += 1;
    }
    Ok(deleted)
}

/// A job as the state machine sees it.
pub(super) fn view(job: Job) -> JobView {
    JobView {
        id: job.id,
        phase: job.phase,
        status: job.status,
        input_file: job.input,
        output_file: job.output,
        error_file: job.errors_in,
        counts: job.counts.map(|counts| (counts.total, counts.completed, counts.failed)),
        errors: job.errors.into_iter().map(|error| (error.code, error.line, error.message)).collect(),
    }
}

/// What a failed call means.
pub(super) fn trouble(provider: &dyn Provider, error: &ApiError) -> Trouble {
    let kind = match error.kind() {
        Kind::NotSent | Kind::Rejected(_) => TroubleKind::NotDone,
        Kind::Ambiguous(_) | Kind::Local(_) => TroubleKind::Ambiguous,
    };
    let refused = matches!(error.kind(), Kind::Rejected(_));
    let missing = |answer: &Answer| refused && provider.is_missing_file(answer.status, &answer.body);
    let full = |answer: &Answer| {
        refused && provider.is_queue_full(answer.status, &answer.body, answer.retry_after.is_some())
    };
    let file_not_visible = error.answer().is_some_and(missing);
    Trouble {
        kind,
        retry_after: error.retry_after(),
        retryable: error.is_retryable() || file_not_visible,
        file_not_visible,
        queue_full: error.answer().is_some_and(full),
        message: error.to_string(),
        answer: error.answer().map(|answer| verbatim(provider, answer)),
        status: error.status(),
    }
}

/// The provider's words for the caller, as they are.
fn verbatim(provider: &dyn Provider, answer: &Answer) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(id) = answer.request_id.as_ref().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert(provider.request_id(), id);
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    Outcome::Response(Response {
        status,
        headers,
        job: String::new(),
        body: Bytes::copy_from_slice(&answer.body),
        unbatchable: false,
        route: Route::Batch,
    })
}
