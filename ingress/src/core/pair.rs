//! Telling a repetition from a new request.
//!
//! SDKs send a request again byte for byte when they lose patience or their connection, and so does a script that is run
//! again. Such a repetition takes up the request that its caller left (an orphan), oldest first. Identical requests
//! at the same time are legal (n samples) and stay n requests.

use std::collections::{BTreeMap, HashMap};

use common::ids::{Digest, Rid};
use common::pairing::Pairing;

/// Everything that a repetition could belong to: requests that have not ended, and answers that are kept.
#[derive(Default)]
pub(super) struct Pairs {
    /// Without an `Idempotency-Key`: by digest, then in order of arrival.
    all: BTreeMap<(Digest, u64), Rid>,
    /// Those of them that nobody waits for.
    orphans: BTreeMap<(Digest, u64), Rid>,
    /// With an `Idempotency-Key`: by the key's digest.
    named: HashMap<Digest, (Rid, Digest)>,
    arrivals: u64,
}

/// Where a request stands in [`Pairs`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    digest: Digest,
    name: Option<Digest>,
    /// Whether it came as a repetition.
    retry: bool,
    arrival: u64,
}

impl Place {
    /// Counts up with each new request.
    pub(super) fn arrival(&self) -> u64 {
        self.arrival
    }

    /// What it has in common with its repetitions.
    pub(super) fn pairing(&self) -> Pairing {
        Pairing { digest: self.digest, idempotency: self.name, retry: self.retry }
    }

    /// As others are asked about it: somebody wants it again.
    pub(super) fn sought(&self) -> Pairing {
        Pairing { retry: true, ..self.pairing() }
    }

    /// Whether the request has an `Idempotency-Key`.
    pub(super) fn is_named(&self) -> bool {
        self.name.is_some()
    }
}

/// What a call turns out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A new request.
    New,
    /// The repetition of this one.
    Repeats(Rid),
    /// Another request under an `Idempotency-Key` that is taken.
    Conflict,
}

impl Pairs {
    /// Number of requests and answers that a repetition could belong to.
    pub(super) fn len(&self) -> usize {
        self.all.len() + self.named.len()
    }

    /// Takes in a new request.
    pub(super) fn add(&mut self, rid: Rid, pairing: Pairing) -> Place {
        self.arrivals += 1;
        let Pairing { digest, idempotency: name, retry } = pairing;
        let place = Place { digest, name, retry, arrival: self.arrivals };
        match place.name {
            Some(name) => drop(self.named.insert(name, (rid, place.digest))),
            None => drop(self.all.insert((place.digest, place.arrival), rid)),
        }
        place
    }

    /// It has another id from now on.
    pub(super) fn rename(&mut self, place: Place, rid: Rid) {
        let all = [&mut self.all, &mut self.orphans];
        for at in all.into_iter().filter_map(|pairs| pairs.get_mut(&(place.digest, place.arrival))) {
            *at = rid;
        }
        if let Some((at, _)) = place.name.and_then(|name| self.named.get_mut(&name)) {
            *at = rid;
        }
    }

    /// Forgets one.
    pub(super) fn remove(&mut self, place: Place) {
        match place.name {
            Some(name) => drop(self.named.remove(&name)),
            None => {
                self.all.remove(&(place.digest, place.arrival));
                self.orphans.remove(&(place.digest, place.arrival));
            }
        }
    }

    /// Nobody waits for it any more.
    pub(super) fn orphan(&mut self, place: Place, rid: Rid) {
        if place.name.is_none() {
            self.orphans.insert((place.digest, place.arrival), rid);
        }
    }

    /// Somebody waits for it again.
    pub(super) fn adopt(&mut self, place: Place) {
        self.orphans.remove(&(place.digest, place.arrival));
    }

    /// All that the same call could be a twin of, oldest first; itself among them. None with an `Idempotency-Key`.
    pub(super) fn equals(&self, place: Place) -> impl Iterator<Item = Rid> + '_ {
        let range = (place.digest, 0)..=(place.digest, u64::MAX);
        self.all.range(range).map(|(_, rid)| *rid).filter(move |_| place.name.is_none())
    }

    /// What a call repeats. With an `Idempotency-Key` only the key decides. Without, it is the oldest orphan; failing that,
    /// a call that says of itself that it is a repetition shares a twin's answer, whose old connection may be half open.
    pub(super) fn find(&self, pairing: Pairing) -> Found {
        self.find_where(pairing, |_| true)
    }

    /// The same among those of several equal requests that will do.
    pub(super) fn find_where(&self, pairing: Pairing, will_do: impl Fn(Rid) -> bool) -> Found {
        if let Some(name) = pairing.idempotency {
            return match self.named.get(&name) {
                None => Found::New,
                Some((rid, digest)) if *digest == pairing.digest => Found::Repeats(*rid),
                Some(_) => Found::Conflict,
            };
        }
        let range = (pairing.digest, 0)..=(pairing.digest, u64::MAX);
        let will_do = |entry: &(&(Digest, u64), &Rid)| will_do(*entry.1);
        let orphan = self.orphans.range(range.clone()).find(will_do);
        let twin = || self.all.range(range).find(will_do).filter(|_| pairing.retry);
        orphan.or_else(twin).map_or(Found::New, |(_, rid)| Found::Repeats(*rid))
    }
}
