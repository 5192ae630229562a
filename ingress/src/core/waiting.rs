//! Requests that wait to be announced.

use std::collections::BTreeMap;

use common::ids::Rid;
use common::key::BatchKey;

use super::pair::Place;

/// By key, in order of arrival. Adding one twice and removing one are cheap, however many there are.
#[derive(Default)]
pub(super) struct Unannounced(BTreeMap<BatchKey, BTreeMap<u64, Rid>>);

impl Unannounced {
    pub(super) fn add(&mut self, key: &BatchKey, place: Place, rid: Rid) {
        match self.0.get_mut(key) {
            Some(group) => drop(group.insert(place.arrival(), rid)),
            None => drop(self.0.insert(key.clone(), BTreeMap::from([(place.arrival(), rid)]))),
        }
    }

    pub(super) fn remove(&mut self, key: &BatchKey, place: Place) {
        if let Some(group) = self.0.get_mut(key) {
            group.remove(&place.arrival());
            if group.is_empty() {
                self.0.remove(key);
            }
        }
    }

    /// Empties it.
    pub(super) fn take(&mut self) -> impl Iterator<Item = (BatchKey, Vec<Rid>)> + use<> {
        std::mem::take(&mut self.0).into_iter().map(|(key, group)| (key, group.into_values().collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }
}
