use proptest::prelude::*;

use super::*;

const ONE: Amount = Amount { count: 1, bytes: 0 };

fn bounds(count: usize, bytes: u64, most_each: usize) -> Bounds {
    Bounds { most: Amount { count, bytes }, most_each }
}

/// As many as the user gets.
fn fill(fair: &mut Fair<u8>, user: u8) -> usize {
    (0..).take_while(|_| fair.take(user, ONE, 1).is_ok()).count()
}

#[test]
fn one_alone_gets_nearly_all_and_each_further_one_something() {
    let mut fair = Fair::new(bounds(100_000, 0, usize::MAX));
    assert_eq!(fill(&mut fair, 0), 87_501);
    assert_eq!(fair.take(0, ONE, 1), Err(Refused::Share));
    let others: Vec<usize> = (1..5).map(|user| fill(&mut fair, user)).collect();
    assert_eq!(others, [10_937, 1_367, 171, 22]);
}

#[test]
fn what_the_greedy_one_gives_back_goes_to_others() {
    let mut fair = Fair::new(bounds(800, 0, usize::MAX));
    assert_eq!((fill(&mut fair, 0), fill(&mut fair, 1)), (701, 87));
    fair.give_back(0, Amount { count: 300, bytes: 0 });
    assert_eq!(fair.take(0, ONE, 1), Ok(()));
    assert_eq!(fill(&mut fair, 1), 262);
    assert_eq!(fair.users[&0].count, 402);
}

#[test]
fn small_bounds_can_be_used_up() {
    for most in 1..=8 {
        assert_eq!(fill(&mut Fair::new(bounds(most, 0, usize::MAX)), 0), most);
    }
    let mut none = Fair::new(bounds(0, 0, usize::MAX));
    assert_eq!(none.take(0, ONE, 1), Err(Refused::Full));
}

#[test]
fn each_has_a_bound_of_its_own() {
    let mut fair = Fair::new(bounds(10, 0, 3));
    assert_eq!((fill(&mut fair, 0), fair.take(0, ONE, 1)), (3, Err(Refused::Most)));
    // A repetition takes the place of its original, as far as is known.
    assert_eq!(fair.take(0, ONE, 2), Ok(()));
    assert_eq!(fair.used().count, 4);
}

#[test]
fn bytes_are_shared_in_the_same_way() {
    let mut fair = Fair::new(bounds(1000, 100, usize::MAX));
    let large = Amount { count: 1, bytes: 45 };
    assert_eq!((fair.take(0, large, 1), fair.take(0, large, 1)), (Ok(()), Ok(())));
    assert_eq!(fair.take(0, Amount { count: 1, bytes: 1 }, 1), Err(Refused::Share));
    assert_eq!(fair.take(1, Amount { count: 1, bytes: 10 }, 1), Ok(()));
    assert_eq!(fair.take(2, Amount { count: 1, bytes: 1 }, 1), Err(Refused::Full));
}

proptest! {
    /// Bounds hold whatever happens, what one is given is not refused to one that has less, there is always something for
    /// who has nothing unless all is in use, and when everything is given back nobody is remembered.
    #[test]
    fn fair_at_any_time(
        most in 1_usize..60,
        most_each in 1_usize..60,
        steps in prop::collection::vec((0_u8..5, 0_u64..9, any::<bool>()), 0..300),
    ) {
        let bounds = bounds(most, 200, most_each);
        let mut fair = Fair::new(bounds);
        let mut given = Vec::new();
        for (user, bytes, back) in steps {
            if back && let Some((user, amount)) = given.pop() {
                fair.give_back(user, amount);
                continue;
            }
            let more = Amount { count: 1, bytes };
            let has = |fair: &Fair<u8>, user| fair.users.get(&user).copied().unwrap_or_default();
            let own = has(&fair, user);
            let less = (0..6).filter(|other| {
                let theirs = has(&fair, *other);
                theirs.count <= own.count && theirs.bytes <= own.bytes
            });
            let less: Vec<u8> = less.collect();
            let free = bounds.most.minus(fair.used());
            if free.count >= 1 && free.bytes >= bytes {
                let mut copy = Fair { bounds, used: fair.used, users: fair.users.clone() };
                prop_assert!(copy.take(99, more, 1).is_ok());
            }
            if fair.take(user, more, 1).is_ok() {
                fair.give_back(user, more);
                for other in less {
                    prop_assert!(fair.take(other, more, 1).is_ok());
                    fair.give_back(other, more);
                }
                fair.take(user, more, 1).unwrap();
                given.push((user, more));
            }
            prop_assert!(fair.used().count <= most && fair.used().bytes <= 200);
            prop_assert!(fair.users.values().all(|own| own.count <= most_each));
        }
        for (user, amount) in given {
            fair.give_back(user, amount);
        }
        prop_assert!(fair.users.is_empty() && fair.used() == Amount::default());
    }
}
