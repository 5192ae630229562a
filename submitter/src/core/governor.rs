//! How many tokens may be enqueued at a provider, as its refusals teach.
//!
//! Providers limit the prompt tokens of all batches that an organisation has under way for a model, and refuse a batch as a whole
//! that would go beyond. The limit is not asked for anywhere: it is learned from the first refusal, halved where a refusal is not
//! explained by what is known, and grows a little with each success of a time when batches had to wait.

use std::collections::BTreeMap;
use std::time::Duration;

use common::ids::Fingerprint;
use common::key::BatchKey;
use common::timers::{Now, backoff};

/// Bytes of a request's body that count as one token. English takes about four, other languages and code less; and what is not
/// prompt in a body counts too. An estimate that is too high only makes batches smaller, and growth makes up for it.
const BYTES_PER_TOKEN: u64 = 3;
/// How long a lesson is remembered that is not used.
const REMEMBERED: Duration = Duration::from_secs(6 * 3600);
/// Most lessons; the one that was used longest ago makes room.
const MAX_LESSONS: usize = 1_000;
/// A success adds this part of the first limit, up to what a stated limit is where a token has four bytes.
const GROWTH: u64 = 32;
const LIKELY_BYTES_PER_TOKEN: u64 = 4;
/// First wait after a refusal that our own batches do not explain: others use the same queue. It doubles up to the second.
const CLOSED: Duration = Duration::from_secs(15);
const CLOSED_MAX: Duration = Duration::from_secs(600);

/// What a body of so many bytes is estimated to be, in tokens.
pub(super) fn tokens(body_bytes: u64) -> u64 {
    body_bytes.div_ceil(BYTES_PER_TOKEN).max(1)
}

/// What has a limit of its own: a credential and a model at an upstream.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    fingerprint: Fingerprint,
    upstream: String,
    model: String,
}

impl Place {
    pub(super) fn of(key: &BatchKey) -> Self {
        Self {
            fingerprint: key.fingerprint(),
            upstream: key.upstream().to_owned(),
            model: key.model().to_owned(),
        }
    }

    pub(super) fn has(&self, key: &BatchKey) -> bool {
        self.fingerprint == key.fingerprint() && self.upstream == key.upstream() && self.model == key.model()
    }
}

/// A batch that was refused since too much is enqueued.
#[derive(Debug, Clone, Copy)]
pub(super) struct Refusal {
    /// What this submitter had enqueued, that batch included; in tokens, as all here.
    pub(super) enqueued: u64,
    /// When there was room for it.
    pub(super) admitted_at: Now,
    /// The limit that the provider states.
    pub(super) stated: Option<u64>,
    /// Spreads waits.
    pub(super) salt: u64,
}

/// What this submitter may have enqueued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) tokens: u64,
    /// Nothing is submitted before.
    pub(super) opens_at: Now,
}

#[derive(Debug)]
struct Lesson {
    /// For all submitters together.
    limit: u64,
    /// What a success adds, and how far.
    step: u64,
    most: u64,
    learned_at: Now,
    used_at: Now,
    opens_at: Now,
    /// Refusals in a row that are not explained.
    unexplained: u32,
    /// Whether a batch had to wait or was split since it grew last.
    pressed: bool,
}

/// All lessons.
#[derive(Debug, Default)]
pub(super) struct Governor {
    lessons: BTreeMap<Place, Lesson>,
}

impl Governor {
    /// This submitter's share of a limit, if one was learned and is not forgotten. To ask is to use it.
    pub(super) fn share(&mut self, now: Now, place: &Place, submitters: u64) -> Option<Share> {
        let lesson = self.lessons.get_mut(place)?;
        if now.saturating_sub(lesson.used_at) > REMEMBERED {
            self.lessons.remove(place);
            return None;
        }
        lesson.used_at = now;
        Some(Share { tokens: (lesson.limit / submitters.max(1)).max(1), opens_at: lesson.opens_at })
    }

    /// A batch has to wait, or is split.
    pub(super) fn presses(&mut self, place: &Place) {
        if let Some(lesson) = self.lessons.get_mut(place) {
            lesson.pressed = true;
        }
    }

    /// A job has ended that was not refused.
    pub(super) fn succeeds(&mut self, place: &Place) {
        if let Some(lesson) = self.lessons.get_mut(place) {
            lesson.unexplained = 0;
            if std::mem::take(&mut lesson.pressed) {
                let grown = lesson.limit.saturating_add(lesson.step).min(lesson.most);
                lesson.limit = lesson.limit.max(grown);
            }
        }
    }

    /// Learns from a refusal. Returns the limit for all submitters, and whether it is news.
    pub(super) fn refuses(
        &mut self,
        now: Now,
        place: &Place,
        refusal: Refusal,
        submitters: u64,
    ) -> (u64, bool) {
        let submitters = submitters.max(1);
        let known = self.lessons.get(place);
        let before = known.map(|lesson| lesson.limit);
        // What was submitted before the lesson knew no better.
        let knew_no_better = known.is_some_and(|lesson| refusal.admitted_at < lesson.learned_at);
        let expected = refusal.stated.or(before);
        let beyond = expected.is_some_and(|limit| refusal.enqueued > limit / submitters);
        let explained = knew_no_better || beyond;
        let limit = match explained {
            true => refusal.stated.into_iter().chain(before).min().unwrap_or(u64::MAX),
            false => (refusal.enqueued / 2).saturating_mul(submitters),
        };
        let limit = limit.max(1);
        self.make_room(place);
        let lesson = self.lessons.entry(place.clone()).or_insert_with(|| Lesson {
            limit,
            most: u64::MAX,
            step: (refusal.stated.unwrap_or(limit) / GROWTH).max(1),
            learned_at: now,
            used_at: now,
            opens_at: now,
            unexplained: 0,
            pressed: true,
        });
        if before != Some(limit) {
            (lesson.limit, lesson.learned_at) = (limit, now);
        }
        lesson.used_at = now;
        if let Some(stated) = refusal.stated {
            lesson.most = (stated / BYTES_PER_TOKEN).saturating_mul(LIKELY_BYTES_PER_TOKEN);
        }
        if !explained {
            lesson.opens_at = now + backoff(CLOSED, CLOSED_MAX, lesson.unexplained, refusal.salt);
            lesson.unexplained = lesson.unexplained.saturating_add(1);
        }
        (limit, before != Some(limit))
    }

    fn make_room(&mut self, place: &Place) {
        if self.lessons.len() < MAX_LESSONS || self.lessons.contains_key(place) {
            return;
        }
        let oldest = self.lessons.iter().min_by_key(|(_, lesson)| lesson.used_at);
        if let Some(oldest) = oldest.map(|(place, _)| place.clone()) {
            self.lessons.remove(&oldest);
        }
    }
}

/// The limit that a provider's words state, as in "Limit: 90,000 enqueued tokens".
pub(super) fn stated_limit(words: &str) -> Option<u64> {
    let ends = words.match_indices(" enqueued token").map(|(end, _)| end);
    let number = |end: usize| {
        let before = &words[..end];
        let digit = |c: char| c.is_ascii_digit() || c == ',';
        let digits = &before[before.trim_end_matches(digit).len()..];
        digits.replace(',', "").parse().ok().filter(|limit| *limit > 0)
    };
    ends.into_iter().find_map(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(model: &str) -> Place {
        Place { fingerprint: Fingerprint::default(), upstream: "openai".into(), model: model.into() }
    }

    fn at(seconds: u64) -> Now {
        Duration::from_secs(seconds)
    }

    fn refusal(enqueued: u64, admitted: u64, stated: Option<u64>) -> Refusal {
        Refusal { enqueued, admitted_at: at(admitted), stated, salt: 1 }
    }

    #[test]
    fn the_stated_limit_is_read() {
        let words = "Enqueued token limit reached for gpt-4o in organization org-1. Limit: 90,000 enqueued tokens. Please";
        assert_eq!(stated_limit(words), Some(90_000));
        assert_eq!(stated_limit("You exceeded your current quota: 9 enqueued tokens for gemini."), Some(9));
        for words in ["", "full", "too many enqueued tokens", "Limit: 0 enqueued tokens", "9 tokens"] {
            assert_eq!(stated_limit(words), None, "{words}");
        }
        assert_eq!(stated_limit("99999999999999999999999 enqueued tokens"), None);
    }

    #[test]
    fn a_stated_limit_is_taken_and_shared() {
        let mut governor = Governor::default();
        let place = place("m");
        assert_eq!(governor.share(at(0), &place, 1), None);
        assert_eq!(governor.refuses(at(1), &place, refusal(1000, 0, Some(400)), 1), (400, true));
        assert_eq!(governor.share(at(1), &place, 1), Some(Share { tokens: 400, opens_at: at(1) }));
        assert_eq!(governor.share(at(1), &place, 3).map(|share| share.tokens), Some(133));
        // What was submitted before teaches no more than that.
        assert_eq!(governor.refuses(at(2), &place, refusal(90, 0, Some(400)), 1), (400, false));
        assert_eq!(governor.share(at(2), &place, 1).map(|share| share.opens_at), Some(at(1)));
    }

    #[test]
    fn a_refusal_that_nothing_explains_halves_and_closes_for_longer_each_time() {
        let mut governor = Governor::default();
        let place = place("m");
        governor.refuses(at(1), &place, refusal(1000, 0, Some(400)), 1);
        let mut closed = Duration::ZERO;
        for (hour, enqueued, limit) in [(1, 300, 150), (2, 150, 75), (3, 75, 37)] {
            let now = at(3600 * hour);
            let refusal = refusal(enqueued, 3600 * hour - 1, Some(400));
            assert_eq!(governor.refuses(now, &place, refusal, 1), (limit, true));
            let share = governor.share(now, &place, 1).unwrap();
            assert!(share.tokens == limit && share.opens_at - now > closed, "{share:?}");
            closed = share.opens_at - now;
        }
    }

    #[test]
    fn without_a_stated_limit_it_is_less_than_what_was_enqueued() {
        let mut governor = Governor::default();
        assert_eq!(governor.refuses(at(1), &place("m"), refusal(1000, 0, None), 1), (500, true));
        // Each submitter learns of its own batches, and all of them alike.
        assert_eq!(governor.refuses(at(1), &place("n"), refusal(1000, 0, None), 2), (1000, true));
        assert_eq!(governor.share(at(1), &place("n"), 2).map(|share| share.tokens), Some(500));
        assert_eq!(governor.refuses(at(1), &place("o"), refusal(1, 0, None), 1).0, 1);
    }

    #[test]
    fn it_grows_only_under_pressure_and_is_taken_back_to_what_is_stated() {
        let mut governor = Governor::default();
        let place = place("m");
        governor.refuses(at(1), &place, refusal(1000, 0, Some(320)), 1);
        let tokens = |governor: &mut Governor| governor.share(at(1), &place, 1).unwrap().tokens;
        for expected in [330, 330, 330] {
            governor.succeeds(&place);
            assert_eq!(tokens(&mut governor), expected);
        }
        governor.presses(&place);
        governor.succeeds(&place);
        assert_eq!(tokens(&mut governor), 340);
        governor.refuses(at(3), &place, refusal(335, 2, Some(320)), 1);
        assert_eq!(tokens(&mut governor), 320);
        for _ in 0..100 {
            governor.presses(&place);
            governor.succeeds(&place);
        }
        assert_eq!(tokens(&mut governor), 424);
    }

    #[test]
    fn it_is_forgotten_when_it_is_not_used_and_there_are_only_so_many() {
        let mut governor = Governor::default();
        governor.refuses(at(1), &place("m"), refusal(1000, 0, Some(320)), 1);
        let hours = |n: u64| at(n * 3600);
        assert!(governor.share(hours(5), &place("m"), 1).is_some());
        assert!(governor.share(hours(10), &place("m"), 1).is_some());
        assert!(governor.share(hours(17), &place("m"), 1).is_none());
        for n in 0..2 * MAX_LESSONS as u64 {
            governor.refuses(at(n), &place(&n.to_string()), refusal(1000, 0, None), 1);
        }
        assert_eq!(governor.lessons.len(), MAX_LESSONS);
        assert!(governor.share(at(2000), &place("1999"), 1).is_some());
        assert!(governor.share(at(2000), &place("999"), 1).is_none());
    }
}
