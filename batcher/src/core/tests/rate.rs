//! The number of batches that a credential creates within an hour.

use providers::Caps;

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

/// Runs one request per key and `gap` for so long, and then until nothing is left. Returns the longest wait.
fn steady(rig: &mut Rig, keys: &[wire::BatchKey], gap: Duration, end: Now) -> Duration {
    let mut came = Vec::new();
    while rig.now < end {
        for key in keys {
            rig.announce(key, [came.len() as u64]);
            came.push(rig.now);
        }
        rig.run_for(gap);
    }
    rig.run_for(HOUR + seconds(600));
    assert!(rig.core.batches.is_empty());
    let mut waits = vec![None; came.len()];
    for sent in &rig.accepted {
        for n in sent.rids().iter().map(|rid| u128::from_be_bytes(rid.0) as usize) {
            assert_eq!(waits[n].replace(sent.at - came[n]), None, "{n} twice");
        }
    }
    waits.into_iter().map(|wait| wait.expect("accepted")).max().unwrap()
}

/// Most batches within any hour.
fn busiest_hour(rig: &Rig) -> usize {
    let at: Vec<Now> = rig.accepted.iter().map(|sent| sent.at).collect();
    (0..at.len()).map(|first| at[first..].partition_point(|t| *t < at[first] + HOUR)).max().unwrap()
}

#[test]
fn ten_hours_that_want_a_batch_a_second_stay_below_the_limit() {
    let mut rig = Rig::new(Args { window: seconds(1), ..args() });
    let wait = steady(&mut rig, &[key(1, "m")], millis(500), HOUR * 10);
    let busiest = busiest_hour(&rig);
    assert!((1500..=Caps::OPENAI.max_creations).contains(&busiest), "{busiest}");
    assert!(wait < seconds(30), "{wait:?}");
}

#[test]
fn many_keys_of_one_credential_share_the_limit_fairly() {
    let keys: Vec<_> = (0..50).map(|n| key(1, &n.to_string())).collect();
    let mut rig = Rig::new(args());
    let wait = steady(&mut rig, &keys, seconds(10), HOUR * 10);
    let busiest = busiest_hour(&rig);
    assert!((1500..=Caps::OPENAI.max_creations).contains(&busiest), "{busiest}");
    assert!(wait < seconds(1200), "{wait:?}");
}

#[test]
fn a_burst_of_full_batches_is_sealed_at_once_up_to_the_limit_and_the_rest_an_hour_later() {
    let mut rig = Rig::new(Args { max_requests: 2, ..args() });
    rig.announce(&key(1, "m"), 0..5000);
    rig.announce(&key(2, "m"), 5000..5002);
    assert_eq!(rig.accepted.len(), Caps::OPENAI.max_creations + 1, "another credential is not held up");
    rig.run_until(HOUR);
    assert_eq!(rig.accepted.len(), Caps::OPENAI.max_creations + 1);
    rig.run_until(HOUR + seconds(180));
    assert_eq!(rig.accepted.len(), 2501);
    assert_eq!(rig.accepted.iter().map(|sent| sent.rids().len()).sum::<usize>(), 5002);
}

#[test]
fn below_half_of_the_limit_nothing_changes() {
    let mut rig = Rig::new(Args { max_requests: 2, ..args() });
    rig.announce(&key(1, "m"), 0..2000);
    rig.announce(&key(1, "m"), [2000]);
    rig.run_until(seconds(1));
    assert_eq!(rig.accepted.len(), 1001, "at the idle gap as ever");
    rig.announce(&key(1, "m"), [2001]);
    rig.run_until(millis(2750));
    assert_eq!(rig.accepted.len(), 1001, "above half of the limit, 1.8 s after the one before");
    rig.run_until(millis(2850));
    assert_eq!(rig.accepted.len(), 1002);
    rig.announce(&key(1, "m"), 3000..3998);
    assert_eq!(rig.accepted.len(), 1501, "but full batches leave at once");
    rig.announce(&key(1, "m"), [4000]);
    rig.run_until(millis(6350));
    assert_eq!(rig.accepted.len(), 1501, "and twice as long with a quarter left");
    rig.run_until(millis(6450));
    assert_eq!(rig.accepted.len(), 1502);
}

#[test]
fn full_batches_do_not_starve_others_of_the_same_credential() {
    let mut rig = Rig::new(Args { max_requests: 2, ..args() });
    let mut n = 10;
    while rig.now < HOUR * 3 {
        rig.announce(&key(1, "busy"), n..n + 4);
        n += 4;
        if rig.now == seconds(2000) {
            rig.announce(&key(1, "rare"), [1]);
        }
        rig.run_for(seconds(4));
    }
    let rare = rig.accepted.iter().find(|sent| sent.rids() == [rid(1)]).unwrap();
    assert!(rare.at < seconds(2000) + HOUR, "{:?}", rare.at);
    assert!(busiest_hour(&rig) <= Caps::OPENAI.max_creations);
}

#[test]
fn batchers_share_the_limit() {
    let mut rig = Rig::new(Args { max_requests: 1, ..args() });
    rig.hear(pid(101), Role::Batcher, |_| {});
    rig.announce(&key(1, "m"), 0..3000);
    assert_eq!(rig.accepted.len(), 1000);
    rig.run_until(seconds(120));
    assert_eq!(rig.accepted.len(), 2000, "the other one is gone");
}

#[test]
fn draining_does_not_break_the_limit_but_lets_go() {
    let mut rig = Rig::new(Args { max_requests: 1, ..args() });
    rig.announce(&key(1, "m"), 0..3000);
    rig.input(Input::Drain);
    assert_eq!(rig.accepted.len(), 2000);
    assert!(rig.core.is_finished());
}

#[test]
fn accounts_are_forgotten_when_nothing_counts_any_more() {
    let mut rig = Rig::new(args());
    for credential in 0..100 {
        rig.announce(&key(credential, "m"), [u64::from(credential)]);
    }
    rig.run_until(seconds(10));
    assert!(!rig.core.accounts.is_empty());
    rig.run_until(HOUR + seconds(300));
    assert!(rig.core.accounts.is_empty() && rig.core.timers.is_empty());
}
