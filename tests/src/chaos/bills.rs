//! Which requests were paid for more than once, and whether everybody who knew of the first time had died.
//!
//! A request whose ingress and submitter are both gone is known to nobody: sent again by its caller, it is a new request. That
//! is the one case that is not a mistake.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::ids::{Pid, Rid};
use simulator::Entry;

use super::client::{Answer, Sent};
use super::spy::Grants;
use super::stage::Member;

/// A heartbeat may be heard so long after its process was killed.
const ON_ITS_WAY: Duration = Duration::from_millis(100);

/// A job may be seen at the provider for the first time so long after it was made.
const SEEN_AFTER: Duration = Duration::from_secs(1);

/// One process was killed.
#[derive(Debug, Clone)]
pub(super) struct Kill {
    /// Just before.
    pub(super) at: Instant,
    /// What it was.
    pub(super) role: &'static str,
    /// Its name and the number of its start.
    pub(super) process: (String, u32),
    /// Base URL of an ingress, else empty.
    pub(super) url: String,
}

/// Requests that were paid for more than once.
#[derive(Debug, Default)]
pub(super) struct Bills {
    /// Those whose ingress and submitter died in between.
    pub(super) forgotten: usize,
    /// Those of them whose submitter died when another ingress had been sent the call and could have asked it.
    pub(super) just_missed: usize,
    /// All others, with what is known of each.
    pub(super) mistakes: Vec<String>,
}

/// What happened in a round.
pub(super) struct Story<'a> {
    pub(super) answers: &'a [Answer],
    pub(super) kills: &'a [Kill],
    /// As far as they were heard: not while the bus was down.
    pub(super) grants: &'a Grants,
    /// When each job was first seen at the provider.
    pub(super) jobs: &'a BTreeMap<String, Instant>,
    pub(super) submitters: &'a [Member],
    pub(super) began: Instant,
}

/// One line that was paid for.
struct Paid<'a> {
    id: &'a str,
    job: &'a str,
}

impl Story<'_> {
    /// Judges a ledger.
    pub(super) fn bills(&self, ledger: &[Entry]) -> Bills {
        let mut paid: BTreeMap<&str, Vec<Paid<'_>>> = BTreeMap::new();
        for entry in ledger.iter().filter(|entry| entry.billed) {
            let (id, job) = (entry.custom_id.as_deref(), entry.batch.as_deref());
            let line = Paid { id: id.unwrap_or_default(), job: job.unwrap_or_default() };
            paid.entry(entry.marker.as_deref().unwrap_or_default()).or_default().push(line);
        }
        let mut bills = Bills::default();
        for (marker, mut lines) in paid.into_iter().filter(|(_, lines)| lines.len() > 1) {
            lines.sort_by_key(|line| self.jobs.get(line.job).copied());
            let deaths = lines.windows(2).map(|pair| self.was_forgotten(marker, &pair[0], &pair[1]));
            match deaths.collect::<Option<Vec<_>>>() {
                Some(missed) => {
                    bills.forgotten += 1;
                    bills.just_missed += usize::from(missed.contains(&true));
                }
                None => bills.mistakes.push(self.describe(marker, &lines)),
            }
        }
        bills
    }

    /// If whoever held a request had died before it was granted once more, and an ingress at which its call waited: whether
    /// the call had been sent to another ingress by then.
    fn was_forgotten(&self, marker: &str, first: &Paid<'_>, second: &Paid<'_>) -> Option<bool> {
        let granted = self.grants_of(second.id).first().map(|(_, at)| *at);
        let again = granted.or_else(|| self.jobs.get(second.job).copied())?;
        let submitter = self.lost_its_submitter(first, again).filter(|_| first.id != second.id)?;
        let ingress = self.lost_its_ingress(marker, again)?;
        let sent_in_between = |(_, from, _): &&Sent| (ingress..submitter).contains(from);
        Some(self.sent(marker).any(|sent| sent_in_between(&sent)))
    }

    fn grants_of(&self, id: &str) -> &[(Pid, Instant)] {
        let rid = id.parse::<Rid>().ok();
        rid.and_then(|rid| self.grants.get(&rid)).map_or(&[], Vec::as_slice)
    }

    /// When the last of those died who held a request, if they all did: who made its job, and who was granted it last.
    fn lost_its_submitter(&self, line: &Paid<'_>, before: Instant) -> Option<Instant> {
        let by_grants = self.grants_of(line.id).iter().rev().find(|(_, at)| *at <= before);
        let mut deaths = self.deaths_of_its_creators(line.job);
        deaths.extend(by_grants.map(|(holder, _)| self.death(*holder)));
        if deaths.is_empty() {
            deaths.extend(self.death_of_its_unnamed_creator(line.job).map(Some));
        }
        let deaths: Option<Vec<Instant>> = deaths.into_iter().collect();
        deaths?.into_iter().max().filter(|at| *at <= before)
    }

    /// A job that no log names, made under a grant that was not heard since the bus was down: who made it died before it had read
    /// the provider's answer. A submitter that lives names every job that it made or found.
    fn death_of_its_unnamed_creator(&self, job: &str) -> Option<Instant> {
        let named = self.submitters.iter().any(|member| {
            let starts = 1..=member.process.starts();
            starts.into_iter().any(|start| member.process.log_of(start).contains(job))
        });
        let seen = *self.jobs.get(job).filter(|_| !named)?;
        let kills = self.kills.iter().filter(|kill| kill.role == "submitter").map(|kill| kill.at);
        kills.filter(|at| *at + SEEN_AFTER >= seen).min()
    }

    /// Of those whose own creation the job is. Who only found it has the part of it that it was granted, which may be another
    /// ingress's.
    fn deaths_of_its_creators(&self, job: &str) -> Vec<Option<Instant>> {
        self.deaths_of(|log| says(log, &["a job is created", job]) && !says(log, &["found the job", job]))
    }

    /// When each start of a submitter ended that has all these words in one line of its log.
    fn deaths_of_those_who_said(&self, words: &[&str]) -> Vec<Option<Instant>> {
        self.deaths_of(|log| says(log, words))
    }

    fn deaths_of(&self, meant: impl Fn(&str) -> bool) -> Vec<Option<Instant>> {
        let mut deaths = Vec::new();
        for process in self.submitters.iter().map(|member| &member.process) {
            for start in (1..=process.starts()).filter(|start| meant(&process.log_of(*start))) {
                let name = (process.name().to_owned(), start);
                deaths.push(self.kills.iter().find(|kill| kill.process == name).map(|kill| kill.at));
            }
        }
        deaths
    }

    fn sent(&self, marker: &str) -> impl Iterator<Item = &Sent> {
        self.answers.iter().filter(move |answer| answer.marker == marker).flat_map(|answer| &answer.sent)
    }

    /// When an ingress died at which the call waited.
    fn lost_its_ingress(&self, marker: &str, before: Instant) -> Option<Instant> {
        let deaths = self.sent(marker).filter_map(|(url, from, to)| {
            let during = |kill: &&Kill| kill.url == *url && (*from..=*to + ON_ITS_WAY).contains(&kill.at);
            self.kills.iter().find(during).map(|kill| kill.at)
        });
        deaths.filter(|at| *at <= before).max()
    }

    /// When a submitter was killed, whose name on the bus is in its log.
    fn death(&self, pid: Pid) -> Option<Instant> {
        self.deaths_of_those_who_said(&["joining the bus", &pid.to_string()]).into_iter().flatten().next()
    }

    fn describe(&self, marker: &str, lines: &[Paid<'_>]) -> String {
        let since = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64();
        let mut text = format!("{marker} was paid for {} times:", lines.len());
        // Writing to a string cannot fail.
        for line in lines {
            let _ = write!(text, " {} in {}", line.id, line.job);
            if let Some(at) = self.jobs.get(line.job) {
                let _ = write!(text, " seen at {:.2} s", since(*at));
            }
            for (pid, at) in self.grants_of(line.id) {
                let _ = write!(text, " granted to {pid} at {:.2} s", since(*at));
                if let Some(death) = self.death(*pid) {
                    let _ = write!(text, " (killed at {:.2} s)", since(death));
                }
            }
            for death in self.deaths_of_those_who_said(&[line.job]) {
                let _ = match death {
                    Some(at) => write!(text, " held by one killed at {:.2} s", since(at)),
                    None => write!(text, " held by one that lives"),
                };
            }
            text.push(';');
        }
        for (url, from, to) in self.sent(marker) {
            let _ = write!(text, " sent to {url} {:.2} s to {:.2} s;", since(*from), since(*to));
        }
        for kill in self.kills.iter().filter(|kill| !kill.url.is_empty()) {
            let _ = write!(text, " {} killed at {:.2} s;", kill.url, since(kill.at));
        }
        text
    }
}

/// Whether one line has all these words.
fn says(log: &str, words: &[&str]) -> bool {
    log.lines().any(|line| words.iter().all(|word| line.contains(word)))
}
