//! The small calls, and what their ends mean to the state machine.

use std::time::Duration;

use bytes::Bytes;
use common::ids::Bid;
use common::outcome::{Outcome, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::work::Work;
use crate::core::{Did, Gone, JobPhase, JobView, Op, Trouble, TroubleKind};
use crate::openai::{Answer, ApiError, BatchObject, Client, Kind, NewBatch, Status};

/// Metadata key of our batch id on jobs.
const BID: &str = "llmp_bid";
/// How far a provider's clock may be behind ours, in seconds.
const CLOCK_SLACK: i64 = 300;
/// How long the provider keeps result files that were not deleted after delivery.
const OUTPUTS_EXPIRE_AFTER: Duration = Duration::from_secs(2 * 24 * 3600);

/// Makes a call for a batch.
pub(super) async fn call(client: &Client, bid: Bid, work: &Work, op: Op) -> Did {
    let credential = &work.credential;
    match op {
        Op::Create { file } => {
            let bid = bid.to_string();
            let new = NewBatch {
                input_file_id: &file,
                endpoint: &work.endpoint,
                metadata: &[(BID, &bid)],
                outputs_expire_after: Some(OUTPUTS_EXPIRE_AFTER),
            };
            Did::Created(client.create(credential, &new).await.map(view).map_err(|e| trouble(&e)))
        }
        Op::Find { batch, age } => {
            let ours = batch.to_string();
            let is_ours = |batch: &BatchObject| batch.metadata.get(BID) == Some(&ours);
            let found = client.find_batches(credential, since(age), is_ours).await;
            let views = found.map(|found| (found.items.into_iter().map(view).collect(), found.complete));
            Did::Found(views.map_err(|e| trouble(&e)))
        }
        Op::Poll { job } => {
            Did::Polled(client.retrieve(credential, &job).await.map(view).map_err(|e| trouble(&e)))
        }
        Op::Cancel { job } => {
            Did::Cancelled(client.cancel(credential, &job).await.map(drop).map_err(|e| trouble(&e)))
        }
        Op::Delete { file } => {
            let was_there = client.delete_file(credential, &file).await.map_err(|e| trouble(&e));
            Did::Deleted(file, was_there.map(|was| if was { Gone::Deleted } else { Gone::Absent }))
        }
        Op::Sweep { name, keep, age } => Did::Swept(sweep(client, work, &name, &keep, age).await),
        // The data-carrying operations have their own modules and never come here.
        Op::Open(_) | Op::Upload { .. } | Op::Download { .. } | Op::Tell(..) | Op::Flush => Did::Flushed,
    }
}

/// The moment before which nothing of a batch of this age was created, in unix seconds of the provider's clock.
fn since(age: Duration) -> i64 {
    let age = i64::try_from(age.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::now().as_second().saturating_sub(age).saturating_sub(CLOCK_SLACK)
}

async fn sweep(
    client: &Client,
    work: &Work,
    name: &str,
    keep: &[String],
    age: Duration,
) -> Result<usize, Trouble> {
    let found = client.find_files(&work.credential, since(age), name).await.map_err(|e| trouble(&e))?;
    let mut deleted = 0;
    for file in found.items.iter().filter(|file| !keep.contains(&file.id)) {
        client.delete_file(&work.credential, &file.id).await.map_err(|e| trouble(&e))?;
        deleted += 1;
    }
    Ok(deleted)
}

fn view(batch: BatchObject) -> JobView {
    let phase = match &batch.status {
        Status::Completed => JobPhase::Completed,
        Status::Failed => JobPhase::Failed,
        Status::Expired => JobPhase::Expired,
        Status::Cancelled => JobPhase::Cancelled,
        Status::Validating
        | Status::InProgress
        | Status::Finalizing
        | Status::Cancelling
        | Status::Unknown(_) => JobPhase::Running,
    };
    JobView {
        id: batch.id,
        phase,
        status: batch.status.to_string(),
        input_file: batch.input_file_id,
        output_file: batch.output_file_id,
        error_file: batch.error_file_id,
        counts: batch.counts.map(|counts| (counts.total, counts.completed, counts.failed)),
        errors: batch.errors.into_iter().map(|error| (error.code, error.line, error.message)).collect(),
    }
}

/// What a failed call means.
pub(super) fn trouble(error: &ApiError) -> Trouble {
    let kind = match error.kind() {
        Kind::NotSent | Kind::Rejected(_) => TroubleKind::NotDone,
        Kind::Ambiguous(_) | Kind::Local(_) => TroubleKind::Ambiguous,
    };
    Trouble {
        kind,
        retry_after: error.retry_after(),
        retryable: error.is_retryable(),
        file_not_visible: error.is_file_not_visible_yet(),
        message: error.to_string(),
        answer: error.answer().map(verbatim),
        status: error.status(),
    }
}

/// The provider's words for the caller, as they are.
fn verbatim(answer: &Answer) -> Outcome {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(id) = answer.request_id.as_ref().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("x-request-id", id);
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    Outcome::Response(Response {
        status,
        headers,
        job: String::new(),
        body: Bytes::copy_from_slice(&answer.body),
    })
}
