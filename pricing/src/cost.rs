//! What a call cost.

use crate::answer::Answer;
use crate::kind::Kind;
use crate::table::{Prices, Table};
use crate::tier::Tier;
use crate::usage::Usage;
use crate::usd::{Price, Usd};

/// What a call cost, exactly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// What it would have cost alone, at the full price.
    pub list: Usd,
    /// What it did cost.
    pub paid: Usd,
}

impl Cost {
    /// Nothing, as a call costs that failed.
    pub const FREE: Self = Self { list: Usd::ZERO, paid: Usd::ZERO };

    /// What was saved; negative where a batch was dearer, as it can be with much that was cached.
    pub fn saved(self) -> Usd {
        self.list - self.paid
    }
}

/// A call, as far as its price depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The name under which the provider is configured. Prices under it go before those under the provider's.
    pub upstream: &'a str,
    /// The provider's name.
    pub provider: &'a str,
    /// The model as the caller named it.
    pub model: &'a str,
    /// How it was served.
    pub tier: Tier,
    /// What a batch costs in percent of the full price where the list does not say; `None` leaves that unknown.
    pub batch_percent: Option<u8>,
}

impl Table {
    /// What a call cost whose answer had this status and said this about itself; `None` if that is not known.
    ///
    /// A failed call costs nothing, and so does a model that is free.
    pub fn cost(&self, call: &Call<'_>, status: u16, answer: Option<&Answer>) -> Option<Cost> {
        if !(200..300).contains(&status) {
            return Some(Cost::FREE);
        }
        let answered = answer.and_then(|answer| answer.model.as_deref());
        let prices = [call.upstream, call.provider]
            .into_iter()
            .find_map(|provider| self.prices(provider, call.model, answered))?;
        if prices.are_free() {
            return Some(Cost::FREE);
        }
        prices.cost(answer?, call.tier, call.batch_percent)
    }
}

impl Prices {
    /// What an answer cost that was served in this tier; `None` if a price is not known that it takes.
    pub fn cost(&self, answer: &Answer, tier: Tier, batch_percent: Option<u8>) -> Option<Cost> {
        let usage = &answer.usage;
        let above = self.context(usage.input());
        let list = self.sum(usage, |kind| self.price(kind, Tier::Sync, above, None))?;
        let paid = match tier {
            Tier::Sync => list,
            Tier::Batch | Tier::Flex => {
                self.sum(usage, |kind| self.price(kind, tier, above, batch_percent))?
            }
        };
        let whole = |sum| self.with_surcharges(sum, answer).map(Usd::from_atto);
        Some(Cost { list: whole(list)?, paid: whole(paid)? })
    }

    /// What all that was used costs. A model that is paid by the picture is paid by nothing else.
    fn sum(&self, usage: &Usage, price: impl Fn(Kind) -> Option<Price>) -> Option<i128> {
        if self.own(Kind::Image, Tier::Sync, 0).is_some() {
            let images = Some(usage.of(Kind::Image)).filter(|images| *images > 0)?;
            return price(Kind::Image)?.times(images);
        }
        let used = Kind::ALL.into_iter().filter(|kind| *kind != Kind::Image && usage.of(*kind) > 0);
        let mut costs = used.map(|kind| price(kind)?.times(usage.of(kind)));
        costs.try_fold(0_i128, |sum, cost| sum.checked_add(cost?))
    }

    /// The price of one kind in a tier, for prompts above so many tokens.
    ///
    /// Where it has one at the full price but none in the tier, the operator's percentage decides; where it has none at all, the
    /// more general kind's price holds.
    fn price(&self, kind: Kind, tier: Tier, above: u64, batch_percent: Option<u8>) -> Option<Price> {
        if let Some(price) = self.own(kind, tier, above) {
            return Some(price);
        }
        if self.has(kind) {
            let percent = batch_percent.filter(|_| tier == Tier::Batch)?;
            return self.own(kind, Tier::Sync, above)?.percent(percent);
        }
        self.price(self.stand_in(kind)?, tier, above, batch_percent)
    }

    /// Whether a kind has a price of its own.
    fn has(&self, kind: Kind) -> bool {
        self.own(kind, Tier::Sync, 0).is_some()
    }

    /// The kind whose price holds for one that has none; `None` where that cannot be told.
    fn stand_in(&self, kind: Kind) -> Option<Kind> {
        match kind {
            Kind::CachedAudio | Kind::CachedImage => {
                let uncached = if kind == Kind::CachedAudio { Kind::AudioInput } else { Kind::ImageInput };
                match (self.has(uncached), self.has(Kind::CachedInput)) {
                    (false, _) => Some(Kind::CachedInput),
                    (true, false) => Some(uncached),
                    (true, true) => None,
                }
            }
            // What is kept longer is dearer, but by how much is not known.
            Kind::CacheWriteLong if self.has(Kind::CacheWrite) => None,
            Kind::CachedInput
            | Kind::CacheWrite
            | Kind::CacheWriteLong
            | Kind::AudioInput
            | Kind::ImageInput
            | Kind::VideoInput => Some(Kind::Input),
            Kind::Reasoning | Kind::AudioOutput | Kind::ImageOutput | Kind::VideoOutput => Some(Kind::Output),
            Kind::Input | Kind::Output | Kind::Image => None,
        }
    }

    /// What comes on top of a sum for where and how an answer was made.
    fn with_surcharges(&self, sum: i128, answer: &Answer) -> Option<i128> {
        let percent = if answer.us { self.us_percent.unwrap_or(100) } else { 100 };
        let times = if answer.fast { self.fast_times? } else { 1 };
        // Prices are multiples of 1e-13 dollars, and of one percent of it, so nothing is lost.
        Some(sum.checked_mul(percent.into())?.checked_mul(times.into())? / 100)
    }
}
