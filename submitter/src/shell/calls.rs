//! The small calls, and what their ends mean to the state machine.

use bytes::Bytes;
use common::ids::Bid;
use common::outcome::{Outcome, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::work::Work;
use crate::core::{Did, JobPhase, JobView, Op, Trouble, TroubleKind};
use crate::openai::{Answer, ApiError, BatchObject, Client, Kind, NewBatch, Status};

/// Metadata key of our batch id on jobs.
const BID: &str = "llmp_bid";
/// How far a provider's clock may be behind ours, in seconds.
const CLOCK_SLACK: i64 = 300;
/// How long the provider keeps result files that were not deleted after delivery.
const OUTPUTS_EXPIRE_AFTER: std::time::Duration = std::time::Duration::from_secs(2 * 24 * 3600);

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
        Op::Find => {
            let ours = bid.to_string();
            let is_ours = |batch: &BatchObject| batch.metadata.get(BID) == Some(&ours);
            let found = client.find_batches(credential, work.began - CLOCK_SLACK, is_ours).await;
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
            let result = client.delete_file(credential, &file).await.map_err(|e| trouble(&e));
            Did::Deleted(file, result)
        }
        Op::Sweep { name, keep } => Did::Swept(sweep(client, work, &name, &keep).await),
        // The data-carrying operations have their own modules and never come here.
        Op::Open(_) | Op::Upload { .. } | Op::Download { .. } | Op::Tell(..) | Op::Flush => Did::Flushed,
    }
}

async fn sweep(client: &Client, work: &Work, name: &str, keep: &[String]) -> Result<usize, Trouble> {
    let found =
        client.find_files(&work.credential, work.began - CLOCK_SLACK, name).await.map_err(|e| trouble(&e))?;
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
