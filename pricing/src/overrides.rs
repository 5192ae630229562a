//! Prices that the operator knows better.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::kind::Kind;
use crate::table::{Prices, Table, price};
use crate::tier::Tier;

/// Prices of models in a configuration, in US dollars per million tokens, and per picture for `image`:
///
/// ```toml
/// [prices."openai/gpt-5.4"]
/// input = 2
/// cached_input = "0.2"
/// output = 12.5
/// batch_input = 1
/// batch_output = 6.25
/// input_above_200k = 4
/// ```
///
/// A key is the name of a [`Kind`], after `batch_` or `flex_` if it is that tier's, and before `_above_200k` for prompts of more
/// than 200,000 tokens. A model's table replaces all prices that the list has for it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "BTreeMap<String, BTreeMap<String, Decimal>>")]
pub struct Overrides(Vec<(String, String, Prices)>);

impl Table {
    /// With these in place of its own.
    #[must_use]
    pub fn with(mut self, overrides: &Overrides) -> Self {
        for (provider, model, prices) in overrides.0.iter().cloned() {
            self.put(provider, model, prices);
        }
        self
    }
}

impl TryFrom<BTreeMap<String, BTreeMap<String, Decimal>>> for Overrides {
    type Error = String;

    fn try_from(tables: BTreeMap<String, BTreeMap<String, Decimal>>) -> Result<Self, String> {
        let one = |(name, table): (&String, &BTreeMap<String, Decimal>)| {
            let parts =
                name.split_once('/').filter(|(provider, model)| !provider.is_empty() && !model.is_empty());
            let (provider, model) =
                parts.ok_or_else(|| format!("prices.{name:?}: write it as \"provider/model\""))?;
            let prices = prices(table).map_err(|why| format!("prices.{name:?}.{why}"))?;
            Ok((provider.to_owned(), model.to_owned(), prices))
        };
        tables.iter().map(one).collect::<Result<_, String>>().map(Self)
    }
}

fn prices(table: &BTreeMap<String, Decimal>) -> Result<Prices, String> {
    let mut prices = Prices::default();
    for (key, Decimal(text)) in table {
        let (tier, kind, above) = parse(key).ok_or_else(|| {
            let names = Kind::ALL.map(Kind::name).join(", ");
            format!(
                "{key}: there is no such price; write one of {names}, after batch_ or flex_ for these tiers"
            )
        })?;
        prices.set(kind, tier, above, price(kind, text).map_err(|why| format!("{key}: {why}"))?);
    }
    Ok(prices)
}

/// A key taken apart: `batch_input_above_200k`.
fn parse(key: &str) -> Option<(Tier, Kind, u64)> {
    let (name, above) = match key.rsplit_once("_above_") {
        Some((name, length)) => (name, length.strip_suffix('k')?.parse::<u64>().ok()?.checked_mul(1000)?),
        None => (key, 0),
    };
    let tiers = [Tier::Batch, Tier::Flex].into_iter();
    let mut in_tier =
        tiers.filter_map(|tier| Some((tier, name.strip_prefix(tier.name())?.strip_prefix('_')?)));
    let (tier, name) = in_tier.next().unwrap_or((Tier::Sync, name));
    Some((tier, Kind::by_name(name)?, above))
}

/// A number as it is written, or a string with one.
#[derive(Debug)]
struct Decimal(String);

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DecimalVisitor)
    }
}

struct DecimalVisitor;

impl Visitor<'_> for DecimalVisitor {
    type Value = Decimal;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a price in US dollars, such as 2.5 or \"2.5\"")
    }

    fn visit_str<E>(self, text: &str) -> Result<Decimal, E> {
        Ok(Decimal(text.to_owned()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Decimal, E> {
        Ok(Decimal(number.to_string()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Decimal, E> {
        Ok(Decimal(number.to_string()))
    }

    /// The shortest decimal that means this number, which is what was written, up to 15 digits of it.
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<Decimal, E> {
        match number.is_finite() {
            true => Ok(Decimal(number.to_string())),
            false => Err(E::custom("it is no number of dollars")),
        }
    }
}
