//! A submitter that hears anything in any order, before a provider that answers anything.

use std::time::Duration;

use bytes::Bytes;
use common::bus::Message;
use common::drive::Core as _;
use common::ids::{Bid, Rid};
use common::link::Parsed;
use common::members::{Identity, Members};
use common::timers::Now;
use common::wire::{self, Role};
use prost::Message as _;
use providers::Upstreams;
use submitter::core::{
    Claimant, Core, Did, Gone, Input, JobPhase, JobView, Lines, Op, Output, Timing, Trouble, TroubleKind,
};

use crate::batcher::later;
use crate::key::Cast;
use crate::messages;
use crate::source::Source;

/// Operations under way, at most; further ones never end, as in a shell whose provider is silent.
const UNDER_WAY: usize = 256;

struct Rig {
    core: Core,
    now: Now,
    cast: Cast,
    ops: Vec<(Bid, Op)>,
}

/// Takes a sequence of inputs and moments.
pub(crate) fn sequence(data: &[u8]) {
    let mut source = Source::new(data);
    let mut rig = Rig::new(source.byte());
    rig.give(Input::Bus(true));
    while let Some(what) = source.next() {
        if what >= 200 {
            rig.now = later(rig.now, what, rig.core.wake_at());
            rig.tick();
        } else if let Some(input) = rig.input(what, &mut source) {
            rig.give(input);
        }
        let _ = (rig.core.sizes(), rig.core.origins(), rig.core.is_finished(), rig.core.farewell());
    }
}

impl Rig {
    fn new(first: u8) -> Self {
        let cast = Cast::new();
        let identity =
            Identity { pid: cast.me, role: Role::Submitter, public_key: Bytes::new(), auth: Bytes::new() };
        let timing = Timing {
            linger: Duration::from_secs(20),
            poll_min: (first & 4 == 4).then_some(Duration::from_secs(2)),
            poll_max: Duration::from_secs(if first & 2 == 2 { 86_400 } else { 60 }),
            settle: Duration::from_secs(30),
            cancel_after: (first & 1 == 1).then_some(Duration::from_secs(15)),
            recreate: first & 8 == 8,
        };
        let claimant = Claimant { public_key: Bytes::from_static(b"key"), auth: Bytes::from_static(b"auth") };
        let core = Core::new(Members::new(identity), claimant, timing, Upstreams::default());
        Self { core, now: Now::ZERO, cast, ops: Vec::new() }
    }

    fn input(&mut self, what: u8, source: &mut Source<'_>) -> Option<Input> {
        Some(match what % 20 {
            0..6 => return self.addressed(source),
            6..10 => {
                let token = self.cast.token(source);
                Input::Answer(token, (source.byte() > 30).then(|| messages::reply((&self.cast, source))))
            }
            10..18 => {
                let at = usize::from(source.byte());
                let (bid, op) = (!self.ops.is_empty()).then(|| self.ops.swap_remove(at % self.ops.len()))?;
                Input::Did(bid, did(op, &self.cast, source)?)
            }
            18 => Input::Heartbeat(messages::heartbeat((&self.cast, source))),
            _ => match source.byte() {
                0..4 => Input::Drain,
                4 => Input::GiveUp,
                up => Input::Bus(up > 50),
            },
        })
    }

    /// A message, encoded and read again as the shell reads it.
    fn addressed(&mut self, source: &mut Source<'_>) -> Option<Input> {
        let body = messages::to_submitter((&self.cast, source));
        let payload = wire::ToSubmitter { body: Some(body) }.encode_to_vec().into();
        let message =
            Message { subject: String::new(), reply: Some("r".into()), payload, no_responders: false };
        match submitter::fuzzing::addressed(message)? {
            Parsed::Input(input) => Some(input),
            Parsed::Taken | Parsed::Unknown => None,
        }
    }

    fn give(&mut self, input: Input) {
        let mut out = Vec::new();
        self.core.handle(self.now, input, &mut out);
        self.heed(out);
        self.tick();
    }

    fn tick(&mut self) {
        let mut out = Vec::new();
        self.core.tick(self.now, &mut out);
        self.heed(out);
    }

    fn heed(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::ToIngress(_, token, _) => self.cast.remember_token(token),
                Output::Do(bid, op) if self.ops.len() < UNDER_WAY => self.ops.push((bid, op)),
                _ => {}
            }
        }
    }
}

/// How an operation ends; nothing for those that do not say.
fn did(op: Op, cast: &Cast, source: &mut Source<'_>) -> Option<Did> {
    Some(match op {
        Op::Open(boxes) => Did::Opened(
            boxes.into_iter().map(|(_, granted, _)| granted).filter(|_| source.byte() > 20).collect(),
        ),
        Op::Upload { .. } => Did::Uploaded(result(cast, source, |source| source.text())),
        Op::Create { .. } | Op::CreateInline { .. } => Did::Created(result(cast, source, job)),
        Op::Find { .. } => Did::Found(result(cast, source, |source| (source.some(3, job), source.yes()))),
        Op::Poll { .. } => Did::Polled(result(cast, source, job)),
        Op::Cancel { .. } => Did::Cancelled(result(cast, source, |_| ())),
        Op::Download { .. } => Did::Downloaded(result(cast, source, |source| lines(cast, source))),
        Op::Tell(..) => return None,
        Op::Flush => Did::Flushed,
        Op::Delete { file } => {
            let gone = |source: &mut Source<'_>| if source.yes() { Gone::Deleted } else { Gone::Absent };
            Did::Deleted(file, result(cast, source, gone))
        }
        Op::Sweep { .. } => Did::Swept(result(cast, source, |source| usize::from(source.byte()))),
    })
}

// As in the state machine's own types.
#[allow(clippy::result_large_err)]
fn result<T>(
    cast: &Cast,
    source: &mut Source<'_>,
    good: impl FnOnce(&mut Source<'_>) -> T,
) -> Result<T, Trouble> {
    match source.byte() {
        0..150 => Ok(good(source)),
        bad => Err(trouble(bad, cast, source)),
    }
}

fn trouble(bad: u8, cast: &Cast, source: &mut Source<'_>) -> Trouble {
    Trouble {
        kind: match bad % 3 {
            0 => TroubleKind::NotDone,
            1 => TroubleKind::Ambiguous,
            _ => TroubleKind::IngressLost(source.pick(&cast.pids).unwrap_or_default()),
        },
        retry_after: (bad & 8 != 0).then(|| Duration::from_secs(source.number())),
        retryable: bad & 16 != 0,
        file_not_visible: bad & 32 != 0,
        queue_full: bad & 128 != 0,
        message: source.text(),
        answer: (bad & 4 != 0).then(|| messages::outcome(source)),
        status: (bad & 64 != 0).then_some(400),
    }
}

fn job(source: &mut Source<'_>) -> JobView {
    let phases =
        [JobPhase::Running, JobPhase::Completed, JobPhase::Failed, JobPhase::Expired, JobPhase::Cancelled];
    JobView {
        id: source.text(),
        phase: source.pick(&phases).unwrap_or(JobPhase::Running),
        status: source.text(),
        input_file: source.yes().then(|| source.text()),
        output_file: source.yes().then(|| source.text()),
        error_file: source.yes().then(|| source.text()),
        counts: source.yes().then(|| (source.number(), source.number(), source.number())),
        errors: source
            .some(3, |source| (source.text(), source.yes().then(|| source.number()), source.text())),
    }
}

fn lines(cast: &Cast, source: &mut Source<'_>) -> Lines {
    let rids =
        |source: &mut Source<'_>| source.some(6, |source| source.pick(&cast.rids)).into_iter().flatten();
    let seen: std::collections::BTreeSet<Rid> = rids(source).collect();
    let answered = seen.iter().copied().filter(|_| source.byte() > 40).collect();
    Lines {
        seen,
        answered,
        succeeded: source.number(),
        failed: source.number(),
        unreadable: u64::from(source.byte() / 128),
    }
}
