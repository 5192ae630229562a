//! Calls whose original may be at another process: who is asked, and what the answers decide.

use super::*;

const AGAIN: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };
const NAMED: Pairing = Pairing { digest: Digest([1; 16]), idempotency: Some(Digest([2; 16])), retry: false };

/// A call that others are asked about.
struct Asking {
    world: World,
    caller: Rid,
    ingresses: [Pid; 2],
    submitter: Pid,
    tokens: Vec<(Pid, u64)>,
}

impl Asking {
    fn new(pairing: Pairing) -> Self {
        let mut world = World::new();
        let ingresses = [world.join(Role::Ingress), world.join(Role::Ingress)];
        let submitter = world.join(Role::Submitter);
        world.pass(Duration::from_secs(2));
        world.join(Role::Batcher);
        let (caller, out) = world.call("m", vec![1], pairing);
        assert!(out.iter().all(|o| matches!(o, Output::Beat(_))), "{out:?}");
        let out = world.pass(Duration::from_millis(10));
        let tokens = asked(&out).into_iter().map(|(pid, token, callers)| {
            assert_eq!(callers, [caller]);
            (pid, token)
        });
        let tokens = tokens.collect();
        assert!(announced(&out).is_empty());
        Self { world, caller, ingresses, submitter, tokens }
    }

    fn token(&self, pid: Pid) -> u64 {
        self.tokens.iter().rfind(|(asked, _)| *asked == pid).expect("it is asked").1
    }

    fn twin(&self) -> wire::Holds {
        wire::Holds { twins: self.caller.to_bytes(), ..Default::default() }
    }

    fn orphan(&self) -> wire::Holds {
        wire::Holds { orphans: self.caller.to_bytes(), ..Default::default() }
    }

    fn batch_of(&self, ingress: Pid, undecided: bool) -> wire::Holds {
        let batch = wire::HeldBatch {
            origin: Bid::random().to_bytes(),
            ingress: ingress.to_bytes(),
            files: vec!["f".into()],
            job: "job".into(),
            age_ms: 1,
            undecided,
            callers: self.caller.to_bytes(),
            rids: Rid::random().to_bytes(),
        };
        wire::Holds { batches: vec![batch], ..Default::default() }
    }

    /// Everybody answers this, and what follows within a moment. The submitter has its turn unless an ingress has an orphan.
    fn answers(&mut self, ingresses: [wire::Holds; 2], submitter: wire::Holds) -> Vec<Output<usize>> {
        let (mut out, decided) = (Vec::new(), ingresses.iter().any(|holds| !holds.orphans.is_empty()));
        for (pid, holds) in self.ingresses.into_iter().zip(ingresses) {
            out.extend(self.world.holds(self.token(pid), holds));
        }
        let turn = asked(&out).pop().map(|(pid, token, _)| (pid, token));
        assert_eq!(turn.map(|(pid, _)| pid), (!decided).then_some(self.submitter));
        if let Some((_, token)) = turn {
            out = self.world.holds(token, submitter);
        }
        out.extend(self.world.pass(Duration::from_millis(5)));
        out
    }

    fn alive(&self) -> [(Pid, Role); 3] {
        let [one, two] = self.ingresses;
        [(one, Role::Ingress), (two, Role::Ingress), (self.submitter, Role::Submitter)]
    }
}

fn nothing() -> wire::Holds {
    wire::Holds::default()
}

#[test]
fn only_calls_that_may_be_repetitions_are_asked_about() {
    for (pairing, asks) in [(AGAIN, true), (NAMED, true), (Pairing { retry: false, ..AGAIN }, false)] {
        let mut world = World::new();
        world.join(Role::Ingress);
        world.join(Role::Submitter);
        world.pass(Duration::from_secs(3));
        world.join(Role::Batcher);
        world.call("m", vec![1], pairing);
        let out = world.pass(Duration::from_millis(10));
        assert_eq!((!asked(&out).is_empty(), !announced(&out).is_empty()), (asks, !asks), "{pairing:?}");
    }
}

#[test]
fn ingresses_are_asked_first_then_submitters_and_only_then_it_is_announced() {
    let mut asking = Asking::new(AGAIN);
    let pids: Vec<Pid> = asking.tokens.iter().map(|(pid, _)| *pid).collect();
    assert!(pids.len() == 2 && asking.ingresses.iter().all(|pid| pids.contains(pid)), "no submitter");
    let [one, two] = asking.ingresses;
    let out = asking.world.holds(asking.token(one), nothing());
    assert!(asked(&out).is_empty() && announced(&out).is_empty());
    assert_eq!(
        asking.world.claim(Bid::random(), asking.submitter, &[asking.caller]),
        [],
        "not to be granted"
    );
    let out = asking.world.holds(asking.token(two), nothing());
    let (pid, token, _) = asked(&out).pop().expect("the submitter's turn");
    assert_eq!(pid, asking.submitter);
    let out = asking.world.pass(Duration::from_millis(100));
    assert!(announced(&out).is_empty());
    asking.world.holds(token, nothing());
    assert_eq!(announced(&asking.world.pass(Duration::from_millis(5)))[0].2, 1);
    assert_eq!(asking.world.claim(Bid::random(), asking.submitter, &[asking.caller]), [asking.caller]);
}

#[test]
fn a_silent_process_is_asked_again_as_long_as_it_lives() {
    let mut asking = Asking::new(AGAIN);
    let [one, silent] = asking.ingresses;
    asking.world.holds(asking.token(one), nothing());
    let out = asking.world.pass_with(60, &asking.alive());
    let again = asked(&out);
    assert!((10..=60).contains(&again.len()), "{}", again.len());
    assert!(again.iter().all(|(pid, ..)| *pid == silent) && announced(&out).is_empty());
    // An answer to an earlier question is as good as any.
    let out = asking.world.holds(again[again.len() - 1].1, nothing());
    assert_eq!(asked(&out)[0].0, asking.submitter);
}

#[test]
fn the_dead_are_not_waited_for() {
    // Nobody serves its subject.
    let mut asking = Asking::new(AGAIN);
    let [one, dead] = asking.ingresses;
    asking.world.holds(asking.token(one), nothing());
    let out = asking.world.give(Input::Answer(asking.token(dead), None));
    assert_eq!(asked(&out)[0].0, asking.submitter);
    // It said farewell.
    let mut asking = Asking::new(AGAIN);
    let [one, dead] = asking.ingresses;
    asking.world.holds(asking.token(one), nothing());
    assert_eq!(asked(&asking.world.leaves(dead, Role::Ingress))[0].0, asking.submitter);
}

#[test]
fn who_has_an_orphan_is_gone_to_whoever_else_is_silent() {
    let mut asking = Asking::new(AGAIN);
    let [one, _silent] = asking.ingresses;
    let said = words(&asking.world.holds(asking.token(one), asking.orphan()));
    assert!(matches!(said[..], [(to, ..)] if to == one));
    // And nobody is asked again.
    let out = asking.world.pass_with(20, &asking.alive());
    assert!(asked(&out).is_empty() && announced(&out).is_empty());
}

#[test]
fn silence_alone_is_no_answer() {
    let mut asking = Asking::new(AGAIN);
    let [one, silent] = asking.ingresses;
    asking.world.holds(asking.token(one), nothing());
    let alive = [(one, Role::Ingress), (asking.submitter, Role::Submitter)];
    let out = asking.world.pass_with(20, &alive);
    assert!(!asking.world.core.members.contains(silent));
    let again = asked(&out);
    assert!(again.len() >= 3 && again.iter().all(|(pid, ..)| *pid == silent));
    // It was there all the time.
    let orphan = asking.orphan();
    let said = words(&asking.world.holds(again[again.len() - 1].1, orphan));
    assert!(matches!(said[..], [(to, ..)] if to == silent));

    // Of one that is dead the bus says so, now or later.
    let mut asking = Asking::new(AGAIN);
    let [one, dead] = asking.ingresses;
    asking.world.holds(asking.token(one), nothing());
    let out = asking.world.pass_with(20, &[(one, Role::Ingress), (asking.submitter, Role::Submitter)]);
    let (_, token, _) = asked(&out).into_iter().rfind(|(pid, ..)| *pid == dead).expect("asked again");
    assert_eq!(asked(&asking.world.give(Input::Answer(token, None)))[0].0, asking.submitter);
}

#[test]
fn who_was_cut_off_begins_again_when_everybody_could_be_heard_of() {
    let mut asking = Asking::new(AGAIN);
    let [one, two] = asking.ingresses;
    // It lost sight of the submitter before it noticed.
    asking.world.leaves(asking.submitter, Role::Submitter);
    asking.world.give(Input::Bus(false));
    asking.world.give(Input::Bus(true));
    asking.world.holds(asking.token(one), nothing());
    assert!(asked(&asking.world.holds(asking.token(two), nothing())).is_empty());
    let batcher = (asking.world.join(Role::Batcher), Role::Batcher);
    let [first, second, submitter] = asking.alive();
    let out = asking.world.pass_with(7, &[first, second, submitter, batcher]);
    assert!(announced(&out).is_empty());
    asking.tokens = asked(&out).into_iter().map(|(pid, token, _)| (pid, token)).collect();
    let out = asking.answers([nothing(), nothing()], nothing());
    assert_eq!(announced(&out).len(), 1);
}

#[test]
fn a_process_that_lives_but_never_answers_is_given_up_after_long_and_the_next_role_has_its_own_time() {
    let mut asking = Asking::new(AGAIN);
    let one = asking.ingresses[0];
    asking.world.holds(asking.token(one), nothing());
    let alive = asking.alive();
    let out = asking.world.pass_with(115, &alive);
    assert!(asked(&out).iter().all(|(pid, ..)| *pid != asking.submitter));
    let out = asking.world.pass_with(15, &alive);
    assert!(asked(&out).iter().any(|(pid, ..)| *pid == asking.submitter));
    asking.world.join(Role::Batcher);
    let out = asking.world.pass_with(60, &alive);
    assert!(announced(&out).is_empty(), "the submitter has not answered");
}

#[test]
fn time_without_a_bus_is_not_held_against_those_who_do_not_answer() {
    let mut asking = Asking::new(AGAIN);
    let one = asking.ingresses[0];
    asking.world.holds(asking.token(one), nothing());
    asking.world.give(Input::Bus(false));
    asking.world.pass(Duration::from_secs(600));
    asking.world.give(Input::Bus(true));
    asking.world.join(Role::Batcher);
    let out = asking.world.pass_with(30, &asking.alive());
    assert!(announced(&out).is_empty());
    assert!(asked(&out).iter().all(|(pid, ..)| *pid == asking.ingresses[1]), "it is still its turn");
}

#[test]
fn where_nobody_answers_it_is_asked_again_and_not_announced() {
    let mut world = World::new();
    let batcher = (world.join(Role::Batcher), Role::Batcher);
    let (caller, _) = world.call("m", vec![1], AGAIN);
    assert!(announced(&world.pass_with(30, &[batcher])).is_empty());
    // One is there, and dies.
    let dead = world.join(Role::Ingress);
    let out = world.pass(Duration::from_secs(2));
    let (pid, token, _) = asked(&out)[0].clone();
    assert_eq!(pid, dead);
    world.give(Input::Answer(token, None));
    assert!(announced(&world.pass_with(10, &[batcher])).is_empty());
    let submitter = world.join(Role::Submitter);
    let out = world.pass_with(2, &[batcher]);
    let (pid, token, callers) = asked(&out).pop().expect("asked again");
    assert_eq!((pid, callers), (submitter, vec![caller]));
    world.holds(token, nothing());
    assert_eq!(announced(&world.pass(Duration::from_millis(5)))[0].2, 1);
}

#[test]
fn nobody_is_asked_before_everybody_could_be_heard_of() {
    let mut world = World::new();
    let ingress = world.join(Role::Ingress);
    world.call("m", vec![1], AGAIN);
    assert_eq!(asked(&world.pass(Duration::from_millis(1_990))), []);
    let late = world.join(Role::Ingress);
    let mut pids: Vec<Pid> =
        asked(&world.pass(Duration::from_millis(1_100))).into_iter().map(|(pid, ..)| pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 2, "{pids:?} {ingress} {late}");
}

#[test]
fn an_orphan_is_better_than_a_batch_than_a_twin_than_nothing() {
    let gone = Pid::random();
    for orphan in [true, false] {
        for batch in [true, false] {
            for twin in [true, false] {
                let mut asking = Asking::new(AGAIN);
                let [one, two] = asking.ingresses;
                let twin_holds = if twin { asking.twin() } else { nothing() };
                let orphan_holds = if orphan { asking.orphan() } else { nothing() };
                let batch_holds = if batch { asking.batch_of(gone, false) } else { nothing() };
                let out = asking.answers([twin_holds, orphan_holds], batch_holds);
                let attached: Vec<Pid> = words(&out).into_iter().map(|(pid, ..)| pid).collect();
                let (recovered, announced) = (recoveries(&out).len(), announced(&out).len());
                let expected = match (orphan, batch, twin) {
                    (true, ..) => (vec![two], 0, 0),
                    (false, true, _) => (vec![], 1, 0),
                    (false, false, true) => (vec![one], 0, 0),
                    (false, false, false) => (vec![], 0, 1),
                };
                assert_eq!((attached, recovered, announced), expected, "{orphan} {batch} {twin}");
            }
        }
    }
}

#[test]
fn a_key_that_names_another_request_is_an_error() {
    let mut asking = Asking::new(NAMED);
    let conflict = wire::Holds { conflicts: asking.caller.to_bytes(), ..Default::default() };
    let out = asking.answers([conflict, nothing()], nothing());
    assert_eq!(ends(&out).iter().map(|(_, o)| what(o)).collect::<Vec<_>>(), ["idempotency_key_reused"]);
    assert!(announced(&out).is_empty());
}

#[test]
fn what_a_submitter_has_for_a_live_ingress_is_that_ones_to_tell() {
    let mut asking = Asking::new(AGAIN);
    let holds = asking.batch_of(asking.ingresses[0], false);
    let out = asking.answers([nothing(), nothing()], holds);
    assert_eq!((recoveries(&out).len(), announced(&out).len()), (0, 1), "it said that it has nothing");

    let mut asking = Asking::new(AGAIN);
    let holds = asking.batch_of(asking.ingresses[0], false);
    let forgetful = wire::Holds { forgetful: true, ..Default::default() };
    let out = asking.answers([forgetful, nothing()], holds);
    assert_eq!((recoveries(&out).len(), announced(&out).len()), (1, 0), "one that stops has forgotten");

    let mut asking = Asking::new(AGAIN);
    let ours = asking.world.core.members.pid();
    let holds = asking.batch_of(ours, false);
    let out = asking.answers([nothing(), nothing()], holds);
    assert_eq!((recoveries(&out).len(), announced(&out).len()), (0, 1), "nothing here matched");
}

#[test]
fn as_long_as_it_is_undecided_it_is_asked_again_every_second() {
    let mut asking = Asking::new(AGAIN);
    let gone = Pid::random();
    for _ in 0..5 {
        let holds = asking.batch_of(gone, true);
        let out = asking.answers([nothing(), nothing()], holds);
        assert_eq!((asked(&out).len(), announced(&out).len(), recoveries(&out).len()), (0, 0, 0));
        let out = asking.world.pass_with(1, &asking.alive());
        let again = asked(&out);
        assert_eq!(again.len(), 2, "all of them");
        asking.tokens = again.into_iter().map(|(pid, token, _)| (pid, token)).collect();
    }
    let holds = asking.batch_of(gone, false);
    assert_eq!(recoveries(&asking.answers([nothing(), nothing()], holds)).len(), 1);
}

#[test]
fn a_caller_that_leaves_takes_its_question_with_it() {
    let mut asking = Asking::new(AGAIN);
    asking.world.give(Input::Gone(asking.caller));
    assert_eq!(asking.world.core.held(), 0);
    let orphan = asking.orphan();
    let out = asking.answers([orphan, nothing()], nothing());
    assert!(announced(&out).is_empty() && words(&out).is_empty());
    assert_eq!(asking.world.remembers(), 0);
}

#[test]
fn an_ingress_that_stops_does_not_claim_to_know_what_it_was_still_asking_about() {
    let mut asking = Asking::new(AGAIN);
    let out = asking.world.give(Input::Drain);
    let [(_, Outcome::Fault(fault))] = ends(&out)[..] else { panic!("{out:?}") };
    assert!(fault.code == "shut_down" && !fault.no_retry, "another ingress takes it up: {fault:?}");
    assert!(asking.world.core.is_finished());
}
