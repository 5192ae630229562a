//! Batches that some of their callers do not wait for any longer.

use super::*;

impl World {
    fn overdue(&mut self, ingress: Pid) {
        let word = wire::Abandoned { bid: self.bid.to_bytes(), ingress: ingress.to_bytes(), overdue: true };
        self.give(Input::Abandoned(word));
    }

    /// The job was cancelled, with a line for the first request alone. Whether the others' may go another way, and whether lines may
    /// that say so.
    fn cancelled(&mut self) -> (bool, bool) {
        let count = self.core.batches[&self.bid].untold().count() as u64;
        assert!(matches!(self.op(), Op::Poll { .. }));
        self.did(Did::Polled(Ok(JobView { counts: Some((count, 1, 0)), ..job(JobPhase::Cancelled) })));
        let Op::Download { given_up, .. } = self.op() else { panic!("nothing is downloaded") };
        self.did(Did::Downloaded(Ok(succeeded(&self.rids[..1]))));
        let Op::Tell(rids, Outcome::Fault(fault)) = self.op() else { panic!("the others are not told") };
        assert_eq!((rids.len() as u64, fault.code.as_str()), (count - 1, "batch_cancelled"));
        (fault.again, given_up)
    }
}

#[test]
fn one_ingress_is_enough_and_the_others_requests_go_another_way_too() {
    let mut world = World::new(2);
    let another = world.polling_with_another();
    world.overdue(Pid::random());
    assert!(matches!(world.op(), Op::Poll { .. }), "nobody of this batch said so");
    world.overdue(another);
    assert_eq!(world.op(), Op::Cancel { job: "batch_1".into() });
    world.overdue(another);
    world.did(Did::Polled(Ok(job(JobPhase::Running))));
    world.did(Did::Cancelled(Ok(())));
    assert_eq!(world.cancelled(), (true, true));
}

#[test]
fn what_somebody_else_cancels_is_told() {
    let mut world = World::new(2);
    world.polling();
    assert_eq!(world.cancelled(), (false, false));
}

#[test]
fn what_is_not_created_goes_another_way_at_once() {
    let mut world = World::new(1);
    world.granted();
    assert!(matches!(world.op(), Op::Upload { .. }));
    world.overdue(world.ingress);
    let Op::Tell(rids, Outcome::Fault(fault)) = world.op() else { panic!("the callers are not told") };
    assert_eq!((rids, fault.code.as_str(), fault.again), (world.rids.clone(), "batch_cancelled", true));
}
