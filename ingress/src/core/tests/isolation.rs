//! One caller never gets what is another's: not by sending the same body, not by the other's `Idempotency-Key`, not by
//! asking from another ingress, not by guessed ids, not by results that come under a wrong batch.

use std::collections::BTreeMap;

use common::seal::Keyring;
use http::{HeaderMap, HeaderValue, header};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const ENDPOINT: &str = "/v1/chat/completions";
/// Few of each, so that they meet often.
const CREDENTIALS: u8 = 3;
const BODIES: u8 = 2;
const NAMES: u8 = 2;
const STEPS: usize = 30;

/// A call as its caller sends it; everything but the credential can be anybody's.
#[derive(Debug, Clone, Copy)]
struct Sent {
    credential: u8,
    body: u8,
    /// Its `Idempotency-Key`.
    name: Option<u8>,
    retry: bool,
}

#[derive(Debug, Clone)]
enum Step {
    /// A call comes.
    Call(Sent),
    /// The caller of this turn goes away.
    Leave(usize),
    /// A submitter claims everything that there is, whosever it is, and some ids that it guesses.
    Claim,
    /// It delivers, under one batch, a result for every request there is.
    DeliverAll,
    /// It delivers the results of one batch.
    Deliver(usize),
    /// Another ingress asks for a call's original, waits for it, and fetches.
    Elsewhere(Sent),
    /// Somebody on the bus asks and waits with a digest, and fetches with an id, that it guesses or has seen.
    Guess([u8; 16], usize),
}

fn sent() -> impl Strategy<Value = Sent> {
    (0..CREDENTIALS, 0..BODIES, proptest::option::of(0..NAMES), any::<bool>())
        .prop_map(|(credential, body, name, retry)| Sent { credential, body, name, retry })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => sent().prop_map(Step::Call),
        2 => any::<usize>().prop_map(Step::Leave),
        2 => Just(Step::Claim),
        1 => Just(Step::DeliverAll),
        2 => any::<usize>().prop_map(Step::Deliver),
        3 => sent().prop_map(Step::Elsewhere),
        1 => (any::<[u8; 16]>(), any::<usize>()).prop_map(|(guess, turn)| Step::Guess(guess, turn)),
    ]
}

impl Sent {
    fn credential(self) -> HeaderMap {
        let value = HeaderValue::from_str(&format!("Bearer sk-{}", self.credential)).unwrap();
        HeaderMap::from_iter([(header::AUTHORIZATION, value)])
    }

    fn body(self) -> Vec<u8> {
        format!("body {}", self.body).into_bytes()
    }

    /// The answer to it and to no other credential's or body's.
    fn answer(self) -> String {
        format!("answer to {} of {}", self.body, self.credential)
    }
}

/// An ingress, whose requests are whose, and what came out.
struct Trial {
    world: World,
    keyring: Keyring,
    submitter: Pid,
    other: Pid,
    sent: BTreeMap<Rid, Sent>,
    /// Callers here by their number.
    waiters: BTreeMap<usize, (Rid, Sent)>,
    /// Granted requests by batch.
    batches: Vec<(Bid, Vec<Rid>)>,
    /// Counts what is to be random, so that a failing case fails again.
    ids: u64,
    delivered: usize,
    fetched: usize,
}

impl Trial {
    fn new() -> Self {
        let mut world = World::new();
        let (submitter, other) = (world.join(Role::Submitter), world.join(Role::Ingress));
        Self {
            world,
            keyring: Keyring::new(&b"a secret of tests, thirty-two bytes and more".to_vec().into()).unwrap(),
            submitter,
            other,
            sent: BTreeMap::new(),
            waiters: BTreeMap::new(),
            batches: Vec::new(),
            ids: 0,
            delivered: 0,
            fetched: 0,
        }
    }

    /// As admission does it.
    fn pairing(&self, sent: Sent) -> Pairing {
        let fingerprint = self.keyring.fingerprint("openai", &sent.credential());
        let digest =
            |what: &[u8], value: &[u8]| self.keyring.digest(fingerprint, &[what, ENDPOINT.as_bytes(), value]);
        let idempotency = sent.name.map(|name| digest(b"idempotency key", &[name]));
        Pairing { digest: digest(b"body", &sent.body()), idempotency, retry: sent.retry }
    }

    fn rid(&mut self, sent: Sent) -> Rid {
        self.ids += 1;
        self.pairing(sent).rid_from(self.ids.to_be_bytes())
    }

    fn key(&self, sent: Sent) -> BatchKey {
        let fingerprint = self.keyring.fingerprint("openai", &sent.credential()).0.to_vec().into();
        let (endpoint, model) = (ENDPOINT.into(), "m".into());
        BatchKey::new(wire::BatchKey { fingerprint, endpoint, model, ..Default::default() }).unwrap()
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Call(sent) => self.call(sent),
            Step::Leave(turn) => {
                let callers: Vec<usize> = self.waiters.keys().copied().collect();
                let Some(waiter) = callers.get(turn % callers.len().max(1)) else { return };
                if let Some((rid, _)) = self.waiters.remove(waiter) {
                    let out = self.world.give(Input::Gone(rid));
                    self.settle(out);
                }
            }
            Step::Claim => self.claim(),
            Step::DeliverAll => {
                let Some((bid, _)) = self.batches.last() else { return };
                let (bid, all) = (*bid, self.sent.keys().copied().collect());
                self.deliver(bid, all);
            }
            Step::Deliver(turn) => {
                let batches = self.batches.len().max(1);
                let Some((bid, rids)) = self.batches.get(turn % batches).cloned() else { return };
                self.deliver(bid, rids);
            }
            Step::Elsewhere(sent) => self.elsewhere(sent),
            Step::Guess(guess, turn) => self.guess(Digest(guess), turn),
        }
    }

    fn call(&mut self, sent: Sent) {
        let (rid, pairing, key) = (self.rid(sent), self.pairing(sent), self.key(sent));
        let credential = Arc::new(sent.credential());
        let call = Call { key, credential, body: sent.body().into(), inputs: 1, pairing, ..call() };
        self.sent.insert(rid, sent);
        self.world.callers += 1;
        self.waiters.insert(self.world.callers, (rid, sent));
        let out = self.world.give(Input::Hold(rid, call, self.world.callers));
        self.settle(out);
    }

    fn claim(&mut self) {
        // In no order that has to do with whose they are: new ones first.
        let mut rids: Vec<Rid> = self.sent.keys().copied().collect();
        rids.sort_by_key(|rid| rid.0[8..].to_vec());
        rids.push(Rid([9; 16]));
        self.ids += 1;
        let mut bid = [0; 16];
        bid[..8].copy_from_slice(&self.ids.to_be_bytes());
        let claim = wire::Claim {
            bid: bid.to_vec().into(),
            submitter: self.submitter.to_bytes(),
            rids: pack_rids(&rids),
            ..Default::default()
        };
        let out = self.world.give(Input::Claim(claim, "reply".into()));
        for output in &out {
            let Output::Grant(_, draft) = output else { continue };
            for rid in &draft.rids {
                // The key that the submitter gets is that of every single request under it.
                assert_eq!(*draft.credential, self.sent[rid].credential());
            }
            self.batches.push((draft.bid, draft.rids.clone()));
        }
        self.settle(out);
    }

    fn deliver(&mut self, bid: Bid, rids: Vec<Rid>) {
        for rid in rids {
            // What is delivered under the batch of another is the answer to that other's.
            let ours = self.batches.iter().any(|(of, rids)| *of == bid && rids.contains(&rid));
            let text = if ours { self.sent[&rid].answer() } else { "not its own".to_owned() };
            let out = self.world.answer(rid, bid, self.submitter, &text);
            self.settle(out);
        }
    }

    /// What a caller gets who sent this to another ingress.
    fn elsewhere(&mut self, sent: Sent) {
        let (caller, pairing) = (self.rid(sent), self.pairing(sent));
        let may_be_told = self.sent.values().any(|known| {
            known.credential == sent.credential
                && (known.body == sent.body || (known.name.is_some() && known.name == sent.name))
        });
        let told = self.ask(caller, pairing);
        assert!(may_be_told || !told, "a stranger is told that there is such a request");
        self.wait_for(caller, pairing);
        if let Some(text) = self.fetch(caller) {
            assert_eq!(text, sent.answer());
            self.fetched += 1;
        }
    }

    /// Whether anything is told of a call's original.
    fn ask(&mut self, caller: Rid, pairing: Pairing) -> bool {
        let calls = vec![pairing.to_wire(caller)];
        let groups = vec![wire::WhoisGroup { key: Some(key("m").to_wire()), calls }];
        let out = self.world.give(Input::Whois(wire::Whois { groups, ..Default::default() }, "reply".into()));
        let Some(Output::Reply(_, reply::Body::Holds(holds))) = out.first() else { panic!("{out:?}") };
        !(holds.orphans.is_empty() && holds.twins.is_empty() && holds.conflicts.is_empty())
    }

    /// What a caller at the other ingress is told that waits for a call's original.
    fn wait_for(&mut self, caller: Rid, pairing: Pairing) -> wire::Attached {
        let (ingress, calls) = (self.other.to_bytes(), vec![pairing.to_wire(caller)]);
        let attach = wire::Attach { ingress, calls, ..Default::default() };
        let out = self.world.give(Input::Attach(attach, "reply".into()));
        let Some(Output::Reply(_, reply::Body::Attached(told))) = out.into_iter().next() else { panic!() };
        told
    }

    /// What a caller's outcome says, if it can be fetched.
    fn fetch(&mut self, caller: Rid) -> Option<Bytes> {
        let fetch = wire::Fetch { caller: caller.to_bytes(), part: 0 };
        match self.world.give(Input::Fetch(fetch, "reply".into())).into_iter().next() {
            Some(Output::Fetched(_, part)) => Some(part.body),
            _ => None,
        }
    }

    fn guess(&mut self, guess: Digest, turn: usize) {
        // Ids can be seen: they are in subjects and in the provider's files.
        let seen: Vec<Rid> = self.sent.keys().copied().collect();
        let caller = seen.get(turn % seen.len().max(1)).copied().unwrap_or(Rid(guess.0));
        for idempotency in [None, Some(guess), Some(Digest(caller.0))] {
            for digest in [guess, Digest(caller.0)] {
                let pairing = Pairing { digest, idempotency, retry: true };
                assert!(!self.ask(caller, pairing));
                let told = self.wait_for(caller, pairing);
                let unknown = wire::Attached { unknown: caller.to_bytes(), ..Default::default() };
                assert_eq!(told, unknown);
                assert_eq!(self.fetch(caller), None);
            }
        }
    }

    /// Everybody lives, nobody else knows anything, and whoever gets an answer gets its own.
    fn settle(&mut self, mut out: Vec<Output<usize>>) {
        for (pid, role) in [(self.submitter, Role::Submitter), (self.other, Role::Ingress)] {
            out.extend(self.world.give(Input::Heartbeat(beat(pid, role))));
        }
        for token in questions(&out) {
            out.extend(self.world.holds(token, wire::Holds::default()));
        }
        out.extend(self.world.others_say(&wire::Holds::default()));
        for (waiter, outcome) in ends(&out) {
            let Some((_, sent)) = self.waiters.remove(&waiter) else { continue };
            match outcome {
                Outcome::Response(response) => {
                    assert_eq!(response.body, sent.answer());
                    self.delivered += 1;
                }
                // Its own Idempotency-Key with another body.
                Outcome::Fault(fault) => assert!(sent.name.is_some(), "{fault:?}"),
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn nobody_gets_what_is_anothers(steps in vec(step(), 1..STEPS)) {
        let mut trial = Trial::new();
        for step in steps {
            trial.take(step);
        }
    }
}

/// The same steps do give answers to those whose they are, here and elsewhere: the trial would see it.
#[test]
fn everybody_gets_what_is_its_own() {
    let mut trial = Trial::new();
    let sent = |credential| Sent { credential, body: 0, name: Some(1), retry: false };
    for step in [
        Step::Call(sent(0)),
        Step::Call(sent(1)),
        Step::Claim,
        Step::Claim,
        Step::Elsewhere(sent(1)),
        Step::Deliver(0),
        Step::Deliver(1),
        Step::Elsewhere(sent(0)),
        Step::Elsewhere(sent(1)),
        Step::Elsewhere(sent(2)),
    ] {
        trial.take(step);
    }
    assert_eq!((trial.batches.len(), trial.delivered, trial.fetched), (2, 2, 2));
}
