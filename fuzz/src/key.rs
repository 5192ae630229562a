//! The ids and keys that sequences of messages are about: few, so that messages meet.

use bytes::Bytes;
use common::ids::{Bid, Fingerprint, Pid, Rid};
use common::key::BatchKey;
use common::subjects::Token;
use common::wire;

use crate::source::Source;

/// Ids that came up in outputs and are remembered, at most of each kind.
const REMEMBERED: usize = 64;

/// Everybody and everything there is.
pub(crate) struct Cast {
    pub(crate) me: Pid,
    pub(crate) pids: Vec<Pid>,
    pub(crate) bids: Vec<Bid>,
    pub(crate) rids: Vec<Rid>,
    pub(crate) tokens: Vec<Token>,
}

impl Cast {
    pub(crate) fn new() -> Self {
        let ids = |kind: u8, n: u8| (1..=n).map(move |n| [kind, n, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, n]);
        Self {
            me: Pid([9; 16]),
            pids: ids(1, 5).map(Pid).collect(),
            bids: ids(2, 4).map(Bid).collect(),
            rids: ids(3, 4).map(Rid).collect(),
            tokens: Vec::new(),
        }
    }

    pub(crate) fn remember_bid(&mut self, bid: &[u8]) {
        if let Ok(bid) = Bid::from_slice(bid) {
            remember(&mut self.bids, bid);
        }
    }

    pub(crate) fn remember_rid(&mut self, rid: Rid) {
        remember(&mut self.rids, rid);
    }

    pub(crate) fn remember_token(&mut self, token: Option<Token>) {
        if let Some(token) = token {
            remember(&mut self.tokens, token);
        }
    }

    /// A token that was given out, mostly the latest ones, or one that was not.
    pub(crate) fn token(&self, source: &mut Source<'_>) -> Token {
        match source.byte() {
            255 => source.number(),
            back => {
                let back = usize::from(back) % self.tokens.len().max(1);
                self.tokens.iter().rev().nth(back).copied().unwrap_or_default()
            }
        }
    }

    pub(crate) fn pid(&self, source: &mut Source<'_>) -> Bytes {
        self.id(source, &[&self.pids[..], &[self.me]].concat(), |pid| pid.to_bytes())
    }

    pub(crate) fn bid(&self, source: &mut Source<'_>) -> Bytes {
        self.id(source, &self.bids, |bid| bid.to_bytes())
    }

    pub(crate) fn rid(&self, source: &mut Source<'_>) -> Bytes {
        self.id(source, &self.rids, |rid| rid.to_bytes())
    }

    /// Packed ids.
    pub(crate) fn packed_rids(&self, source: &mut Source<'_>) -> Bytes {
        source.some(6, |source| self.rid(source)).concat().into()
    }

    pub(crate) fn packed_bids(&self, source: &mut Source<'_>) -> Bytes {
        source.some(3, |source| self.bid(source)).concat().into()
    }

    /// One of these, and rarely something that is no id.
    fn id<T: Copy>(&self, source: &mut Source<'_>, from: &[T], bytes: impl Fn(T) -> Bytes) -> Bytes {
        match source.byte() {
            250.. => source.odd_bytes(),
            at => from.get(usize::from(at) % from.len().max(1)).copied().map(bytes).unwrap_or_default(),
        }
    }
}

/// The latest are kept.
fn remember<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if list.contains(&item) {
        return;
    }
    if list.len() == REMEMBERED {
        list.remove(0);
    }
    list.push(item);
}

/// One of four keys.
pub(crate) fn batch_key(source: &mut Source<'_>) -> BatchKey {
    let which = source.byte() % 4;
    let key = wire::BatchKey {
        upstream: "openai".into(),
        fingerprint: Fingerprint([which & 1; 16]).to_bytes(),
        endpoint: if which < 3 { "/v1/chat/completions" } else { "/v1/embeddings" }.into(),
        model: "m".into(),
        headers: Vec::new(),
        patience_s: 0,
    };
    match BatchKey::new(key) {
        Ok(key) => key,
        Err(error) => panic!("{error}"),
    }
}

/// A key as it comes in a message: perhaps missing, perhaps none.
pub(crate) fn wire_key(source: &mut Source<'_>) -> Option<wire::BatchKey> {
    match source.byte() {
        255 => None,
        254 => Some(wire::BatchKey {
            upstream: source.text(),
            fingerprint: source.odd_bytes(),
            model: source.text(),
            ..Default::default()
        }),
        _ => Some(batch_key(source).to_wire()),
    }
}
