//! A batcher that hears anything in any order.

use std::time::Duration;

use batcher::Args;
use batcher::core::{Core, Input, Output};
use bytes::Bytes;
use common::drive::Core as _;
use common::ids::{Bid, Pid};
use common::members::Identity;
use common::timers::Now;
use common::wire::{Role, to_batcher, to_submitter};

use providers::Upstreams;

use crate::key::Cast;
use crate::messages;
use crate::source::Source;

const PAYLOAD: usize = 1_000_000;

/// Takes a sequence of inputs and moments.
pub(crate) fn sequence(data: &[u8]) {
    let mut source = Source::new(data);
    let mut cast = Cast::new();
    let mut core = core(&mut source, cast.me);
    let (mut now, mut out) = (Now::ZERO, Vec::new());
    core.handle(now, Input::Bus { up: true, max_payload: PAYLOAD }, &mut out);
    while let Some(what) = source.next() {
        if what >= 200 {
            now = later(now, what, core.wake_at());
            core.tick(now, &mut out);
        } else if let Some(input) = input(what, &cast, &mut source) {
            core.handle(now, input, &mut out);
        }
        out.drain(..).for_each(|output| heed(output, &mut cast));
        let _ = (core.sizes(), core.is_finished());
    }
}

fn core(source: &mut Source<'_>, me: Pid) -> Core {
    let args = Args {
        window: Duration::from_secs(4),
        idle: Duration::from_secs(1),
        max_requests: 1 + source.below(8),
        max_bytes: source.number().max(1),
    };
    let identity = Identity { pid: me, role: Role::Batcher, public_key: Bytes::new(), auth: Bytes::new() };
    let mut count = 0u128;
    let bids = move || {
        count += 1;
        Bid(count.to_be_bytes())
    };
    Core::new(args, Upstreams::default(), identity, PAYLOAD, Box::new(bids))
}

/// From a moment to a month.
pub(crate) fn later(now: Now, what: u8, wake_at: Option<Now>) -> Now {
    match what {
        250.. => now + Duration::from_secs(86_400 * 30),
        240.. => now + Duration::from_secs(3600),
        230.. => now + Duration::from_secs(20),
        220.. => now + Duration::from_millis(1),
        _ => wake_at.map_or(now, |at| at.max(now)),
    }
}

fn input(what: u8, cast: &Cast, source: &mut Source<'_>) -> Option<Input> {
    Some(match what % 10 {
        0..4 => match messages::to_batcher((cast, source)) {
            to_batcher::Body::Announce(announce) => {
                Input::Announce { announce, reply: source.yes().then(|| "r".to_owned()) }
            }
            to_batcher::Body::Withdraw(withdraw) => Input::Withdraw(withdraw),
        },
        4..7 => {
            let token = cast.token(source);
            Input::Answer((token, source.yes().then(|| messages::reply((cast, source)))))
        }
        7 | 8 => Input::Heartbeat(messages::heartbeat((cast, source))),
        _ => match source.byte() {
            0 => Input::Drain,
            up => Input::Bus { up: up > 20, max_payload: PAYLOAD.min(usize::from(up) * 100) },
        },
    })
}

fn heed(output: Output, cast: &mut Cast) {
    if let Output::Offer { token, offer, .. } = output {
        cast.remember_token(Some(token));
        if let Some(to_submitter::Body::Offer(offer)) = offer.body {
            assert!(!offer.parts.is_empty(), "an offer of nothing");
            cast.remember_bid(&offer.bid);
        }
    }
}
