//! Calls between submitters and the provider, and what becomes of them on the way.

use std::time::Duration;

use submitter::core::Gone;

use crate::bugs::Bug;
use crate::node::{Local, ProcId};
use crate::provider::{Answer, Ask, Given, not_sent, refused, unknown};
use crate::world::{Event, Fate, World};

/// Most that an upload is executed after its connection broke.
const LATE_UPLOAD_MS: u64 = 4_000;
/// Most that a creation is executed after its connection broke.
const LATE_CREATE_MS: u64 = 200_000;

impl World {
    /// A submitter calls the provider.
    pub(crate) fn ask(&mut self, from: ProcId, call: u64, ask: Ask) {
        let name = &self.processes[from].name;
        self.trace.note(self.now, || format!("{name} calls {}: {}", call & 0xffff, brief(&ask)));
        if self.options.bug == Some(Bug::FenceNotSet) && matches!(ask, Ask::Delete { .. }) {
            // Said at once, done much later.
            self.queue.plan(self.now + Duration::from_secs(240), Event::Reach(from, 0, ask, None));
            let done = Local::Answered(call, Box::new(Ok(Given::Gone(Gone::Deleted))));
            return self.queue.plan(self.now + Duration::from_millis(50), Event::Local(from, done));
        }
        let way = self.rng.millis(20, 400);
        let back = self.rng.millis(5, 400);
        let fate = match self.rng.chance(self.knobs.trouble) {
            true => self.draw_fate(&ask, way),
            false => {
                let slow = self.rng.chance(self.knobs.slow_call);
                let way = if slow { self.rng.millis(500, 30_000) } else { way };
                Fate { executed: Some(way), instead: None }
            }
        };
        if let Some(after) = fate.executed {
            let back = fate.instead.is_none().then_some(back);
            self.queue.plan(self.now + after, Event::Reach(from, call, ask, back));
        }
        if let Some((after, answer)) = fate.instead {
            self.queue.plan(self.now + after, Event::Local(from, Local::Answered(call, Box::new(answer))));
        }
    }

    fn draw_fate(&mut self, ask: &Ask, way: Duration) -> Fate {
        let late = match ask {
            Ask::Upload { .. } => LATE_UPLOAD_MS,
            Ask::Create { .. } => LATE_CREATE_MS,
            _ => 10_000,
        };
        let patience = if self.rng.chance(0.1) { 120_000 } else { 20_000 };
        let given_up = self.rng.millis(50, patience);
        let late = self.rng.millis(1, late);
        let no = |answer: Answer| Fate { executed: None, instead: Some((way, answer)) };
        // Creations are late more often than others: nothing is as hard to get right.
        let fates = if matches!(ask, Ask::Create { .. }) { 12 } else { 8 };
        match self.rng.below(fates) {
            0 => no(Err(not_sent())),
            1 => no(Err(refused(429, "too many requests"))),
            2 => no(Err(unknown(Some(503)))),
            // Executed, and then an error or nothing comes back.
            3 => Fate { executed: Some(way), instead: Some((way + way, Err(unknown(Some(500))))) },
            4 => Fate { executed: Some(way), instead: Some((given_up.max(way), Err(unknown(None)))) },
            // Never executed, and nobody knows.
            5 => Fate { executed: None, instead: Some((given_up, Err(unknown(None)))) },
            6 if matches!(ask, Ask::Create { .. } | Ask::Upload { .. }) && self.rng.chance(0.2) => {
                no(Err(refused(400, "not like this")))
            }
            // Executed when the submitter has long lost hope.
            _ => Fate { executed: Some(given_up + late), instead: Some((given_up, Err(unknown(None)))) },
        }
    }

    /// A call is executed.
    pub(crate) fn reach(&mut self, from: ProcId, call: u64, ask: Ask, back: Option<Duration>) {
        let what = brief(&ask);
        let answer = self.provider.answer(self.now, from, ask);
        self.settle_provider();
        self.mark(&[b"call", what.as_bytes()]);
        self.trace.note(self.now, || format!("provider executes {}: {what}: {answer:?}", call & 0xffff));
        if let Some(back) = back {
            self.queue.plan(self.now + back, Event::Local(from, Local::Answered(call, Box::new(answer))));
        }
    }
}

fn brief(ask: &Ask) -> String {
    match ask {
        Ask::Upload { name, lines } => format!("upload {name} of {} lines", lines.len()),
        other => format!("{other:?}"),
    }
}
