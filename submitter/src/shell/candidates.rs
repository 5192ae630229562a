//! Finding a job that carries no id of ours, by the answers in it.

use common::ids::Rid;
use providers::{Call, Job, Phase, Source};

use super::work::Work;
use crate::api::{ApiError, Found, LineSplitter};

/// Jobs that are looked into, newest first; further ones stay undecided.
const MOST: usize = 50;
/// Parts of a document that are looked into.
const MOST_PARTS: usize = 10_000;

/// The jobs of this credential, created since a moment (unix seconds), that hold requests of this batch. While one that might
/// has not ended, its requests cannot be told: then what was found is not complete. Those that name their input file are left to
/// who knows the files.
///
/// # Errors
/// [`ApiError`]; safe to repeat.
pub(super) async fn candidates(work: &Work, since: i64, except: &[String]) -> Result<Found<Job>, ApiError> {
    let lines = work.granted.iter().map(|granted| granted.rids.len() as u64).sum::<u64>();
    // Of a batch that was another's, only a part may be known here.
    let enough = |job: &Job| job.counts.is_none_or(|counts| counts.total == 0 || counts.total >= lines);
    let may_be = |job: &Job| !except.contains(&job.id) && (job.input.is_some() || enough(job));
    let found = work.client.find_jobs(&work.credential, since, may_be).await?;
    let (named, unnamed): (Vec<Job>, Vec<Job>) = found.items.into_iter().partition(|job| job.input.is_some());
    let mut ours = Found { items: named, complete: found.complete && unnamed.len() <= MOST };
    for job in unnamed.into_iter().take(MOST) {
        match job.phase {
            Phase::Running => ours.complete = false,
            Phase::Failed => {}
            Phase::Completed | Phase::Expired | Phase::Cancelled => {
                if has_ours(work, &job).await? {
                    ours.items.push(job);
                }
            }
        }
    }
    Ok(ours)
}

/// Whether a result of a job answers one of our requests. Of a batch that several ingresses share, any may be the one.
async fn has_ours(work: &Work, job: &Job) -> Result<bool, ApiError> {
    match job.output.as_ref().map(|output| work.client.provider().results(output)) {
        None => Ok(false),
        Some(Source::Lines(call)) => has_ours_in_lines(work, &call).await,
        Some(Source::Document(call)) => has_ours_in_document(work, call).await,
    }
}

async fn has_ours_in_lines(work: &Work, call: &Call) -> Result<bool, ApiError> {
    let mut splitter = LineSplitter::default();
    let mut content = work.client.content(&work.credential, call, 0).await?;
    while let Some(chunk) = content.chunk().await? {
        splitter.push(chunk);
        // A line that is too long tells nothing.
        while let Ok(Some(line)) = splitter.next_line() {
            if is_ours(work, &line) {
                return Ok(true);
            }
        }
    }
    Ok(splitter.finish().is_some_and(|line| is_ours(work, &line)))
}

async fn has_ours_in_document(work: &Work, mut call: Call) -> Result<bool, ApiError> {
    for _ in 0..MOST_PARTS {
        let body = work.client.document(&work.credential, &call).await?;
        // What cannot be read tells nothing.
        let Ok(part) = work.client.provider().read_document(&call, &body) else { return Ok(false) };
        if part.elements.iter().any(|element| is_ours(work, element)) {
            return Ok(true);
        }
        match part.next {
            Some(next) => call = next,
            None => return Ok(false),
        }
    }
    Ok(false)
}

fn is_ours(work: &Work, line: &[u8]) -> bool {
    let read = work.client.provider().read_result(line).ok();
    let rid = read.and_then(|line| line.custom_id.parse::<Rid>().ok());
    rid.is_some_and(|rid| work.courier.knows(rid))
}
