//! The table of crash points, each hit on purpose.

use std::time::{Duration, Instant};

use anyhow::Result;
use futures_util::future::{BoxFuture, FutureExt as _};
use futures_util::stream::{self, StreamExt as _};

use super::client::Mark;
use super::report::{Outcome, Row, Verdict};

mod batcher;
mod bus;
mod elsewhere;
mod ingress;
mod leaving;
mod paused;
mod submitter;

use elsewhere::Break;

/// No row takes as long.
const LIMIT: Duration = Duration::from_secs(240);

/// One crash point.
pub struct Case {
    number: &'static str,
    point: &'static str,
    /// Takes more than a minute.
    slow: bool,
    run: fn() -> BoxFuture<'static, Result<Outcome>>,
}

macro_rules! case {
    ($number:literal, $run:expr, $point:literal) => {
        Case { number: $number, point: $point, slow: false, run: || $run.boxed() }
    };
}

/// All rows.
pub fn cases() -> Vec<Case> {
    vec![
        case!(
            "1",
            bus::restarted(),
            "NATS killed (SIGKILL) and restarted 3 s later, with 10 requests held, 20 being uploaded (delayed upload), 20 at the provider"
        ),
        case!(
            "2a",
            batcher::killed_before_acknowledging(),
            "batcher killed before acknowledging: paused, its announcement seen, killed; another one is there"
        ),
        case!(
            "2b",
            batcher::killed_after_acknowledging(),
            "batcher killed after acknowledging (seen on the bus), started anew"
        ),
        case!(
            "3",
            submitter::killed_before_its_grant(),
            "submitter killed after it accepted an offer, before its claim is answered: ingress paused, claim seen, killed, ingress resumed"
        ),
        case!(
            "4",
            submitter::killed_while_uploading(),
            "submitter killed after its grant, while uploading (the provider has the file and holds its answer)"
        ),
        case!(
            "5",
            submitter::killed_before_the_post(),
            "submitter killed after IntentAck, before the POST has effect (POST reset by the provider, undone)"
        ),
        case!(
            "6a",
            submitter::killed_during_the_post(),
            "submitter killed during the POST, job created, answer held back"
        ),
        case!(
            "6b",
            submitter::killed_while_the_post_is_late(20_000),
            "submitter killed during the POST, which has its effect 20 s later: while its job is looked for"
        ),
        Case {
            slow: true,
            ..case!(
                "6c",
                submitter::killed_while_the_post_is_late(55_000),
                "submitter killed during the POST, which has its effect 55 s later: after the fence"
            )
        },
        case!("7a", submitter::killed_while_polling(), "submitter killed while polling"),
        case!(
            "7b",
            submitter::killed_while_downloading(),
            "submitter killed while downloading (download held back)"
        ),
        case!(
            "7c",
            submitter::killed_while_delivering(),
            "submitter killed while delivering 6 MB: ingress paused, first result seen, killed, ingress resumed"
        ),
        case!(
            "8.4",
            paused::while_uploading(),
            "submitter paused while uploading, woken after another has answered everything"
        ),
        case!(
            "8.5",
            paused::before_the_post("2s", false),
            "submitter paused with its IntentAck unread (ingress paused, intent seen, submitter paused, ingress resumed), woken after another has answered everything"
        ),
        case!(
            "8.5s",
            paused::before_the_post("12s", true),
            "the same, woken in the middle of the other's settling: when the fence is deleted"
        ),
        case!(
            "8.6",
            paused::during_the_post(),
            "submitter paused during the POST (job created, answer held back), woken after another has answered everything"
        ),
        case!(
            "8.7p",
            paused::while_polling(),
            "submitter paused while polling, woken after another has answered everything"
        ),
        case!(
            "8.7r",
            paused::while_the_job_runs(),
            "submitter paused while polling a job of 18 s, woken when another has taken it over and it still runs"
        ),
        case!(
            "8.7d",
            paused::while_downloading(),
            "submitter paused while downloading, woken after another has answered everything"
        ),
        case!(
            "9",
            ingress::killed_before_the_claim(),
            "ingress killed before the claim (acknowledged, window of 3 s open)"
        ),
        case!(
            "10a",
            ingress::killed_after_create(0),
            "ingress killed after the create (job polled), with a batch shared by two ingresses: the others' answers"
        ),
        case!(
            "10b",
            ingress::killed_after_create(2),
            "the same, and the callers send again at the other ingress, with x-stainless-retry-count"
        ),
        case!(
            "10c",
            elsewhere::killed_before_callers_received(),
            "ingress killed when it has acknowledged answers of 8 MB (seen on the bus) whose callers do not read; they send again at another"
        ),
        case!(
            "10d",
            elsewhere::connection_lost("10d", Break::Cut, Mark::RetryCount),
            "callers lose their connections to an ingress that lives (job polled) and send again at another, with x-stainless-retry-count"
        ),
        case!(
            "10di",
            elsewhere::connection_lost("10di", Break::Cut, Mark::IdempotencyKey),
            "the same with nothing but an Idempotency-Key"
        ),
        case!(
            "10dh",
            elsewhere::connection_lost("10dh", Break::HalfOpen, Mark::RetryCount),
            "the same with x-stainless-retry-count, and the ingress does not see that the connections are lost"
        ),
        case!(
            "10e",
            elsewhere::samples_of_a_live_ingress(),
            "two equal requests (samples) lose their connections to an ingress that lives, and are sent again at another: two different answers"
        ),
        case!(
            "10f",
            elsewhere::samples_of_a_lost_ingress(),
            "two equal requests of an ingress that is killed, sent again at another that asks about both at once: two different answers"
        ),
        case!(
            "11a",
            ingress::cut_off(15),
            "ingress cut off from NATS for 15 s with its callers alive (job polled), batch shared by two ingresses"
        ),
        Case { slow: true, ..case!("11b", ingress::cut_off(60), "the same for 60 s") },
        case!(
            "11c",
            ingress::cut_off_alone(),
            "the only ingress cut off from NATS for 15 s with its callers alive, job of 22 s running"
        ),
        case!(
            "11d",
            ingress::paused(),
            "ingress paused for 12 s with its callers alive (job polled), batch shared by two ingresses"
        ),
        case!(
            "12",
            ingress::killed_together(),
            "ingress and submitter killed together after IntentAck (job created, answer held back); another of each is there"
        ),
        case!(
            "13",
            ingress::embedded(),
            "the embedded single process killed (job created, answer held back)"
        ),
        case!(
            "14a",
            leaving::submitter_polling(),
            "SIGTERM to a submitter with a running job, another is there"
        ),
        case!(
            "14b",
            leaving::submitter_uploading(),
            "SIGTERM to a submitter that uploads, another is there; callers send nothing again"
        ),
        case!("14c", leaving::batcher(), "SIGTERM to a batcher that holds requests, another is there"),
        case!(
            "14d",
            elsewhere::told_to_stop(),
            "SIGTERM to an ingress with 9 requests held and 10 in a job that outlasts its drain timeout of 1 s; callers send again at another"
        ),
    ]
}

/// Runs rows, at most `at_once` at a time; of all rows those that `wanted` names, or all if that is empty.
///
/// Each row goes to `show` when it is over.
pub async fn run(wanted: &[String], slow: bool, at_once: usize, show: impl Fn(&Row)) -> Vec<Row> {
    let mut cases = cases();
    match wanted.is_empty() {
        true => cases.retain(|case| slow || !case.slow),
        false => cases.retain(|case| wanted.iter().any(|number| number == case.number)),
    }
    // The long ones first would be quicker still; the order of the table is easier to follow.
    let order: Vec<_> = cases.iter().map(|case| case.number).collect();
    let under_way = stream::iter(cases).map(row).buffer_unordered(at_once);
    let mut rows: Vec<Row> = under_way.inspect(|row| show(row)).collect().await;
    rows.sort_by_key(|row| order.iter().position(|number| *number == row.number));
    rows
}

async fn row(case: Case) -> Row {
    let began = Instant::now();
    // A task of its own: a row must not stand still while others are waited for.
    let outcome = match tokio::spawn(tokio::time::timeout(LIMIT, (case.run)())).await {
        Ok(Ok(Ok(outcome))) => outcome,
        Ok(Ok(Err(error))) => Outcome::default().and(false, format!("{error:#}")),
        Ok(Err(_)) => Outcome::default().and(false, format!("not over after {LIMIT:?}")),
        Err(crash) => Outcome::default().and(false, crash.to_string()),
    };
    let verdict = if outcome.is_wrong() { Verdict::Wrong } else { Verdict::Ok };
    Row { number: case.number, point: case.point, outcome, verdict, took: began.elapsed() }
}
