//! Callers: they come, wait, leave, come back, and know what they asked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Digest, Fingerprint, ID_LEN, Rid};
use common::key::BatchKey;
use common::outcome::{Fault, Outcome, Route};
use common::timers::Now;
use common::wire::{self, Role};
use http::{HeaderMap, HeaderValue};
use ingress::hold::{Call, Ended, Pairing};
use ingress::plan::{Plan, Ways};

use crate::ladder::Ladder;
use crate::node::{CallerId, ProcId};
use crate::rng::{Rng, hash};

/// In every key.
pub(crate) const KEY_MARK: &[u8] = b"sk-SECRET";
/// In every request.
pub(crate) const TEXT_MARK: &[u8] = b"PROMPT";
/// In every answer.
pub(crate) const ANSWER_MARK: &[u8] = b"ANSWER";
/// How long an ingress keeps answers that nobody received; and a margin for the way.
pub(crate) const ANSWERS_FOR: Duration = Duration::from_secs(120);
const MARGIN: Duration = Duration::from_secs(10);
/// How long after a deadline there is an answer: a job has to be found and cancelled, and a call alone takes ten minutes at most, and
/// as long as the provider has no room for it.
const AFTER_THE_DEADLINE: Duration = Duration::from_secs(30 * 60);
/// Processes that are out of reach so shortly one after the other are so at once: who is silent is given up after 8 s.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Somebody who wants an answer.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) text: usize,
    key: usize,
    model: usize,
    named: bool,
    plan: Plan,
    retries: u32,
    /// Waits no longer than this, except the last time.
    patience: Option<Duration>,
    /// Leaves for good after its patience, too.
    restless: bool,
    pub(crate) done: bool,
    /// Where it was last, and if it left without an answer, when it is known to have wanted one.
    last: Option<(ProcId, Option<Now>)>,
    /// The same of the time before.
    wanted: Option<Now>,
    /// Since when it wants its answer; where it has been, when.
    since: Now,
    been: Vec<(ProcId, Now)>,
    /// How many of its sendings may cost nothing more.
    again: u32,
}

/// One sending of a request.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) person: usize,
    pub(crate) rid: Rid,
    pub(crate) ingress: ProcId,
    pub(crate) state: CallerState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallerState {
    Waiting,
    Ended,
    Gone,
}

/// What a text cost, and what it may cost.
#[derive(Debug, Default)]
pub(crate) struct Account {
    pub(crate) allowed: u32,
    pub(crate) billed: u32,
    /// Who submitted it, each time that it was.
    submitters: Vec<ProcId>,
    /// Which ingresses made it alone.
    soloists: Vec<ProcId>,
    /// Lines without an answer in the results of their job although they were executed, and how many of them were paid again.
    vanished: (u32, u32),
    /// The same of those whose batch was not waited for.
    hard: (u32, u32),
    /// How often somebody got its answer.
    pub(crate) answered: u32,
    /// Requests of which somebody was told that they were not sent, by their outcomes: callers who share a request share its.
    unsent: Vec<Arc<Outcome>>,
}

impl Account {
    fn was_not_sent(&mut self, outcome: &Arc<Outcome>) {
        if !self.unsent.iter().any(|known| Arc::ptr_eq(known, outcome)) {
            self.unsent.push(outcome.clone());
        }
    }
}

/// Everybody.
pub(crate) struct People {
    pub(crate) persons: Vec<Person>,
    pub(crate) callers: Vec<Caller>,
    /// Those of them who wait.
    pub(crate) waiting: BTreeSet<CallerId>,
    pub(crate) accounts: Vec<Account>,
    /// How often each request was executed.
    pub(crate) billed: BTreeMap<Rid, u32>,
    texts: BTreeMap<Rid, usize>,
    /// Requests that are made alone, and only so.
    alone: BTreeSet<Rid>,
    keys: Vec<Arc<HeaderMap>>,
}

/// What callers have in common.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Crowd {
    pub(crate) keys: u64,
    /// Some say the same as the one before.
    pub(crate) twins: bool,
    /// Some name their requests.
    pub(crate) named: bool,
    /// How many do not wait as long as it takes.
    pub(crate) impatient: f64,
}

impl Crowd {
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        Self {
            keys: rng.between(1, 3),
            twins: rng.chance(0.5),
            named: rng.chance(0.5),
            impatient: rng.below(80) as f64 / 100.0,
        }
    }
}

/// What is known of processes that were out of reach.
pub(crate) struct Away {
    /// Which process, of what role, until when.
    pub(crate) spells: Vec<(ProcId, Role, Now)>,
}

impl Away {
    /// Whether everybody who knew of somebody's request was out of reach at once when it was sent again: an ingress where it had
    /// been before, and who had submitted it, unless that ingress itself had made it alone. What nobody knows who could be asked is
    /// a new request.
    fn all_that_knew(&self, person: &Person, account: &Account) -> Option<Forgiven> {
        let Account { submitters, soloists, .. } = account;
        let away_at = |sent: Now, role: Role, of: &dyn Fn(ProcId) -> bool| {
            self.spells.iter().any(|(id, is, until)| {
                let then = *until > person.since && until.saturating_add(AT_ONCE) >= sent;
                *is == role && then && of(*id)
            })
        };
        (1..person.been.len()).find_map(|n| {
            let (at, sent) = person.been[n];
            let before = &person.been[..n];
            let was_there = |id| id != at && before.iter().any(|(ingress, _)| *ingress == id);
            let alone = |id| was_there(id) && soloists.contains(&id);
            if away_at(sent, Role::Ingress, &was_there)
                && away_at(sent, Role::Submitter, &|id| submitters.contains(&id))
            {
                return Some(Forgiven::Batch);
            }
            away_at(sent, Role::Ingress, &alone).then_some(Forgiven::Alone)
        })
    }
}

/// Why a request may be paid again that nobody has sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Excuse {
    /// Its job was over and had no answer to it.
    Vanished,
    /// Its batch was not waited for.
    Hard,
}

/// Whose request is paid again that was sent again when all who knew of it were out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Forgiven {
    /// It was in a batch.
    Batch,
    /// An ingress had made it alone.
    Alone,
}

/// What follows when a caller is done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Nothing,
    /// It comes back after this.
    Back(Duration),
}

impl People {
    pub(crate) fn new(rng: &mut Rng, count: usize, crowd: Crowd) -> Self {
        let header = |n| {
            let value = format!("Bearer {}-{n}", String::from_utf8_lossy(KEY_MARK));
            let mut headers = HeaderMap::new();
            headers.extend(HeaderValue::try_from(value).ok().map(|v| (Some(http::header::AUTHORIZATION), v)));
            Arc::new(headers)
        };
        let mut people = Self {
            persons: Vec::new(),
            callers: Vec::new(),
            waiting: BTreeSet::new(),
            accounts: Vec::new(),
            billed: BTreeMap::new(),
            texts: BTreeMap::new(),
            alone: BTreeSet::new(),
            keys: (0..crowd.keys).map(header).collect(),
        };
        for _ in 0..count {
            people.add(rng, crowd);
        }
        people
    }

    fn add(&mut self, rng: &mut Rng, crowd: Crowd) {
        let Crowd { twins, named, impatient, .. } = crowd;
        let named = named && rng.chance(0.3);
        let like = self.persons.len().checked_sub(1).filter(|_| twins && !named && rng.chance(0.2));
        let like = like.map(|n| &self.persons[n]).filter(|person| !person.named);
        let (text, key, model) = match like {
            Some(like) => (like.text, like.key, like.model),
            None => (self.accounts.len(), rng.index(self.keys.len()), rng.index(2)),
        };
        if text == self.accounts.len() {
            self.accounts.push(Account::default());
        }
        let patience = rng.chance(impatient).then(|| rng.millis(500, 40_000));
        let (retries, restless) = (rng.between(1, 4) as u32, rng.chance(0.15));
        self.persons.push(Person {
            text,
            key,
            model,
            named,
            plan: Plan::default(),
            retries,
            patience,
            restless,
            done: false,
            last: None,
            wanted: None,
            since: Now::ZERO,
            been: Vec::new(),
            again: 0,
        });
    }

    /// Sends a request; returns the caller, the call, and how long it will wait.
    pub(crate) fn call(
        &mut self,
        now: Now,
        person: usize,
        ingress: ProcId,
        random: [u8; 8],
    ) -> (CallerId, Call, Option<Duration>) {
        let who = &mut self.persons[person];
        let retry = who.last.is_some();
        let answers_are_kept = |left: Now| now.saturating_sub(left) + MARGIN < ANSWERS_FOR;
        who.wanted = who.last.and_then(|(_, left)| left);
        let again = who.wanted.is_some_and(answers_are_kept);
        if who.been.is_empty() {
            who.since = now;
        }
        who.again += u32::from(again);
        who.been.push((ingress, now));
        self.accounts[who.text].allowed += u32::from(!again);
        who.last = Some((ingress, None));
        let patience = who.patience.filter(|_| who.retries > 0 || who.restless);
        let body: Bytes = text(who.text);
        let digest = Digest(wide(1, &[&[who.key as u8, who.model as u8], &body]));
        let idempotency = who.named.then(|| Digest(wide(2, &[&person.to_be_bytes()])));
        let call = Call {
            key: batch_key(who.key, who.model, who.plan.class_s()),
            credential: self.keys[who.key].clone(),
            body,
            inputs: 1,
            pairing: Pairing { digest, idempotency, retry },
            uri: Arc::default(),
            plan: who.plan,
            edit: None,
            tag: None,
        };
        let rid = call.pairing.rid_from(random);
        self.texts.insert(rid, who.text);
        let id = self.callers.len();
        self.callers.push(Caller { person, rid, ingress, state: CallerState::Waiting });
        self.waiting.insert(id);
        (id, call, patience)
    }

    /// Who waits at an ingress.
    pub(crate) fn waiting_at(&self, ingress: ProcId) -> Vec<CallerId> {
        self.waiting.iter().copied().filter(|id| self.callers[*id].ingress == ingress).collect()
    }

    /// Where somebody was sent last, and when.
    pub(crate) fn came(&self, person: usize) -> Option<(ProcId, Now)> {
        self.persons[person].been.last().copied()
    }

    /// Where somebody was last.
    pub(crate) fn last_at(&self, person: usize) -> Option<ProcId> {
        self.persons[person].last.map(|(at, _)| at)
    }

    /// A caller leaves without an answer, by itself or because its connection broke. It came to an ingress that is in touch with
    /// others, or to one that could not tell them that somebody still wants what they keep.
    pub(crate) fn leave(&mut self, now: Now, caller: CallerId, in_touch: bool, rng: &mut Rng) -> Then {
        self.waiting.remove(&caller);
        let Some(caller) = self.callers.get_mut(caller) else { return Then::Nothing };
        caller.state = CallerState::Gone;
        let person = &mut self.persons[caller.person];
        let wanted = person.wanted.filter(|_| !in_touch).unwrap_or(now);
        person.last = Some((caller.ingress, Some(wanted)));
        if person.retries == 0 {
            person.done = true;
            return Then::Nothing;
        }
        person.retries -= 1;
        Then::Back(if rng.chance(0.1) { rng.millis(20_000, 150_000) } else { rng.millis(300, 8_000) })
    }

    /// The text of a request that was executed, once, and whose only caller is about to be told otherwise.
    pub(crate) fn paid_for_nothing(&self, caller: CallerId, ended: &Ended) -> Option<usize> {
        let caller = self.callers.get(caller).filter(|caller| caller.state == CallerState::Waiting)?;
        let text = self.persons[caller.person].text;
        let excused = match &*ended.outcome {
            Outcome::Response(response) => response.body.starts_with(ANSWER_MARK),
            Outcome::Fault(fault) => {
                matches!(fault.code.as_str(), "shut_down" | "no_result_line") || is_broken(fault)
            }
        };
        let Account { allowed, billed, answered, vanished, hard, .. } = self.accounts[text];
        let excused = excused || vanished.0 > 0 || hard.0 > 0;
        (!excused && allowed == 1 && billed > 0 && answered == 0).then_some(text)
    }

    /// A caller reads its answer.
    ///
    /// # Errors
    /// Why it is not an answer that it may get.
    pub(crate) fn read(&mut self, caller: CallerId, ended: &Ended) -> Result<Then, String> {
        self.waiting.remove(&caller);
        let Some(caller) = self.callers.get_mut(caller) else { return Err("an answer for nobody".into()) };
        match caller.state {
            CallerState::Waiting => caller.state = CallerState::Ended,
            CallerState::Ended => return Err("a second answer".into()),
            // They crossed.
            CallerState::Gone => return Ok(Then::Nothing),
        }
        let person = &mut self.persons[caller.person];
        match &*ended.outcome {
            Outcome::Response(response) => {
                let own = crate::provider::answer_to(&text(person.text));
                let names_one = response.body.starts_with(ANSWER_MARK);
                let account = &mut self.accounts[person.text];
                account.answered += u32::from(names_one);
                person.done = true;
                match (names_one && response.body != own) || (response.status.is_success() && !names_one) {
                    true => Err(format!("asked {:?} and got {:?}", text(person.text), response.body)),
                    false => Ok(Then::Nothing),
                }
            }
            Outcome::Fault(fault) => {
                honest(fault)?;
                // A refusal at the door says nothing about an earlier sending.
                if is_unsent(fault) && !ended.replayed && !ended.queued.is_zero() {
                    self.accounts[person.text].was_not_sent(&ended.outcome);
                }
                if fault.no_retry || person.retries == 0 {
                    person.done = true;
                    return Ok(Then::Nothing);
                }
                person.retries -= 1;
                Ok(Then::Back(fault.retry_after.unwrap_or(Duration::from_secs(1))))
            }
        }
    }

    /// A line was executed.
    ///
    /// # Errors
    /// Why it must not have been.
    pub(crate) fn bill(&mut self, rid: Rid, body: &[u8], owner: ProcId) -> Result<(), String> {
        let Some(text_of) = self.texts.get(&rid).copied() else {
            return Err(format!("{rid} is billed, which nobody asked for"));
        };
        if text(text_of) != body {
            return Err(format!("{rid} went to the provider with the body of another"));
        }
        let times = self.billed.entry(rid).or_default();
        *times += 1;
        self.accounts[text_of].billed += 1;
        if !self.accounts[text_of].soloists.contains(&owner) {
            self.accounts[text_of].submitters.push(owner);
        }
        if *times > 1 { Err(format!("{rid} is billed {times} times")) } else { self.check_account(text_of) }
    }

    /// An ingress makes a request alone, which may be paid twice by that, or must not.
    ///
    /// # Errors
    /// Why it must not be made so.
    pub(crate) fn goes_alone(&mut self, rid: Rid, by: ProcId, twice: bool) -> Result<(), String> {
        let Some(text) = self.texts.get(&rid).copied() else {
            return Err(format!("{rid} is made alone, which nobody asked for"));
        };
        let first = self.persons.partition_point(|person| person.text < text);
        if self.persons[first].plan.ways == Ways::Batch {
            return Err(format!("{rid} is made alone although its caller wants a batch only"));
        }
        if !twice && !self.alone.insert(rid) {
            return Err(format!("{rid} is made alone twice"));
        }
        self.accounts[text].hard.0 += u32::from(twice);
        self.accounts[text].soloists.push(by);
        Ok(())
    }

    /// Whether a request is made alone, and only so.
    pub(crate) fn is_alone(&self, rid: Rid) -> bool {
        self.alone.contains(&rid)
    }

    /// A submitter found no answer to a request in the results of its job. Where it was executed, it may be so once more.
    pub(crate) fn vanished(&mut self, rid: Rid) {
        let Some(text) = self.texts.get(&rid).copied() else { return };
        let account = &mut self.accounts[text];
        account.vanished.0 = (account.vanished.0 + 1).min(account.billed);
    }

    /// Allows a text to cost once more where that is what its callers or the operator accept. Says why.
    pub(crate) fn excuse(&mut self, text: usize) -> Option<Excuse> {
        let account = &mut self.accounts[text];
        let excuses = [(&mut account.vanished, Excuse::Vanished), (&mut account.hard, Excuse::Hard)];
        let ((_, used), excuse) = excuses.into_iter().find(|((all, used), _)| used < all)?;
        *used += 1;
        account.allowed += 1;
        Some(excuse)
    }

    /// Whether an answer came by a way that its caller wants.
    ///
    /// # Errors
    /// By which it did.
    pub(crate) fn came_by_its_way(&self, caller: CallerId, ended: &Ended) -> Result<(), String> {
        let Some(caller) = self.callers.get(caller) else { return Ok(()) };
        let route = ended.outcome.route();
        let alone = route != Route::Batch || ended.reason.is_some();
        match alone && self.persons[caller.person].plan.ways == Ways::Batch {
            true => Err(format!("it wants a batch only, and its answer came by {}", route.as_str())),
            false => Ok(()),
        }
    }

    /// A caller who has waited too long for the end of its batch and what comes after, since it came and the faults stopped.
    pub(crate) fn waits_beyond_its_deadline(&self, now: Now, calm: Now) -> Option<CallerId> {
        let over = |id: &CallerId| {
            let person = &self.persons[self.callers[*id].person];
            let since = person.been.last().map_or(calm, |(_, came)| calm.max(*came));
            person.plan.deadline.is_some_and(|deadline| now > since + deadline + AFTER_THE_DEADLINE)
        };
        self.waiting.iter().copied().find(over)
    }

    /// Everybody says how it wants its answer. Who says the same as another says that, too.
    pub(crate) fn plan(&mut self, rng: &mut Rng, ladder: &Ladder) {
        let mut last = None;
        for person in &mut self.persons {
            let plan = match last {
                Some((text, plan)) if text == person.text => plan,
                _ => ladder.plan(rng),
            };
            (person.plan, last) = (plan, Some((person.text, plan)));
        }
    }

    /// What those say who do not wait for a batch as long as it takes.
    pub(crate) fn hasty(&self) -> BTreeSet<Bytes> {
        let hasty = |person: &&Person| person.plan.deadline.is_some();
        self.persons.iter().filter(hasty).map(|person| text(person.text)).collect()
    }

    /// What is asked of a model.
    pub(crate) fn of_model(&self, model: usize) -> BTreeSet<Bytes> {
        self.persons.iter().filter(|person| person.model == model).map(|person| text(person.text)).collect()
    }

    /// Allows a text to cost once more where somebody repeated it when nobody could be asked. Says of whom.
    pub(crate) fn forgive(&mut self, text: usize, away: &Away) -> Option<Forgiven> {
        let account = &self.accounts[text];
        let forgiven = |p: &Person| away.all_that_knew(p, account).filter(|_| p.again > 0);
        // They come in the order of their texts.
        let first = self.persons.partition_point(|person| person.text < text);
        let mut asked = self.persons[first..].iter_mut().take_while(|person| person.text == text);
        let (person, why) = asked.find_map(|person| forgiven(person).map(|why| (person, why)))?;
        person.again -= 1;
        self.accounts[text].allowed += 1;
        Some(why)
    }

    /// What a request says.
    pub(crate) fn text_of(&self, rid: Rid) -> Option<usize> {
        self.texts.get(&rid).copied()
    }

    /// # Errors
    /// When a text cost more than its callers agreed to.
    pub(crate) fn check_account(&self, text: usize) -> Result<(), String> {
        let Account { allowed, billed, unsent, .. } = &self.accounts[text];
        let unsent = unsent.len() as u32;
        match *billed + unsent > *allowed {
            true => Err(format!(
                "text {text} is billed {billed} times and was refused unsent {unsent} times, and asked for only {allowed} times"
            )),
            false => Ok(()),
        }
    }
}

/// What the request says.
fn text(number: usize) -> Bytes {
    format!("{} {number};", String::from_utf8_lossy(TEXT_MARK)).into()
}

fn wide(salt: u64, parts: &[&[u8]]) -> [u8; ID_LEN] {
    let mut wide = [0; ID_LEN];
    wide[..8].copy_from_slice(&hash(salt, parts).to_be_bytes());
    wide[8..].copy_from_slice(&hash(salt + 100, parts).to_be_bytes());
    wide
}

fn batch_key(key: usize, model: usize, patience_s: u32) -> BatchKey {
    let fingerprint = Fingerprint(wide(3, &[&[key as u8]]));
    let wire = wire::BatchKey {
        upstream: "openai".into(),
        fingerprint: Bytes::copy_from_slice(&fingerprint.0),
        endpoint: "/v1/chat/completions".into(),
        model: format!("model-{model}"),
        headers: Vec::new(),
        patience_s,
    };
    #[allow(clippy::expect_used)]
    BatchKey::new(wire).expect("a fingerprint of 16 bytes")
}

/// Faults that say that nothing was sent to the provider, or executed there.
fn is_unsent(fault: &Fault) -> bool {
    matches!(fault.code.as_str(), "shutting_down" | "batch_cancelled")
}

/// Faults that say that a call alone broke off, or was not waited for.
fn is_broken(fault: &Fault) -> bool {
    matches!(fault.code.as_str(), "provider_unreachable" | "provider_timeout" | "shut_down_alone")
}

/// Whether a fault is one that a caller may get for what can happen here.
fn honest(fault: &Fault) -> Result<(), String> {
    match fault.code.as_str() {
        "shutting_down" | "shut_down" | "batch_cancelled" | "batch_expired" | "no_result_line" => Ok(()),
        // Where batches only are allowed; or a batch is refused, and nothing else is allowed.
        "deadline_exceeded" | "model_not_found" => Ok(()),
        _ if is_broken(fault) => Ok(()),
        "invalid_request" | "token_limit_exceeded" => Ok(()),
        code => Err(format!("the fault {code}: {}", fault.message)),
    }
}
