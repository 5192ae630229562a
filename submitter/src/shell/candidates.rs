//! Finding the jobs of a batch: by its id, by its input files, or else by the answers in them.

use common::ids::Rid;
use providers::{Call, Job, Marks, Phase, Source};

use super::work::Work;
use crate::api::{ApiError, Found, LineSplitter};

/// Jobs that are looked into, newest first; further ones stay undecided.
const MOST: usize = 50;
/// Parts of a document that are looked into.
const MOST_PARTS: usize = 10_000;

/// What is looked for.
pub(super) struct Search {
    /// The batch's id, which its jobs may carry.
    pub(super) batch: String,
    /// Its input files: what was made from one of them is its job, whatever else the job shows.
    pub(super) files: Vec<String>,
    /// None was created before this moment, in unix seconds.
    pub(super) since: i64,
    /// Jobs of others.
    pub(super) except: Vec<String>,
}

impl Search {
    fn is_ours(&self, job: &Job) -> bool {
        let from_ours = || job.input.as_ref().is_some_and(|input| self.files.contains(input));
        job.batch.as_ref() == Some(&self.batch) || from_ours()
    }
}

/// The jobs of this credential that are the batch's. Where a provider may not show whose a job is, those that show nothing
/// are looked into. While one that might be the batch's has not ended, that cannot be told: then what was found is not complete.
///
/// # Errors
/// [`ApiError`]; safe to repeat.
pub(super) async fn find(work: &Work, search: &Search) -> Result<Found<Job>, ApiError> {
    let lines = work.granted.iter().map(|granted| granted.rids.len() as u64).sum::<u64>();
    // Of a batch that was another's, only a part may be known here.
    let enough = |job: &Job| job.counts.is_none_or(|counts| counts.total == 0 || counts.total >= lines);
    let marks = work.client.provider().about().caps.marks_jobs;
    let says_nothing = |job: &Job| marks != Marks::Always && job.batch.is_none() && job.input.is_none();
    let may_be = |job: &Job| says_nothing(job) && enough(job) && !search.except.contains(&job.id);
    let wanted = |job: &Job| search.is_ours(job) || may_be(job);
    let found = work.client.find_jobs(&work.credential, search.since, wanted).await?;
    let (ours, unsure): (Vec<Job>, Vec<Job>) = found.items.into_iter().partition(|job| search.is_ours(job));
    let mut ours = Found { items: ours, complete: found.complete && unsure.len() <= MOST };
    for job in unsure.into_iter().take(MOST) {
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

/// Whether a result of a job answers one of our requests. Of a batch that several ingresses share, any may be the one. Results
/// that are not there any more were others': nobody has read ours yet.
async fn has_ours(work: &Work, job: &Job) -> Result<bool, ApiError> {
    for results in job.output.iter().chain(&job.errors_in) {
        let read = match work.client.provider().results(results) {
            Source::Lines(call) => has_ours_in_lines(work, &call).await,
            Source::Document(call) => has_ours_in_document(work, call).await,
        };
        match read {
            Err(error) if error.status() == Some(404) => {}
            Ok(false) => {}
            read => return read,
        }
    }
    Ok(false)
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
