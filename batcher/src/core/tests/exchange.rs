//! Heartbeats and draining.

use super::*;

#[test]
fn it_says_that_it_lives_and_what_it_holds() {
    let mut rig = Rig::alone(args());
    rig.announce(&key(1, "m"), 0..7);
    rig.run_until(seconds(5));
    assert!(rig.beats[0].hello && !rig.beats[1].hello);
    assert_eq!(rig.beats.len(), 6);
    assert!(rig.beats.iter().all(|beat| beat.role() == Role::Batcher && beat.pid == pid(100).to_bytes()));
    assert_eq!(rig.beats.last().unwrap().load, 7);
}

#[test]
fn draining_seals_everything_and_finishes_when_all_is_accepted() {
    let mut rig = Rig::new(args());
    let mut count = 0;
    rig.policy = Box::new(move |_, _| {
        count += 1;
        if count <= 2 { Says::Nothing } else { Says::Accepted }
    });
    rig.announce(&key(1, "m"), 0..3);
    rig.announce(&key(1, "n"), 3..6);
    rig.input(Input::Drain);
    assert_eq!(rig.sent.len(), 2);
    assert!(rig.beats.last().unwrap().draining);
    assert!(!rig.core.is_finished());
    rig.announce(&key(1, "m"), [7]);
    assert_eq!(rig.acks, [false, false, true]);
    rig.run_until(seconds(2));
    assert!(rig.core.is_finished());
    assert_eq!(rig.batches(), [(millis(500), 3), (millis(500), 3)]);
}

#[test]
fn draining_with_nothing_held_finishes_at_once() {
    let mut rig = Rig::new(args());
    assert!(!rig.core.is_finished());
    rig.input(Input::Drain);
    assert!(rig.core.is_finished());
    assert!(rig.beats.last().unwrap().draining, "and says that it takes no new work");
}
