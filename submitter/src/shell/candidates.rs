//! Finding a job that carries no id of ours, by the answers in it.

use std::collections::BTreeSet;

use common::ids::Rid;
use providers::{Job, Phase, Source};

use super::work::Work;
use crate::api::{ApiError, Found, LineSplitter};

/// Jobs that are looked into, newest first; further ones stay undecided.
const MOST: usize = 50;

/// The jobs of this credential, created since a moment (unix seconds), that hold requests of this batch. While one that might
/// has not ended, its requests cannot be told: then what was found is not complete.
///
/// # Errors
/// [`ApiError`]; safe to repeat.
pub(super) async fn candidates(work: &Work, since: i64, except: &[String]) -> Result<Found<Job>, ApiError> {
    let lines = work.granted.iter().map(|granted| granted.rids.len() as u64).sum::<u64>();
    // Of a batch that was another's, only a part may be known here.
    let enough = |job: &Job| job.counts.is_none_or(|counts| counts.total == 0 || counts.total >= lines);
    let may_be = |job: &Job| !except.contains(&job.id) && enough(job);
    let found = work.client.find_jobs(&work.credential, since, may_be).await?;
    let mut ours = Found { items: Vec::new(), complete: found.complete && found.items.len() <= MOST };
    for job in found.items.into_iter().take(MOST) {
        match job.phase {
            Phase::Running => ours.complete = false,
            Phase::Failed => {}
            Phase::Completed | Phase::Expired | Phase::Cancelled => {
                let known: BTreeSet<Rid> = first_lines(work, &job).await?;
                if known.iter().any(|rid| work.courier.knows(*rid)) {
                    ours.items.push(job);
                }
            }
        }
    }
    Ok(ours)
}

/// The requests of some lines of a job's answers. Batches have requests of one key alone, and any line tells whose batch it is; of a
/// batch shared by ingresses all are needed.
async fn first_lines(work: &Work, job: &Job) -> Result<BTreeSet<Rid>, ApiError> {
    let mut rids = BTreeSet::new();
    let provider = work.client.provider();
    let rid =
        |line: &[u8]| provider.read_result(line).ok().and_then(|line| line.custom_id.parse::<Rid>().ok());
    let call = match job.output.as_ref().map(|output| provider.results(output)) {
        Some(Source::Lines(call)) => call,
        Some(Source::Document(call)) => {
            let body = work.client.document(&work.credential, &call).await?;
            let elements = provider.read_document(&call, &body).map(|part| part.elements).unwrap_or_default();
            return Ok(elements.iter().filter_map(|element| rid(element)).collect());
        }
        None => return Ok(rids),
    };
    let mut splitter = LineSplitter::default();
    let mut content = work.client.content(&work.credential, &call, 0).await?;
    while let Some(chunk) = content.chunk().await? {
        splitter.push(chunk);
        // A line that is too long tells nothing.
        while let Ok(Some(line)) = splitter.next_line() {
            rids.extend(rid(&line));
        }
    }
    Ok(rids)
}
