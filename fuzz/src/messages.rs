//! Messages of the bus made out of a fuzzer's bytes: well formed, about few things, and otherwise as wrong as can be.

use common::outcome::{Fault, FaultClass, Outcome};
use common::wire::{self, Role, reply, to_batcher, to_ingress, to_submitter};

use crate::key::{Cast, wire_key};
use crate::source::Source;

type From<'a, 'b> = (&'a Cast, &'a mut Source<'b>);

pub(crate) fn heartbeat((cast, source): From<'_, '_>) -> wire::Heartbeat {
    let flags = source.byte();
    wire::Heartbeat {
        pid: cast.pid(source),
        role: i32::from(source.byte() % 5),
        draining: flags & 1 != 0,
        hello: flags & 2 != 0,
        leaving: flags & 12 == 12,
        load: source.short(),
        ..Default::default()
    }
}

pub(crate) fn to_batcher((cast, source): From<'_, '_>) -> to_batcher::Body {
    match source.byte() % 4 {
        0 => to_batcher::Body::Withdraw(wire::Withdraw { rids: source.some(4, |source| cast.rid(source)) }),
        _ => to_batcher::Body::Announce(wire::Announce {
            ingress: cast.pid(source),
            reply: source.text(),
            groups: source.some(3, |source| group(cast, source)),
        }),
    }
}

fn group(cast: &Cast, source: &mut Source<'_>) -> wire::AnnounceGroup {
    let item = |source: &mut Source<'_>| wire::AnnounceItem {
        rid: match source.byte() {
            // More than the few that there are, so that batches fill.
            fresh @ 128.. => [&[fresh; 15][..], &[source.byte()]].concat().into(),
            _ => cast.rid(source),
        },
        bytes: source.number(),
        inputs: source.short(),
        deadline_ms: source.number(),
    };
    wire::AnnounceGroup { key: wire_key(source), items: source.some(20, item) }
}

pub(crate) fn to_submitter((cast, source): From<'_, '_>) -> to_submitter::Body {
    use to_submitter::Body;
    match source.byte() % 8 {
        0 => Body::ResultAck(wire::ResultAck {
            bid: cast.bid(source),
            ingress: cast.pid(source),
            seqs: source.some(4, Source::number),
        }),
        1 => Body::Abandoned(wire::Abandoned {
            bid: cast.bid(source),
            ingress: cast.pid(source),
            overdue: source.byte() % 2 == 0,
        }),
        2 => Body::Recover(Box::new(wire::Recover {
            bid: cast.bid(source),
            origin: cast.bid(source),
            key: wire_key(source),
            part: (source.byte() != 255).then(|| part(cast, source)),
            files: source.some(3, Source::text),
            job: source.text(),
            age_ms: source.number(),
        })),
        3 => Body::Sync(wire::Sync {
            ingress: cast.pid(source),
            bids: cast.packed_bids(source),
            ended: cast.packed_bids(source),
        }),
        4 => Body::Whois(whois((cast, source))),
        _ => Body::Offer(wire::Offer {
            bid: cast.bid(source),
            key: wire_key(source),
            parts: source.some(3, |source| part(cast, source)),
            bytes: source.number(),
        }),
    }
}

fn part(cast: &Cast, source: &mut Source<'_>) -> wire::OfferPart {
    wire::OfferPart { ingress: cast.pid(source), reply: source.text(), rids: cast.packed_rids(source) }
}

fn whois((cast, source): From<'_, '_>) -> wire::Whois {
    let group = |source: &mut Source<'_>| wire::WhoisGroup {
        key: wire_key(source),
        calls: source.some(4, |source| call(cast, source)),
    };
    let groups = source.some(3, group);
    wire::Whois { groups, heard: source.some(3, |source| cast.pid(source)).concat().into() }
}

fn call(cast: &Cast, source: &mut Source<'_>) -> wire::Call {
    // The digests of calls are a byte again and again, and so are the beginnings of the ids of requests.
    let digest = |source: &mut Source<'_>| match source.byte() {
        250.. => source.odd_bytes(),
        kind => vec![kind % 4; 16].into(),
    };
    wire::Call { caller: cast.rid(source), digest: digest(source), name: digest(source), retry: source.yes() }
}

pub(crate) fn to_ingress((cast, source): From<'_, '_>) -> to_ingress::Body {
    use to_ingress::Body;
    match source.byte() % 12 {
        0 => Body::Intent(wire::Intent {
            bid: cast.bid(source),
            epoch: source.short(),
            file: source.text(),
            known_files: source.some(3, Source::text),
        }),
        1 => Body::Submitted(wire::Submitted {
            bid: cast.bid(source),
            epoch: source.short(),
            job: source.text(),
        }),
        2 => Body::JobState(wire::JobState {
            bid: cast.bid(source),
            epoch: source.short(),
            job: source.text(),
            status: source.text(),
            total: source.number(),
            completed: source.number(),
            failed: source.number(),
        }),
        3 => Body::Released(wire::Released {
            bid: cast.bid(source),
            epoch: source.short(),
            tidy: source.yes(),
        }),
        4 => Body::Whois(whois((cast, source))),
        5 => Body::Attach(wire::Attach {
            ingress: cast.pid(source),
            calls: source.some(4, |source| call(cast, source)),
            received: cast.packed_rids(source),
            gone: cast.packed_rids(source),
        }),
        6 => Body::Ended(wire::Ended { ingress: cast.pid(source), callers: cast.packed_rids(source) }),
        7 => Body::Fetch(wire::Fetch { caller: cast.rid(source), part: source.short() }),
        8 => Body::Delivered(wire::Delivered { bid: cast.bid(source) }),
        _ => Body::Claim(wire::Claim {
            bid: cast.bid(source),
            submitter: cast.pid(source),
            public_key: source.odd_bytes(),
            auth: Default::default(),
            rids: cast.packed_rids(source),
        }),
    }
}

pub(crate) fn reply((cast, source): From<'_, '_>) -> reply::Body {
    use reply::Body;
    match source.byte() % 11 {
        0 => Body::AnnounceAck(wire::AnnounceAck { busy: source.yes() }),
        1 => Body::OfferReply(wire::OfferReply { accepted: source.yes() }),
        2 | 3 => Body::Grant(wire::Grant {
            bid: cast.bid(source),
            epoch: source.short(),
            granted: cast.packed_rids(source),
            fence_files: source.some(3, Source::text),
            sealed_credential: source.odd_bytes(),
            body_bytes: source.number(),
            lengths: source.some(4, |source| source.short()),
        }),
        4 => Body::IntentReply(wire::IntentReply {
            accepted: source.yes(),
            epoch: source.short(),
            files: source.some(3, Source::text),
        }),
        5 => Body::Ack(wire::Ack { unknown: source.yes() }),
        6 => Body::SyncReply(wire::SyncReply {
            unknown: cast.packed_bids(source),
            left: cast.packed_bids(source),
        }),
        7 => Body::Holds(wire::Holds {
            orphans: cast.packed_rids(source),
            twins: cast.packed_rids(source),
            conflicts: cast.packed_rids(source),
            batches: source.some(3, |source| held_batch(cast, source)),
            forgetful: source.yes(),
        }),
        8 => Body::Attached(wire::Attached {
            waiting: cast.packed_rids(source),
            ended: cast.packed_rids(source),
            unknown: cast.packed_rids(source),
            conflicts: cast.packed_rids(source),
        }),
        9 => Body::Fetched(wire::Fetched {
            caller: cast.rid(source),
            part: source.short(),
            last: source.yes(),
            unknown: source.yes(),
            head: outcome_head(source),
            sealed_body: source.odd_bytes(),
        }),
        _ => Body::DeliveredReply(wire::DeliveredReply { unread: source.short() }),
    }
}

fn held_batch(cast: &Cast, source: &mut Source<'_>) -> wire::HeldBatch {
    wire::HeldBatch {
        origin: cast.bid(source),
        ingress: cast.pid(source),
        files: source.some(3, Source::text),
        job: source.text(),
        age_ms: source.number(),
        undecided: source.yes(),
        callers: cast.packed_rids(source),
        rids: cast.packed_rids(source),
    }
}

pub(crate) fn outcome_head(source: &mut Source<'_>) -> Option<wire::OutcomeHead> {
    match source.byte() % 4 {
        0 => None,
        1 => Some(wire::OutcomeHead { kind: None }),
        2 => {
            let header =
                |source: &mut Source<'_>| wire::Header { name: source.text(), value: source.odd_bytes() };
            let head = wire::ResponseHead {
                status: source.short().wrapping_add(100),
                headers: source.some(2, header),
                job: source.text(),
                unbatchable: source.yes(),
                route: i32::from(source.byte() % 4),
            };
            Some(wire::OutcomeHead { kind: Some(wire::outcome_head::Kind::Response(head)) })
        }
        _ => {
            let head = wire::FaultHead {
                class: i32::from(source.byte() % 12),
                code: source.text(),
                retry_after_s: source.short(),
                no_retry: source.yes(),
                unbatchable: source.yes(),
                route: i32::from(source.byte() % 4),
                again: source.yes(),
                perhaps_executed: source.yes(),
                requeue: source.yes(),
            };
            Some(wire::OutcomeHead { kind: Some(wire::outcome_head::Kind::Fault(head)) })
        }
    }
}

pub(crate) fn outcome(source: &mut Source<'_>) -> Outcome {
    let odd = source.odd_bytes();
    let made = outcome_head(source).and_then(|head| Outcome::from_wire(head, odd));
    made.unwrap_or_else(|| Outcome::Fault(Fault::new(FaultClass::Internal, "odd", "odd")))
}

/// The role that heartbeats of these processes mostly have, so that each core knows some of every kind.
pub(crate) fn cast_roles() -> [Role; 5] {
    [Role::Ingress, Role::Ingress, Role::Submitter, Role::Submitter, Role::Batcher]
}
