//! Pulls the bodies of a batch, as `submitter/src/shell/pull.rs` does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use common::ids::{Bid, ID_LEN, Pid, Rid};
use common::records::{CHUNK, RECORD_HEAD};
use common::seal::chunk_aad;
use common::wire;
use prost::Message as _;
use submitter::core::Granted;

use crate::node::Mail;
use crate::seal::open;

/// How long one pull waits for its chunk, and how often it is made.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
const PULLS: u32 = 5;

/// An upload whose lines are being gathered, one chunk after the other.
pub(crate) struct Upload {
    pub(crate) bid: Bid,
    pub(crate) name: String,
    from: VecDeque<Granted>,
    except: BTreeSet<Rid>,
    keys: BTreeMap<Pid, u64>,
    pulls: u32,
    seq: u64,
    records: Vec<u8>,
    pub(crate) lines: Vec<(Rid, Bytes)>,
}

/// What an upload needs next.
pub(crate) enum Next {
    Pull(Pid, wire::Pull),
    Send,
    Lost(Pid),
}

impl Upload {
    pub(crate) fn new(
        bid: Bid,
        name: String,
        from: Vec<Granted>,
        except: BTreeSet<Rid>,
        keys: BTreeMap<Pid, u64>,
    ) -> Self {
        let (lines, records) = (Vec::new(), Vec::new());
        Self { bid, name, from: from.into(), except, keys, pulls: 0, seq: 0, records, lines }
    }

    pub(crate) fn next(&mut self) -> Next {
        while self.from.front().is_some_and(|granted| self.seq >= granted.body_bytes.div_ceil(CHUNK)) {
            self.from.pop_front();
            self.seq = 0;
        }
        let Some(granted) = self.from.front() else { return Next::Send };
        if self.pulls >= PULLS {
            return Next::Lost(granted.ingress);
        }
        self.pulls += 1;
        let pull = wire::Pull { bid: self.bid.to_bytes(), epoch: granted.epoch, seq: self.seq };
        Next::Pull(granted.ingress, pull)
    }

    /// Takes a chunk in; `Some` when the ingress is lost.
    pub(crate) fn take(&mut self, mail: &Mail) -> Option<Pid> {
        let granted = self.from.front()?;
        let (ingress, epoch) = (granted.ingress, granted.epoch);
        if mail.no_responders {
            return Some(ingress);
        }
        let chunk = wire::Chunk::decode(mail.payload.clone()).ok();
        // Anything else is as good as silence: it is pulled again.
        let chunk = chunk.filter(|chunk| chunk.unknown || chunk.seq == self.seq)?;
        let aad = chunk_aad(self.bid, epoch, self.seq, chunk.last);
        let opened = self.keys.get(&ingress).and_then(|key| open(*key, &aad, &chunk.sealed));
        let Some(opened) = opened.filter(|_| !chunk.unknown) else { return Some(ingress) };
        self.records.extend_from_slice(&opened);
        (self.seq, self.pulls) = (self.seq + 1, 0);
        self.split();
        None
    }

    fn split(&mut self) {
        let mut at = 0;
        while let Some((head, rest)) = self.records[at..].split_at_checked(RECORD_HEAD) {
            let length = head[ID_LEN..].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            let (Ok(rid), Some(body)) = (Rid::from_slice(&head[..ID_LEN]), rest.get(..length)) else {
                break;
            };
            if !self.except.contains(&rid) {
                self.lines.push((rid, Bytes::copy_from_slice(body)));
            }
            at += RECORD_HEAD + length;
        }
        self.records.drain(..at);
    }
}
