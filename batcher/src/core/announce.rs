//! What ingresses say: requests that wait, and requests that no longer do.

use common::ids::{BadId, Pid, Rid};
use common::key::BatchKey;
use common::timers::Now;
use common::wire;
use prost::Message as _;

use super::batches::{Id, Line, Origin};
use super::limits::{self, Limits};
use super::{Core, Due, Output};

/// Most requests that are held.
pub(super) const MAX_REQUESTS: usize = 1_000_000;
/// Most batches that are filled at a time.
pub(super) const MAX_OPEN: usize = 65_536;
/// Longest reply subject that is taken; those of an ingress are shorter than a hundred bytes.
const MAX_REPLY: usize = 512;

impl Core {
    /// Takes all of a message or nothing. What is malformed is not acknowledged: an acknowledgement is the word that
    /// every request of the message is held.
    pub(super) fn announce(
        &mut self,
        now: Now,
        announce: wire::Announce,
        reply: Option<String>,
        out: &mut Vec<Output>,
    ) {
        let wire::Announce { ingress, reply: prefix, groups } = announce;
        let (Ok(ingress), Ok(groups)) = (Pid::from_slice(&ingress), self.read(&prefix, groups)) else {
            return self.malformed("an announcement");
        };
        let requests: usize = groups.iter().map(|(_, items)| items.len()).sum();
        let busy = self.members.is_draining()
            || self.batches.requests() + requests > MAX_REQUESTS
            || self.open.len() + groups.len() > MAX_OPEN;
        if !busy {
            let from = Origin { ingress, reply: &prefix };
            for (key, items) in &groups {
                self.take(now, from, key, items, out);
            }
        }
        out.extend(reply.map(|reply| Output::Ack { reply, busy }));
    }

    fn read(&self, prefix: &str, groups: Vec<wire::AnnounceGroup>) -> Result<Vec<Group>, BadId> {
        match groups.is_empty() || prefix.is_empty() || prefix.len() > MAX_REPLY {
            true => Err(BadId),
            false => groups.into_iter().map(|group| self.read_group(prefix, group)).collect(),
        }
    }

    fn read_group(&self, prefix: &str, group: wire::AnnounceGroup) -> Result<Group, BadId> {
        let key = BatchKey::new(group.key.ok_or(BadId)?)?;
        let sound = !group.items.is_empty()
            && group.items.iter().all(|item| line_of(item).is_some())
            && limits::fits_alone(&key, prefix, self.max_payload);
        if sound { Ok((key, group.items)) } else { Err(BadId) }
    }

    fn take(
        &mut self,
        now: Now,
        from: Origin<'_>,
        key: &BatchKey,
        items: &[wire::AnnounceItem],
        out: &mut Vec<Output>,
    ) {
        let limits = Limits::new(&self.args, &self.upstreams.caps(key.upstream()), self.max_payload);
        let mut open = self.open.get(key).copied();
        for line in items.iter().filter_map(line_of) {
            // Announced again because an acknowledgement was lost, or by a second ingress under the same idempotency
            // key: a custom_id is used once in a batch, and the first to announce it stands.
            if self.batches.holds(&line.rid) {
                continue;
            }
            if let Some(id) = open.take_if(|id| !self.batches.fits(*id, from, &line, &limits)) {
                self.batch_full(now, id, out);
            }
            let id = *open.get_or_insert_with(|| self.open_batch(now, key));
            self.batches.push(now, id, from, line);
            if self.batches.is_full(id, &limits) {
                self.batch_full(now, id, out);
                open = None;
            }
        }
    }

    fn open_batch(&mut self, now: Now, key: &BatchKey) -> Id {
        // The key that was announced shares memory with the whole message; the batch's own must not.
        let own = wire::BatchKey::decode(&key.encoded()[..]).ok().and_then(|own| BatchKey::new(own).ok());
        let key = own.unwrap_or_else(|| key.clone());
        let id = self.batches.open(now, key.clone());
        self.open.insert(key, id);
        if let Some(at) = self.seal_at(id) {
            self.timers.set(at, Due::Batch(id));
        }
        id
    }

    pub(super) fn withdraw(&mut self, withdraw: &wire::Withdraw) {
        for rid in &withdraw.rids {
            let Ok(rid) = Rid::from_slice(rid) else {
                self.malformed("a withdrawal of what is no id");
                continue;
            };
            // A batch that was offered already loses it too: should the submitter have the earlier offer, the ingress
            // refuses the claim.
            if let Some(id) = self.batches.remove(&rid) {
                self.discard_if_empty(id);
            }
        }
    }
}

type Group = (BatchKey, Vec<wire::AnnounceItem>);

/// `None` for what cannot be: an id of another length, a body over 4 GB. Deadlines are the ingress's business, and
/// nothing is sealed earlier for their sake.
fn line_of(item: &wire::AnnounceItem) -> Option<Line> {
    let (rid, bytes) = (Rid::from_slice(&item.rid).ok()?, u32::try_from(item.bytes).ok()?);
    Some(Line { rid, bytes, inputs: item.inputs.max(1) })
}
