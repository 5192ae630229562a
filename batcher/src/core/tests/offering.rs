//! Who is offered a sealed batch, and how often.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;

/// A batcher with three submitters and one request, sealed after a second. `says` is asked for each offer.
fn three(mut says: impl FnMut(usize, Pid) -> Says + 'static) -> Rig {
    let mut rig = Rig::alone(args());
    rig.submitters = vec![pid(200), pid(201), pid(202)];
    rig.hear_submitters();
    let mut count = 0;
    rig.policy = Box::new(move |to, _| {
        count += 1;
        says(count, to)
    });
    rig.announce(&key(1, "m"), [1]);
    rig
}

fn distinct(sent: &[Sent]) -> usize {
    sent.iter().map(|sent| sent.to).collect::<BTreeSet<_>>().len()
}

#[test]
fn an_accepted_batch_is_forgotten() {
    let mut rig = three(|_, _| Says::Accepted);
    rig.run_until(seconds(60));
    assert_eq!(rig.sent.len(), 1);
    assert!(rig.core.batches.is_empty() && rig.core.offers.is_empty());
}

#[test]
fn busy_submitters_are_passed_over_with_growing_pauses() {
    let mut rig = three(|count, _| if count <= 8 { Says::Busy } else { Says::Accepted });
    rig.run_until(seconds(60));
    assert_eq!((rig.sent.len(), rig.accepted.len()), (9, 1));
    assert_eq!(distinct(&rig.sent[..3]), 3);
    let pauses: Vec<_> = rig.sent.windows(2).map(|two| two[1].at - two[0].at).collect();
    assert!(pauses[0] >= millis(75) && pauses[0] <= millis(125), "{pauses:?}");
    assert!(pauses.iter().all(|pause| *pause <= millis(6250)), "{pauses:?}");
    assert!(pauses[7] > millis(3000), "{pauses:?}");
}

#[test]
fn a_silent_submitter_is_asked_twice_and_then_the_next() {
    let mut rig = three(|count, _| if count <= 5 { Says::Nothing } else { Says::Accepted });
    rig.run_until(seconds(60));
    let who: Vec<_> = rig.sent.iter().map(|sent| sent.to).collect();
    assert!(who[0] == who[1] && who[2] == who[3] && who[4] == who[5], "{who:?}");
    assert_eq!(distinct(&rig.sent), 3);
    let pauses: Vec<_> = rig.sent.windows(2).map(|two| (two[1].at - two[0].at).as_millis()).collect();
    assert_eq!(pauses, [500, 1000, 2000, 4000, 5000]);
    let bids: BTreeSet<_> = rig.sent.iter().map(|sent| sent.offer.bid.clone()).collect();
    assert_eq!(bids.len(), 1, "the batch keeps its id");
}

#[test]
fn a_submitter_that_is_gone_is_replaced_at_once() {
    let gone = Rc::new(RefCell::new(BTreeSet::new()));
    let seen = gone.clone();
    let mut rig = three(move |count, to| match count {
        1 | 2 => {
            seen.borrow_mut().insert(to);
            Says::Gone
        }
        _ => Says::Accepted,
    });
    rig.run_until(millis(1000));
    assert_eq!(rig.batches(), [(seconds(1), 1)]);
    assert_eq!(distinct(&rig.sent), 3);
    assert_eq!(gone.borrow().len(), 2);
}

#[test]
fn all_gone_means_waiting_for_a_heartbeat() {
    let mut rig = three(|count, _| if count <= 3 { Says::Gone } else { Says::Accepted });
    rig.submitters.clear();
    rig.run_until(seconds(30));
    assert_eq!((rig.sent.len(), rig.accepted.len()), (3, 0));
    rig.hear(pid(201), Role::Submitter, |_| {});
    assert_eq!(rig.batches(), [(seconds(30), 1)]);
}

#[test]
fn a_submitter_that_stops_draining_is_used_again() {
    let mut rig = Rig::alone(args());
    rig.hear(pid(200), Role::Submitter, |beat| beat.draining = true);
    rig.announce(&key(1, "m"), [1]);
    rig.run_until(seconds(3));
    assert!(rig.sent.is_empty());
    rig.hear(pid(200), Role::Submitter, |_| {});
    assert_eq!(rig.batches(), [(seconds(3), 1)]);
}

#[test]
fn a_farewell_moves_the_offer_on_at_once() {
    let mut rig = three(|count, _| if count == 1 { Says::Nothing } else { Says::Accepted });
    rig.run_until(millis(1100));
    let asked = rig.sent[0].to;
    rig.hear(asked, Role::Submitter, |beat| beat.leaving = true);
    assert_eq!(rig.batches(), [(millis(1100), 1)]);
    assert_ne!(rig.accepted[0].to, asked);
}

#[test]
fn a_late_acceptance_counts_and_other_late_answers_do_not() {
    let mut rig = three(|_, _| Says::Nothing);
    rig.run_until(millis(1600));
    let tokens = rig.outputs.iter().filter_map(|(_, output)| match output {
        Output::Offer { token, .. } => Some(*token),
        _ => None,
    });
    let tokens: Vec<_> = tokens.collect();
    assert_eq!(tokens.len(), 2);
    rig.input(Input::Answer((tokens[0], offer_reply(false))));
    rig.input(Input::Answer((tokens[0], None)));
    assert_eq!((rig.sent.len(), rig.core.batches.requests()), (2, 1));
    rig.input(Input::Answer((tokens[0], offer_reply(true))));
    rig.run_until(seconds(60));
    assert_eq!((rig.sent.len(), rig.core.batches.requests()), (2, 0));
}

#[test]
fn nothing_is_offered_while_the_bus_is_down() {
    let mut rig = three(|count, _| if count == 1 { Says::Nothing } else { Says::Accepted });
    rig.run_until(millis(1100));
    rig.input(Input::Bus { up: false, max_payload: PAYLOAD });
    rig.announce(&key(2, "m"), [2]);
    rig.submitters.clear();
    rig.run_until(seconds(100));
    assert_eq!((rig.sent.len(), rig.accepted.len()), (1, 0));
    let beats = rig.beats.len();
    rig.input(Input::Bus { up: true, max_payload: PAYLOAD });
    assert_eq!(rig.accepted.len(), 2);
    rig.run_for(Duration::ZERO);
    assert!(rig.beats.len() == beats + 1 && rig.beats[beats].hello);
}
