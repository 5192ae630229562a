//! Rounds of many requests, while a random process is killed every second and started again.

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::ops::AddAssign;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use simulator::Config;

use super::bills::{Bills, Kill, Story};
use super::client::{Calls, Manner};
use super::stage::{Setup, Stage};
use crate::calls::Call;

/// When each job was first seen.
type Jobs = BTreeMap<String, Instant>;

/// Between two looks at the jobs of the provider.
const LOOK_AT_JOBS: Duration = Duration::from_millis(50);
/// Over this time the requests of a round come.
const LOAD: Duration = Duration::from_secs(12);
/// Between two kills.
const PAUSE: Duration = Duration::from_secs(1);
/// How often a call is sent again. SDKs do it twice unless told otherwise; a round has many more crashes than any day.
const RETRIES: u32 = 6;
/// Keys that the requests are spread over, and endpoints.
const KEYS: usize = 20;
const ENDPOINTS: usize = 2;
/// Most requests of a round that were paid for twice are alike.
const SHOWN: usize = 10;
/// No round takes as long, whoever was killed.
const LIMIT: Duration = Duration::from_secs(240);

/// What a round is.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Decides who is killed.
    pub seed: u64,
    /// How many requests.
    pub requests: usize,
    /// Whether ingresses are killed too. Their callers send again, to another one.
    pub ingresses: bool,
}

/// What came of a round, or of several.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Requests.
    pub requests: usize,
    /// Those without their own answer.
    pub lost: usize,
    /// Those with somebody else's.
    pub wrong: usize,
    /// Those that were paid for more than once although somebody who knew of them lived.
    pub billed_twice: usize,
    /// Those that were paid for more than once, their ingress and their submitter having died in between.
    pub forgotten: usize,
    /// Those of them whose submitter died when another ingress had been sent the call and could have asked it.
    pub just_missed: usize,
    /// Those that their callers had to send again.
    pub sent_again: usize,
    /// Files at the provider after all was over.
    pub files_left: usize,
    /// More about what is wrong.
    pub notes: Vec<String>,
    /// Kinds of failures of the lost ones.
    failures: BTreeMap<String, usize>,
    /// Times from a kill to the next answer that anybody got, by role.
    next: BTreeMap<&'static str, Vec<Duration>>,
    /// The longest time from the last kill to the last answer.
    settled: Duration,
}

/// `SplitMix64`.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % bound.max(1) as u64).unwrap_or(0)
    }
}

/// Plays one round.
///
/// # Errors
/// Something does not start, or a process ends by itself.
pub async fn play(plan: Plan) -> Result<Tally> {
    let setup = Setup {
        name: "round",
        counts: [if plan.ingresses { 2 } else { 1 }, 2, 2],
        seal_at: 100,
        window: "700ms",
        config: Config { seed: plan.seed, batch_time: Duration::from_millis(1_500), ..Config::default() },
        ..Setup::default()
    };
    let mut stage = Stage::start(setup).await?;
    let urls = (0..stage.ingresses.len()).map(|i| stage.url(i)).collect();
    let manner = Manner { retries: RETRIES, over: LOAD, ..Manner::at(urls) };
    let name = format!("r{:x}", plan.seed);
    let grants = stage.spy.grants().await?;
    let calls = Calls::make(&Call::spread(&name, plan.requests, KEYS, ENDPOINTS), &manner)?;
    let began = Instant::now();
    let mut answers = tokio::spawn(calls.all(LIMIT));
    let mut dice = Dice(plan.seed);
    let (mut kills, mut jobs, mut next) = (Vec::new(), Jobs::new(), began + PAUSE);
    let answers = loop {
        if let Ok(answers) = tokio::time::timeout(LOOK_AT_JOBS, &mut answers).await {
            break answers?;
        }
        for job in stage.simulator.batches() {
            jobs.entry(job.id).or_insert_with(Instant::now);
        }
        if began.elapsed() < LOAD && Instant::now() >= next {
            kills.push(kill(&mut stage, &mut dice, plan.ingresses)?);
            next = Instant::now() + PAUSE;
        }
    };
    for member in stage.ingresses.iter_mut().chain(&mut stage.batchers).chain(&mut stage.submitters) {
        ensure!(member.process.is_running(), "ended by itself: {}", member.process.log());
    }
    let grants = grants.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let story = Story {
        answers: &answers,
        kills: &kills,
        grants: &grants,
        jobs: &jobs,
        submitters: &stage.submitters,
        began,
    };
    let bills = story.bills(&stage.simulator.ledger());
    let mut tally = count(&stage, &plan, &story, &bills);
    if tally.lost + tally.wrong + tally.billed_twice > 0 {
        tally.notes = bills.mistakes.into_iter().take(SHOWN).collect();
        tally.notes.push(format!("logs: {}", stage.keep_logs().display()));
    }
    Ok(tally)
}

fn kill(stage: &mut Stage, dice: &mut Dice, ingresses: bool) -> Result<Kill> {
    let (role, members) = match dice.below(if ingresses { 10 } else { 8 }) {
        0 => {
            let process = ("nats".to_owned(), 0);
            let killed = Kill { at: Instant::now(), role: "nats", process, url: String::new() };
            stage.nats.restart()?;
            return Ok(killed);
        }
        1..=3 => ("batcher", &mut stage.batchers),
        4..=7 => ("submitter", &mut stage.submitters),
        _ => ("ingress", &mut stage.ingresses),
    };
    let one = dice.below(members.len());
    let member = &mut members[one];
    let process = (member.process.name().to_owned(), member.process.starts());
    let killed = Kill { at: Instant::now(), role, process, url: member.url() };
    member.process.restart(member.address)?;
    Ok(killed)
}

fn count(stage: &Stage, plan: &Plan, story: &Story<'_>, bills: &Bills) -> Tally {
    let (answers, kills) = (story.answers, story.kills);
    let mut tally = Tally {
        requests: plan.requests,
        billed_twice: bills.mistakes.len(),
        forgotten: bills.forgotten,
        just_missed: bills.just_missed,
        ..Tally::default()
    };
    for answer in answers {
        tally.sent_again += usize::from(answer.sent.len() > 1);
        match answer.wrong() {
            Some(why) if why == "is 200" => tally.wrong += 1,
            Some(why) => *tally.failures.entry(why).or_default() += 1,
            None => {}
        }
    }
    let silent = plan.requests - answers.len();
    if silent > 0 {
        tally.failures.insert("no answer at all".into(), silent);
    }
    tally.lost = tally.failures.values().sum();
    let mut at: Vec<Instant> = answers.iter().filter(|a| a.wrong().is_none()).map(|a| a.at).collect();
    at.sort_unstable();
    for kill in kills {
        if let Some(next) = at.get(at.partition_point(|at| *at < kill.at)) {
            tally.next.entry(kill.role).or_default().push(*next - kill.at);
        }
    }
    if let (Some(last), Some(kill)) = (at.last(), kills.last()) {
        tally.settled = last.saturating_duration_since(kill.at);
    }
    tally.files_left = stage.simulator.files_left_total();
    tally
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.lost += other.lost;
        self.wrong += other.wrong;
        self.billed_twice += other.billed_twice;
        self.forgotten += other.forgotten;
        self.just_missed += other.just_missed;
        self.sent_again += other.sent_again;
        self.files_left += other.files_left;
        self.settled = self.settled.max(other.settled);
        for (failure, count) in other.failures {
            *self.failures.entry(failure).or_default() += count;
        }
        for (role, times) in other.next {
            self.next.entry(role).or_default().extend(times);
        }
    }
}

impl Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            requests, lost, wrong, billed_twice, forgotten, just_missed, sent_again, files_left, ..
        } = self;
        write!(f, "{requests} requests: lost {lost}, wrong {wrong}, billed twice {billed_twice}; ")?;
        write!(f, "billed again after their ingress and submitter died {forgotten} ")?;
        write!(f, "(the submitter after they were sent again: {just_missed}); ")?;
        write!(f, "sent again by callers {sent_again}; files left {files_left}; ")?;
        write!(
            f,
            "last answer {:.1} s after the last kill; next answer after a kill",
            self.settled.as_secs_f64()
        )?;
        for (role, times) in &self.next {
            let mut times = times.clone();
            times.sort_unstable();
            let (median, most) = (times[times.len() / 2], times[times.len() - 1]);
            write!(f, ", {role} ({}x) {:.2} s", times.len(), median.as_secs_f64())?;
            write!(f, " at most {:.2} s", most.as_secs_f64())?;
        }
        for (failure, count) in &self.failures {
            write!(f, "; {count} {failure}")?;
        }
        Ok(())
    }
}
