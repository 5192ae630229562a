//! What models cost.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use crate::kind::Kind;
use crate::tier::Tier;
use crate::usd::Price;

/// The list that is part of the program.
static LIST: &str = include_str!("../prices.csv");
/// Columns before the kinds, and after them.
const BEFORE: [&str; 4] = ["provider", "model", "tier", "above"];
const AFTER: [&str; 2] = ["us_percent", "fast_times"];

/// The prices of all models of all providers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<Cow<'static, str>, Models>);

/// A provider's models by their names.
type Models = BTreeMap<Cow<'static, str>, Prices>;

/// A price list that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the price list: {why}")]
pub struct BadTable {
    line: usize,
    why: String,
}

/// The prices of one model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Prices {
    rates: Vec<Rates>,
    /// What it costs in percent in the United States.
    pub(crate) us_percent: Option<u16>,
    /// How many times as much it costs in the fast mode.
    pub(crate) fast_times: Option<u16>,
}

/// Prices in one tier, for prompts of more tokens than `above`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rates {
    tier: Tier,
    above: u64,
    prices: Vec<(Kind, Price)>,
}

impl Table {
    /// The list that is part of the program. It is read anew each time: a millisecond.
    pub fn embedded() -> Self {
        // A test reads it: it is the same in every run.
        Self::parse(LIST).expect("the price list of the program can be read")
    }

    /// Reads a list in the form of `prices.csv`.
    ///
    /// # Errors
    /// [`BadTable`] for anything that is not in that form, prices that would have to be rounded included.
    pub fn parse(text: &'static str) -> Result<Self, BadTable> {
        let numbered = text.lines().enumerate().map(|(at, line)| (at + 1, line));
        let mut lines = numbered.filter(|(_, line)| !line.starts_with('#'));
        let (line, head) = lines.next().unwrap_or((0, ""));
        let columns = columns(head).map_err(|why| BadTable { line, why })?;
        let mut table = Self::default();
        for (line, row) in lines {
            table.add(row, &columns).map_err(|why| BadTable { line, why })?;
        }
        Ok(table)
    }

    fn add(&mut self, row: &'static str, columns: &[Kind]) -> Result<(), String> {
        let cells: Vec<&'static str> = row.split(',').collect();
        let prices_end = BEFORE.len() + columns.len();
        if cells.len() != prices_end + AFTER.len() {
            return Err(format!("it has {} columns", cells.len()));
        }
        let tier = Tier::by_name(cells[2]).ok_or_else(|| format!("there is no tier {:?}", cells[2]))?;
        let above = cells[3].parse().map_err(|_| "above is no number".to_owned())?;
        let models = self.0.entry(Cow::Borrowed(cells[0])).or_default();
        let prices = models.entry(Cow::Borrowed(cells[1])).or_default();
        for (kind, cell) in columns.iter().zip(&cells[BEFORE.len()..prices_end]) {
            if !cell.is_empty() {
                let price = price(*kind, cell).map_err(|why| format!("{}: {why}", kind.name()))?;
                prices.set(*kind, tier, above, price);
            }
        }
        let factor = |cell: &str| (!cell.is_empty()).then(|| cell.parse::<u16>()).transpose();
        let bad = |_| "a factor is no number".to_owned();
        prices.us_percent = factor(cells[prices_end]).map_err(bad)?.or(prices.us_percent);
        prices.fast_times = factor(cells[prices_end + 1]).map_err(bad)?.or(prices.fast_times);
        Ok(())
    }

    /// The prices of a model, as the caller named it or as the answer does; `None` if they are not known.
    ///
    /// A name that is not in the list can still be found: a fine-tuned model by its base (`ft:BASE:...`), and a dated one by
    /// its name without the date if all its other dates cost the same, or the other way round.
    pub fn prices(&self, provider: &str, asked: &str, answered: Option<&str>) -> Option<&Prices> {
        let models = self.0.get(provider)?;
        let asked = asked.strip_prefix("models/").unwrap_or(asked);
        // A deployment's name at Azure can be anything, another model's name too.
        let names = match provider {
            "azure" => [answered, Some(asked)],
            _ => [Some(asked), answered],
        };
        let names = || names.into_iter().flatten();
        names().find_map(|name| models.get(name)).or_else(|| names().find_map(|name| related(models, name)))
    }

    /// Puts a model's prices in the place of those that there are.
    pub(crate) fn put(&mut self, provider: String, model: String, prices: Prices) {
        self.0.entry(Cow::Owned(provider)).or_default().insert(Cow::Owned(model), prices);
    }
}

impl Prices {
    /// Whether there are prices of this tier.
    pub fn has_tier(&self, tier: Tier) -> bool {
        self.rates.iter().any(|rates| rates.tier == tier)
    }

    /// Sets a price.
    pub(crate) fn set(&mut self, kind: Kind, tier: Tier, above: u64, price: Price) {
        let same = |rates: &&mut Rates| (rates.tier, rates.above) == (tier, above);
        match self.rates.iter_mut().find(same) {
            Some(rates) => rates.prices.push((kind, price)),
            None => self.rates.push(Rates { tier, above, prices: vec![(kind, price)] }),
        }
    }

    /// The price of a kind that stands in the list.
    pub(crate) fn own(&self, kind: Kind, tier: Tier, above: u64) -> Option<Price> {
        let rates = self.rates.iter().find(|rates| (rates.tier, rates.above) == (tier, above))?;
        rates.prices.iter().find(|(named, _)| *named == kind).map(|(_, price)| *price)
    }

    /// The longest of the lengths above which prompts cost more that a prompt of so many tokens exceeds.
    pub(crate) fn context(&self, tokens: u64) -> u64 {
        let lengths = self.rates.iter().map(|rates| rates.above);
        lengths.filter(|above| *above < tokens).max().unwrap_or(0)
    }

    /// Whether everything costs nothing.
    pub(crate) fn are_free(&self) -> bool {
        self.rates.iter().flat_map(|rates| &rates.prices).all(|(_, price)| price.is_zero())
    }
}

/// Reads the price of a kind.
pub(crate) fn price(kind: Kind, text: &str) -> Result<Price, &'static str> {
    match kind {
        Kind::Image => Price::each(text),
        _ => Price::per_million(text),
    }
}

/// The kinds that the columns of prices are for.
fn columns(head: &str) -> Result<Vec<Kind>, String> {
    let cells: Vec<&str> = head.split(',').collect();
    let middle = cells.strip_prefix(&BEFORE).and_then(|cells| cells.strip_suffix(&AFTER));
    let kind = |name: &&str| Kind::by_name(name).ok_or_else(|| format!("there is no kind {name:?}"));
    middle.ok_or("the columns are others")?.iter().map(kind).collect()
}

/// A model that surely costs as much as one with this name.
fn related<'a>(models: &'a Models, name: &str) -> Option<&'a Prices> {
    if let Some(tuned) = name.strip_prefix("ft:") {
        let base = tuned.split(':').next()?;
        return models.get(format!("ft:{base}").as_str());
    }
    let base = undated(name).unwrap_or(name);
    let others = models
        .range::<str, _>((Bound::Included(base), Bound::Unbounded))
        .take_while(|(other, _)| other.starts_with(base));
    let mut others = others.filter(|(other, _)| **other == base || undated(other) == Some(base));
    let (_, first) = others.next()?;
    others.all(|(_, other)| other == first).then_some(first)
}

/// A model's name without the date at its end, `-2026-03-05` or `-20260305`.
fn undated(name: &str) -> Option<&str> {
    let is = |text: &str, form: &str| {
        let fits =
            |(byte, wanted): (u8, u8)| if wanted == b'0' { byte.is_ascii_digit() } else { byte == wanted };
        text.len() == form.len() && text.bytes().zip(form.bytes()).all(fits)
    };
    ["-0000-00-00", "-00000000"].into_iter().find_map(|form| {
        let at = name.len().checked_sub(form.len()).filter(|at| *at > 0)?;
        is(name.get(at..)?, form).then(|| &name[..at])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "provider,model,tier,above,input,output,image,us_percent,fast_times";

    fn wrong(rows: &str) -> String {
        let text: &'static str = format!("# a list\n{HEAD}\n{rows}").leak();
        Table::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn the_list_has_all_providers_and_a_full_price_for_all_models() {
        let Table(providers) = Table::embedded();
        let names: Vec<&str> = providers.keys().map(Cow::as_ref).collect();
        let expected =
            ["anthropic", "azure", "deepinfra", "gemini", "groq", "mistral", "openai", "together", "xai"];
        assert_eq!(names, expected);
        let full = [Kind::Input, Kind::Output, Kind::Image, Kind::ImageOutput, Kind::AudioOutput];
        for (provider, models) in &providers {
            for (model, prices) in models {
                let priced = full.iter().any(|kind| prices.own(*kind, Tier::Sync, 0).is_some());
                assert!(priced, "{provider} {model}");
            }
        }
        assert!(LIST.len() < 200_000);
        assert!(LIST.contains("litellm") && LIST.contains("MIT licence"));
    }

    #[test]
    fn prices_of_batches_are_half_but_for_some() {
        let Table(providers) = Table::embedded();
        let of = |provider: &str, model: &str| providers[provider][model].clone();
        let half = |prices: &Prices, percent| {
            let sync = prices.own(Kind::Input, Tier::Sync, 0).unwrap();
            assert_eq!(prices.own(Kind::Input, Tier::Batch, 0), sync.percent(percent));
        };
        half(&of("openai", "gpt-5.4"), 50);
        half(&of("openai", "gpt-3.5-turbo-1106"), 100);
        half(&of("xai", "grok-4.3"), 80);
        half(&of("anthropic", "claude-opus-5-5"), 50);
        assert_eq!(of("groq", "openai/gpt-oss-120b").own(Kind::Input, Tier::Batch, 0), None);
    }

    #[test]
    fn a_list_that_is_not_in_form_is_refused() {
        assert!(wrong("a,b").starts_with("line 3 of the price list: it has 2 columns"));
        assert!(
            wrong("a,b,sync,0,1,2,,,\na,b,night,0,1,2,,,")
                .starts_with("line 4 of the price list: there is no tier")
        );
        assert!(wrong("a,b,sync,x,1,2,,,").contains("above is no number"));
        assert!(wrong("a,b,sync,0,x,2,,,").contains("input: a price is a number"));
        assert!(wrong("a,b,sync,0,1,0.00000001,,,").contains("output: the price has more decimals"));
        assert!(wrong("a,b,sync,0,1,2,,1.1,").contains("a factor is no number"));
        assert!(Table::parse("").is_err());
        assert!(Table::parse("provider,model,tier,above,gold,us_percent,fast_times").is_err());
        assert!(Table::parse("model,provider,tier,above,input,us_percent,fast_times").is_err());
    }

    #[test]
    fn dates_at_the_end_of_names() {
        assert_eq!(undated("gpt-5.4-2026-03-05"), Some("gpt-5.4"));
        assert_eq!(undated("claude-opus-4-6-20260205"), Some("claude-opus-4-6"));
        for name in
            ["gpt-4-0613", "-20260205", "gemini-2.5-flash-001", "gpt-4-2026-3-05", "\u{e9}0260205", ""]
        {
            assert_eq!(undated(name), None, "{name}");
        }
    }
}
