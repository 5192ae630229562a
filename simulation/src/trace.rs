//! What happened, for people.

use std::collections::VecDeque;

use common::ids::{Rid, unpack_rids};
use common::timers::Now;
use common::wire::{self, outcome_head, reply, to_batcher, to_ingress, to_submitter};
use prost::Message as _;

/// The last events, where they are wanted.
pub(crate) struct Trace {
    lines: VecDeque<String>,
    /// Lines that are kept; 0 for none.
    keep: usize,
}

impl Trace {
    pub(crate) fn new(keep: usize) -> Self {
        Self { lines: VecDeque::new(), keep }
    }

    /// Notes an event; what it says is only made up when it is kept.
    pub(crate) fn note(&mut self, now: Now, what: impl FnOnce() -> String) {
        if self.keep == 0 {
            return;
        }
        if self.lines.len() == self.keep {
            self.lines.pop_front();
        }
        self.lines.push_back(format!("{:>12.6} {}", now.as_secs_f64(), what()));
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

fn short(id: &[u8]) -> String {
    id.iter().take(3).map(|byte| format!("{byte:02x}")).collect()
}

fn rids(packed: &[u8]) -> String {
    let rids: Vec<String> = unpack_rids(packed).unwrap_or_default().iter().map(short_rid).collect();
    format!("[{}]", rids.join(" "))
}

/// Enough of an id to tell it from others.
pub(crate) fn short_rid(rid: &Rid) -> String {
    short(&rid.0)
}

/// What a message says.
pub(crate) fn describe(subject: &str, payload: &[u8]) -> String {
    read(subject, payload).unwrap_or_else(|| "?".to_owned())
}

fn read(subject: &str, payload: &[u8]) -> Option<String> {
    if subject.contains(".hb.") {
        let beat = wire::Heartbeat::decode(payload).ok()?;
        let word = if beat.leaving {
            "farewell"
        } else if beat.hello {
            "hello"
        } else {
            "heartbeat"
        };
        return Some(format!("{word}{}", if beat.draining { " (draining)" } else { "" }));
    }
    if subject.contains(".re.") {
        return Some(answer(subject, payload));
    }
    if subject.ends_with(".body") {
        let pull = wire::Pull::decode(payload).ok()?;
        return Some(format!("Pull {} epoch {} seq {}", short(&pull.bid), pull.epoch, pull.seq));
    }
    if subject.contains(".r.") {
        let result = wire::Result::decode(payload).ok()?;
        let what = match result.head.and_then(|head| head.kind) {
            Some(outcome_head::Kind::Response(head)) => format!("{}", head.status),
            Some(outcome_head::Kind::Fault(head)) => head.code,
            None => "nothing".to_owned(),
        };
        return Some(format!(
            "Result {} of {} seq {}: {what}",
            short(&result.rid),
            short(&result.bid),
            result.seq
        ));
    }
    if subject.contains(".bat.") {
        return Some(match wire::ToBatcher::decode(payload).ok()?.body? {
            to_batcher::Body::Announce(announce) => {
                let items = announce.groups.iter().flat_map(|group| &group.items);
                format!("Announce {:?}", items.map(|item| short(&item.rid)).collect::<Vec<_>>())
            }
            to_batcher::Body::Withdraw(withdraw) => {
                format!("Withdraw {:?}", withdraw.rids.iter().map(|rid| short(rid)).collect::<Vec<_>>())
            }
        });
    }
    if subject.contains(".sub.") {
        return Some(match wire::ToSubmitter::decode(payload).ok()?.body? {
            to_submitter::Body::Offer(offer) => {
                format!(
                    "Offer {} {}",
                    short(&offer.bid),
                    offer.parts.iter().map(|p| rids(&p.rids)).collect::<String>()
                )
            }
            to_submitter::Body::ResultAck(ack) => format!("ResultAck {} {:?}", short(&ack.bid), ack.seqs),
            to_submitter::Body::Abandoned(word) => {
                format!("{} {}", if word.overdue { "Overdue" } else { "Abandoned" }, short(&word.bid))
            }
            to_submitter::Body::Whois(whois) => asked(&whois),
            to_submitter::Body::Sync(sync) => format!("Sync {}", rids(&sync.bids)),
            to_submitter::Body::Recover(r) => format!(
                "Recover {} of {} {:?} {} age {} ms, {}",
                short(&r.bid),
                short(&r.origin),
                r.files,
                r.job,
                r.age_ms,
                r.part.map(|part| rids(&part.rids)).unwrap_or_default()
            ),
        });
    }
    Some(match wire::ToIngress::decode(payload).ok()?.body? {
        to_ingress::Body::Claim(claim) => format!("Claim {} {}", short(&claim.bid), rids(&claim.rids)),
        to_ingress::Body::Intent(i) => {
            format!("Intent {} epoch {} {} knows {:?}", short(&i.bid), i.epoch, i.file, i.known_files)
        }
        to_ingress::Body::Submitted(s) => format!("Submitted {} epoch {} {}", short(&s.bid), s.epoch, s.job),
        to_ingress::Body::JobState(s) => format!("JobState {} {} {}", short(&s.bid), s.job, s.status),
        to_ingress::Body::Released(r) => format!("Released {} epoch {}", short(&r.bid), r.epoch),
        to_ingress::Body::Delivered(d) => format!("Delivered {}", short(&d.bid)),
        to_ingress::Body::Whois(whois) => asked(&whois),
        to_ingress::Body::Attach(attach) => {
            let calls: Vec<String> = attach.calls.iter().map(|call| short(&call.caller)).collect();
            format!("Attach {calls:?} received {} gone {}", rids(&attach.received), rids(&attach.gone))
        }
        to_ingress::Body::Ended(ended) => format!("Ended {}", rids(&ended.callers)),
        to_ingress::Body::Fetch(fetch) => format!("Fetch {} part {}", short(&fetch.caller), fetch.part),
    })
}

fn asked(whois: &wire::Whois) -> String {
    let calls = whois.groups.iter().flat_map(|group| &group.calls);
    format!("Whois {:?}", calls.map(|call| short(&call.caller)).collect::<Vec<_>>())
}

fn answer(subject: &str, payload: &[u8]) -> String {
    let token = subject.rsplit('.').next().unwrap_or_default();
    let body = wire::Reply::decode(payload).ok().and_then(|reply| reply.body);
    match body {
        Some(reply::Body::Grant(grant)) => {
            format!("{token}: Grant {} epoch {} {}", short(&grant.bid), grant.epoch, rids(&grant.granted))
        }
        Some(body) => format!("{token}: {body:?}"),
        None => format!("{token}: a chunk"),
    }
}
