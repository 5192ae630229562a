//! Batches whose callers have not received what their ingress has acknowledged.

use common::ids::Digest;
use common::pairing::Pairing;

use super::*;

const ASKED: Pairing = Pairing { digest: Digest([1; 16]), idempotency: None, retry: true };

impl World {
    /// How many of its requests a repetition could mean.
    fn knows_of(&mut self, pairing: Pairing) -> usize {
        let key = wire::BatchKey { fingerprint: vec![7; 16].into(), ..Default::default() };
        let calls = vec![pairing.to_wire(Rid::random())];
        let whois = wire::Whois { groups: vec![wire::WhoisGroup { key: Some(key), calls }] };
        let mut out = Vec::new();
        self.core.handle(self.now, Input::Whois(whois, "reply".into()), &mut out);
        let batches = out.iter().filter_map(|output| match output {
            Output::Reply(_, reply::Body::Holds(holds)) => Some(holds.batches.len()),
            _ => None,
        });
        batches.sum()
    }
}

#[test]
fn what_callers_have_not_received_is_known_before_their_ingress_is_given_up() {
    let mut world = World::new(1);
    world.rids = vec![ASKED.rid()];
    world.polling();
    let (rids, op) = (world.rids.clone(), world.op());
    assert!(matches!(op, Op::Poll { .. }), "{op:?}");
    world.did(Did::Polled(Ok(job(JobPhase::Completed))));
    assert!(matches!(world.op(), Op::Download { .. }));
    world.did(Did::Downloaded(Ok(succeeded(&rids))));
    assert_eq!(world.op(), Op::Flush);
    world.did(Did::Flushed);
    world.unread(1);
    assert_eq!(world.knows_of(ASKED), 1, "the ingress may be dead, and nobody has noticed");
    while !world.is_asked_whether_received() {
        world.now = world.core.wake_at().expect("it is asked again");
        let mut out = Vec::new();
        world.core.tick(world.now, &mut out);
        world.take(out);
    }
    world.unread(0);
    assert_eq!(world.knows_of(ASKED), 0, "received: the same once more is a new request");
}
