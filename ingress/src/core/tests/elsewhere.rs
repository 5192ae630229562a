//! Calls that wait at another ingress.

use super::*;
use crate::core::FetchedPart;
use common::outcome::Fault;

const AGAIN: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };

/// A call that has found its original at another ingress.
struct Waiting {
    world: World,
    holder: Pid,
    caller: Rid,
    /// Of the words that it waits.
    token: u64,
}

fn fetches(out: &[Output<usize>]) -> Vec<(Pid, Rid, u32)> {
    let fetch = |output: &Output<usize>| match output {
        Output::ToIngress(pid, Some(_), to_ingress::Body::Fetch(fetch)) => {
            Some((*pid, Rid::from_slice(&fetch.caller).unwrap(), fetch.part))
        }
        _ => None,
    };
    out.iter().filter_map(fetch).collect()
}

impl Waiting {
    fn new() -> Self {
        let mut world = World::new();
        let holder = world.join(Role::Ingress);
        world.pass(Duration::from_secs(2));
        let (caller, _) = world.call("m", vec![1], AGAIN);
        let out = world.pass(Duration::from_millis(10));
        let (_, token, _) = asked(&out).pop().expect("asked");
        let orphan = wire::Holds { orphans: caller.to_bytes(), ..Default::default() };
        let out = world.holds(token, orphan);
        let [(to, token, ref attach)] = words(&out)[..] else { panic!("{out:?}") };
        assert_eq!((to, &attach.ingress), (holder, &world.core.members.pid().to_bytes()));
        assert_eq!(attach.calls, [AGAIN.to_wire(caller)]);
        Self { world, holder, caller, token }
    }

    fn says(&mut self, attached: wire::Attached) -> Vec<Output<usize>> {
        self.world.give(Input::Answer(self.token, Some(reply::Body::Attached(attached))))
    }

    fn ended(&mut self) -> Vec<Output<usize>> {
        let ended = wire::Ended { ingress: self.holder.to_bytes(), callers: self.caller.to_bytes() };
        self.world.give(Input::Ended(ended))
    }

    fn part(&mut self, part: u32, last: bool, body: &[u8]) -> Vec<Output<usize>> {
        let head = (part == 0).then(|| {
            let (status, headers) = (http::StatusCode::OK, http::HeaderMap::new());
            let response = Response {
                status,
                headers,
                job: "job".into(),
                body: Bytes::new(),
                unbatchable: false,
                route: Route::Batch,
            };
            Outcome::Response(response).into_wire().0
        });
        let body = Bytes::copy_from_slice(body);
        self.world.give(Input::Fetched(FetchedPart {
            caller: self.caller,
            part,
            last,
            unknown: false,
            head,
            body,
        }))
    }

    /// Time in which the holder is there; the last words that the call waits.
    fn renews(&mut self, seconds: u64) -> Vec<Output<usize>> {
        let out = self.world.pass_with(seconds, &[(self.holder, Role::Ingress)]);
        for (_, token, attach) in words(&out) {
            assert_eq!(attach.calls, [AGAIN.to_wire(self.caller)]);
            self.token = token;
        }
        out
    }

    /// Others are asked again, and nothing is announced.
    fn asks_anew(&mut self, there: Pid) {
        let batcher = self.world.join(Role::Batcher);
        let out = self.world.pass_with(3, &[(batcher, Role::Batcher)]);
        assert!(asked(&out).iter().any(|(pid, _, callers)| *pid == there && *callers == [self.caller]));
        assert!(announced(&out).is_empty() && ends(&out).is_empty());
    }
}

#[test]
fn an_outcome_is_fetched_in_parts_and_given_to_the_caller_once() {
    let mut waiting = Waiting::new();
    let (holder, caller) = (waiting.holder, waiting.caller);
    assert_eq!(
        fetches(&waiting.says(wire::Attached { waiting: caller.to_bytes(), ..Default::default() })),
        []
    );
    assert_eq!(fetches(&waiting.ended()), [(holder, caller, 0)]);
    assert_eq!(fetches(&waiting.ended()), [], "it is asked for already");
    assert_eq!(fetches(&waiting.part(0, false, b"one ")), [(holder, caller, 1)]);
    assert_eq!(fetches(&waiting.part(0, false, b"one ")), [], "repeated by the bus");
    assert_eq!(fetches(&waiting.part(2, true, b"!")), [], "not its turn");
    let out = waiting.part(1, true, b"two");
    let [(1, Outcome::Response(response))] = ends(&out)[..] else { panic!("{out:?}") };
    assert_eq!((&response.body[..], &*response.job), (&b"one two"[..], "job"));
    assert!(words(&out).is_empty(), "its caller does not have it yet");
    assert!(ends(&waiting.part(1, true, b"two")).is_empty() && fetches(&waiting.ended()).is_empty());
    assert_eq!(waiting.world.core.held(), 0);
    let out = waiting.world.give(Input::Received(caller));
    let [(to, _, ref said)] = words(&out)[..] else { panic!("{out:?}") };
    assert_eq!((to, &said.received, said.calls.len()), (holder, &caller.to_bytes(), 0));
    assert_eq!(waiting.world.remembers(), 0);
}

#[test]
fn an_outcome_that_did_not_reach_its_caller_stays_where_it_came_from() {
    let mut waiting = Waiting::new();
    let (holder, caller) = (waiting.holder, waiting.caller);
    waiting.ended();
    waiting.part(0, true, b"x");
    let out = waiting.world.give(Input::Gone(caller));
    let [(to, _, ref said)] = words(&out)[..] else { panic!("{out:?}") };
    assert_eq!((to, &said.gone, said.received.len()), (holder, &caller.to_bytes(), 0));
    // Nobody need ask there for it who comes back here.
    let (_, out) = waiting.world.call("m", vec![1], AGAIN);
    assert_eq!(ends(&out).len(), 1);
}

#[test]
fn while_its_caller_reads_an_outcome_is_said_to_be_wanted() {
    let mut waiting = Waiting::new();
    let (holder, caller) = (waiting.holder, waiting.caller);
    waiting.ended();
    waiting.part(0, true, b"x");
    let said = words(&waiting.world.pass_with(6, &[(holder, Role::Ingress)]));
    assert!(said.iter().any(|(to, _, said)| *to == holder && said.calls[0].caller == caller.to_bytes()));
    waiting.world.give(Input::Received(caller));
    let said = words(&waiting.world.pass_with(6, &[(holder, Role::Ingress)]));
    assert!(said.iter().all(|(_, _, said)| said.calls.is_empty()));
}

#[test]
fn a_part_that_is_lost_is_asked_for_again() {
    let mut waiting = Waiting::new();
    let (holder, caller) = (waiting.holder, waiting.caller);
    waiting.ended();
    for part in 0..3 {
        assert_eq!(fetches(&waiting.renews(6)), [], "what became of it is asked with the next words");
        let ended = wire::Attached { ended: caller.to_bytes(), ..Default::default() };
        assert_eq!(fetches(&waiting.says(ended)), [(holder, caller, part)]);
        // The answer comes, and the request for the next part is lost.
        waiting.part(part, false, &[part as u8]);
    }
    let out = waiting.part(3, true, &[3]);
    assert!(matches!(ends(&out)[..], [(1, Outcome::Response(r))] if r.body[..] == [0, 1, 2, 3]));
}

#[test]
fn it_says_again_that_it_waits_every_few_seconds() {
    let mut waiting = Waiting::new();
    let said = words(&waiting.renews(60)).len();
    assert!((11..=13).contains(&said), "{said} in a minute");
}

#[test]
fn where_its_original_is_no_more_others_are_asked_anew() {
    let mut waiting = Waiting::new();
    let holder = waiting.holder;
    waiting.says(wire::Attached { unknown: waiting.caller.to_bytes(), ..Default::default() });
    waiting.asks_anew(holder);

    let mut waiting = Waiting::new();
    waiting.ended();
    let (caller, holder) = (waiting.caller, waiting.holder);
    waiting.world.give(Input::Fetched(FetchedPart {
        caller,
        part: 0,
        last: false,
        unknown: true,
        head: None,
        body: Bytes::new(),
    }));
    waiting.asks_anew(holder);
}

#[test]
fn that_another_ingress_stops_is_no_outcome() {
    for code in ["shutting_down", "shut_down"] {
        let mut waiting = Waiting::new();
        waiting.ended();
        let fault = Outcome::Fault(Fault::new(FaultClass::Unavailable, code, "words"));
        let ((head, body), caller) = (fault.into_wire(), waiting.caller);
        let part = FetchedPart { caller, part: 0, last: true, unknown: false, head: Some(head), body };
        let out = waiting.world.give(Input::Fetched(part));
        assert!(ends(&out).is_empty());
        assert_eq!(words(&out)[0].2.received, caller.to_bytes(), "it need not wait for us");
        waiting.asks_anew(waiting.holder);
    }
}

#[test]
fn an_ingress_that_dies_with_the_original_is_not_waited_for() {
    // Nobody serves its subject; it says farewell; it is silent.
    for death in 0..3 {
        let mut waiting = Waiting::new();
        let (holder, token) = (waiting.holder, waiting.token);
        let other = waiting.world.join(Role::Ingress);
        match death {
            0 => drop(waiting.world.give(Input::Answer(token, None))),
            1 => drop(waiting.world.leaves(holder, Role::Ingress)),
            _ => drop(waiting.world.pass_with(9, &[(other, Role::Ingress)])),
        }
        waiting.asks_anew(other);
        assert!(!waiting.world.core.members.contains(holder));
    }
}

#[test]
fn a_caller_that_leaves_is_said_to_be_gone() {
    let mut waiting = Waiting::new();
    let out = waiting.world.give(Input::Gone(waiting.caller));
    let [(to, _, ref said)] = words(&out)[..] else { panic!("{out:?}") };
    assert_eq!((to, &said.gone), (waiting.holder, &waiting.caller.to_bytes()));
    assert_eq!(waiting.world.remembers(), 0);
    assert!(fetches(&waiting.ended()).is_empty());
}

#[test]
fn a_conflict_that_is_found_late_is_an_error_all_the_same() {
    let mut waiting = Waiting::new();
    let out = waiting.says(wire::Attached { conflicts: waiting.caller.to_bytes(), ..Default::default() });
    assert_eq!(ends(&out).iter().map(|(_, o)| what(o)).collect::<Vec<_>>(), ["idempotency_key_reused"]);
}

#[test]
fn an_equal_repetition_at_this_ingress_is_asked_about_by_itself() {
    let mut waiting = Waiting::new();
    let (second, _) = waiting.world.call("m", vec![1], AGAIN);
    assert_eq!(waiting.world.core.held(), 2);
    // The next question follows a second after the last.
    let out = waiting.world.pass(Duration::from_millis(1_010));
    assert!(asked(&out).iter().all(|(_, _, callers)| *callers == [second]) && !asked(&out).is_empty());
}

#[test]
fn an_outcome_that_cannot_be_read_is_an_error() {
    let mut waiting = Waiting::new();
    waiting.ended();
    let caller = waiting.caller;
    let body = Bytes::from_static(b"x");
    let part = FetchedPart { caller, part: 0, last: true, unknown: false, head: None, body };
    let out = waiting.world.give(Input::Fetched(part));
    assert_eq!(ends(&out).iter().map(|(_, o)| what(o)).collect::<Vec<_>>(), ["unreadable_result"]);
}

#[test]
fn an_ingress_that_stops_finishes_what_waits_elsewhere() {
    let mut waiting = Waiting::new();
    let out = waiting.world.give(Input::Drain);
    assert!(ends(&out).is_empty() && !waiting.world.core.is_finished());
    waiting.ended();
    assert_eq!(ends(&waiting.part(0, true, b"x")).len(), 1);
    assert!(waiting.world.core.is_finished());
}

#[test]
fn that_a_caller_is_done_is_said_until_it_is_heard() {
    for received in [true, false] {
        let mut waiting = Waiting::new();
        let (holder, caller) = (waiting.holder, waiting.caller.to_bytes());
        match received {
            true => {
                waiting.ended();
                waiting.part(0, true, b"x");
                waiting.world.give(Input::Received(waiting.caller));
            }
            false => drop(waiting.world.give(Input::Gone(waiting.caller))),
        }
        let alive = [(holder, Role::Ingress)];
        for _ in 0..3 {
            let out = waiting.world.pass_with(5, &alive);
            let [(to, token, ref said)] = words(&out)[..] else { panic!("{out:?}") };
            let expected = if received { (&said.received, &said.gone) } else { (&said.gone, &said.received) };
            assert_eq!((to, expected.0, expected.1.len(), said.calls.len()), (holder, &caller, 0, 0));
            waiting.token = token;
        }
        waiting.says(wire::Attached::default());
        assert!(words(&waiting.world.pass_with(20, &alive)).is_empty());
    }
    // Not to one that is gone.
    let mut waiting = Waiting::new();
    waiting.world.give(Input::Gone(waiting.caller));
    waiting.world.leaves(waiting.holder, Role::Ingress);
    assert!(words(&waiting.world.pass(Duration::from_secs(20))).is_empty());
}

#[test]
fn words_about_many_calls_go_in_several_messages() {
    let mut world = World::new();
    let holder = world.join(Role::Ingress);
    world.pass(Duration::from_secs(2));
    for _ in 0..2_500 {
        world.call("m", vec![1], Pairing { digest: Digest::random(), ..AGAIN });
    }
    let out = world.pass(Duration::from_millis(10));
    let mut said = Vec::new();
    for (to, token, callers) in asked(&out) {
        assert!(to == holder && callers.len() <= 1_000);
        let orphans = pack_rids(&callers);
        said.extend(words(&world.holds(token, wire::Holds { orphans, ..Default::default() })));
    }
    assert!(said.iter().all(|(_, _, attach)| attach.calls.len() <= 1_000));
    let mut callers: Vec<Rid> =
        said.iter().flat_map(|(.., a)| &a.calls).map(|call| Rid::from_slice(&call.caller).unwrap()).collect();
    callers.sort_unstable();
    callers.dedup();
    assert_eq!(callers.len(), 2_500);
    callers.iter().for_each(|caller| world.core.gone(world.now, *caller));
    let said = words(&world.pass(Duration::from_millis(1_100)));
    assert_eq!(said.iter().map(|(.., a)| a.gone.len()).collect::<Vec<_>>(), [16_000, 16_000, 8_000]);
}
