//! The books as people and programs read them.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use pricing::Usd;
use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::books::{Books, Name, Observed, Totals};

/// Names that are listed of each kind, those with the highest cost first.
const LISTED: usize = 100;

/// What `/stats` says about money.
#[derive(Debug, Serialize)]
pub struct Report {
    tokens: Tokens,
    cost: CostPage,
    usage: Usage,
    #[serde(skip_serializing_if = "Option::is_none")]
    observe: Option<ObservePage>,
}

/// What batches would have done for the calls so far.
#[derive(Debug, Serialize)]
struct ObservePage {
    requests: u64,
    batches: u64,
    list_usd: Box<RawValue>,
    batch_usd: Box<RawValue>,
    would_save_usd: Box<RawValue>,
    unknown_requests: u64,
    /// How long a call took as it was made.
    mean_ms: u64,
    batch_takes: &'static str,
}

/// How long a batch takes cannot be observed without one. What is published: OpenRouter's figures for 230,000 batches of several
/// providers, and the providers' promise.
const BATCH_TAKES: &str = "not measured; published: half within 7 minutes, 90 % within an hour, at most a day (OpenRouter, 230,000 batches of several providers)";

#[derive(Debug, Serialize)]
struct Tokens {
    input: u64,
    cached_input: u64,
    output: u64,
    reasoning: u64,
    cache_writes: u64,
}

#[derive(Debug, Serialize)]
struct CostPage {
    #[serde(flatten)]
    sums: Money,
    /// Requests whose batch may have executed them beside the call that was made alone, and what that would have cost.
    maybe_paid_twice: Twice,
}

#[derive(Debug, Serialize)]
struct Twice {
    requests: u64,
    usd: Box<RawValue>,
}

/// Sums of money, in dollars to the millionth.
#[derive(Debug)]
struct Money(Totals);

#[derive(Debug, Serialize)]
struct Usage {
    by_provider: BTreeMap<String, Line>,
    by_model: BTreeMap<String, Line>,
    by_endpoint: BTreeMap<String, Line>,
    by_tag: BTreeMap<String, Line>,
    by_key: BTreeMap<String, Line>,
    by_route: BTreeMap<String, Line>,
    by_hour: BTreeMap<String, Line>,
}

#[derive(Debug, Serialize)]
struct Line {
    requests: u64,
    failed: u64,
    #[serde(flatten)]
    tokens: Tokens,
    images: u64,
    embeddings: u64,
    #[serde(flatten)]
    money: Money,
}

impl Serialize for Money {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let cost = self.0.cost;
        let mut page = serializer.serialize_struct("Money", 4)?;
        page.serialize_field("list_usd", &usd(cost.list))?;
        page.serialize_field("paid_usd", &usd(cost.paid))?;
        page.serialize_field("saved_usd", &usd(cost.saved()))?;
        page.serialize_field("unknown_requests", &self.0.unknown)?;
        page.end()
    }
}

/// A number in JSON that is exact to the millionth.
fn usd(amount: Usd) -> Box<RawValue> {
    // Digits and a point are always a number.
    RawValue::from_string(amount.to_string()).unwrap_or_default()
}

impl From<&Totals> for Tokens {
    fn from(totals: &Totals) -> Self {
        let Totals { input, cached_input, output, reasoning, cache_writes, .. } = *totals;
        Self { input, cached_input, output, reasoning, cache_writes }
    }
}

impl From<&Totals> for Line {
    fn from(totals: &Totals) -> Self {
        let Totals { requests, failed, images, embeddings, .. } = *totals;
        Self { requests, failed, tokens: totals.into(), images, embeddings, money: Money(*totals) }
    }
}

impl From<&Observed> for ObservePage {
    fn from(observed: &Observed) -> Self {
        let Observed { requests, unknown, cost, batches, took, .. } = observed;
        let mean_ms = took.as_millis() / u128::from(*requests).max(1);
        Self {
            requests: *requests,
            batches: *batches,
            list_usd: usd(cost.list),
            batch_usd: usd(cost.paid),
            would_save_usd: usd(cost.saved()),
            unknown_requests: *unknown,
            mean_ms: u64::try_from(mean_ms).unwrap_or(u64::MAX),
            batch_takes: BATCH_TAKES,
        }
    }
}

impl Books {
    /// What `/stats` says about money.
    pub fn report(&self) -> Report {
        let by = |name: fn(&Name) -> String| listed(self.lines.iter().map(|(of, sums)| (name(of), sums)));
        let (requests, amount) = self.twice;
        Report {
            tokens: self.total().into(),
            cost: CostPage {
                sums: Money(*self.total()),
                maybe_paid_twice: Twice { requests, usd: usd(amount) },
            },
            observe: self.observed.as_ref().map(ObservePage::from),
            usage: Usage {
                by_provider: by(|name| name.upstream.clone()),
                by_model: by(|name| format!("{}/{}", name.upstream, name.model)),
                by_endpoint: by(|name| format!("{}{}", name.upstream, name.endpoint)),
                by_tag: by(|name| name.tag.clone()),
                by_key: by(|name| name.key.clone()),
                by_route: by(|name| name.route.as_str().to_owned()),
                by_hour: self.hours.iter().map(|(hour, sums)| (time(*hour), sums.into())).collect(),
            },
        }
    }

    /// One line for each provider, endpoint, model, tag, key and route, in the form of RFC 4180.
    pub fn csv(&self) -> Bytes {
        let mut page = String::from(
            "provider,endpoint,model,tag,key,route,requests,failed,input_tokens,cached_input_tokens,output_tokens,reasoning_tokens,cache_write_tokens,images,embeddings,list_usd,paid_usd,saved_usd,unknown_requests\r\n",
        );
        for (name, sums) in &self.lines {
            let texts = [&name.upstream, &name.endpoint, &name.model, &name.tag, &name.key];
            texts.iter().for_each(|text| page.push_str(&cell(text)));
            let Totals { requests, failed, unknown, cost, .. } = sums;
            let Totals { input, cached_input, output, reasoning, cache_writes, images, embeddings, .. } =
                sums;
            // Writing to a string does not fail.
            let _ = write!(
                page,
                "{},{requests},{failed},{input},{cached_input},{output},{reasoning},{cache_writes},{images},{embeddings},{},{},{},{unknown}\r\n",
                name.route.as_str(),
                cost.list,
                cost.paid,
                cost.saved(),
            );
        }
        page.into()
    }
}

/// Sums by name, of the most that is listed.
fn listed<'a>(lines: impl Iterator<Item = (String, &'a Totals)>) -> BTreeMap<String, Line> {
    let mut sums = BTreeMap::<String, Totals>::new();
    for (name, totals) in lines {
        sums.entry(name).or_default().merge(totals);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, totals)| std::cmp::Reverse((totals.cost.list, totals.requests)));
    sums.iter().take(LISTED).map(|(name, totals)| (name.clone(), totals.into())).collect()
}

/// A text between commas. One that a spreadsheet would take for a formula begins with an apostrophe.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    match text.contains(['"', ',', '\r', '\n']) {
        true => format!("\"{}\",", text.replace('"', "\"\"")),
        false => format!("{text},"),
    }
}

/// The beginning of an hour, in UTC.
fn time(hour: u64) -> String {
    let seconds = i64::try_from(hour.saturating_mul(3600)).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_or_else(|_| hour.to_string(), |time| time.to_string())
}

#[cfg(test)]
mod tests {
    use common::key::BatchKey;
    use common::outcome::Route;
    use common::wire;
    use pricing::Cost;
    use serde_json::{Value, json};

    use super::*;
    use crate::accounts::{Account, Receipt};

    fn account(model: &str, tag: Option<&str>) -> Account {
        let key = wire::BatchKey {
            upstream: "openai".into(),
            fingerprint: vec![7; 16].into(),
            endpoint: "/v1/chat/completions".into(),
            model: model.into(),
            ..Default::default()
        };
        Account { key: BatchKey::new(key).unwrap(), tag: tag.map(Into::into) }
    }

    fn receipt(list: i128, paid: i128) -> Receipt {
        let micro = 1_000_000_000_000;
        let cost = Cost { list: Usd::from_atto(list * micro), paid: Usd::from_atto(paid * micro) };
        let counts = Receipt { cache_writes: 2, images: 5, embeddings: 6, ..Receipt::default() };
        Receipt { input: 10, cached_input: 4, output: 3, reasoning: 1, cost: Some(cost), ..counts }
    }

    fn books() -> Books {
        let mut books = Books::default();
        books.enter(
            1,
            &account("a", Some("=x,\"y\"")),
            Route::Batch,
            true,
            Some(&receipt(2_000_001, 1_000_000)),
        );
        books.enter(2, &account("a", None), Route::Sync, true, Some(&receipt(5, 5)));
        books.enter(2, &account("b", None), Route::Batch, false, None);
        let unknown = Receipt { cost: None, ..receipt(0, 0) };
        books.enter(2, &account("b", None), Route::Batch, true, Some(&unknown));
        books
    }

    #[test]
    fn sums_are_exact_and_by_name() {
        let text = serde_json::to_string(&books().report()).unwrap();
        assert!(text.contains(r#""paid_usd":0.000005,"saved_usd":0.000000"#), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            report["tokens"],
            json!({"input": 30, "cached_input": 12, "output": 9, "reasoning": 3, "cache_writes": 6})
        );
        assert_eq!(report["usage"]["by_key"].as_object().unwrap().values().next().unwrap()["images"], 15);
        assert_eq!(report["cost"]["list_usd"].to_string(), "2.000006");
        assert_eq!(report["cost"]["saved_usd"].to_string(), "1.000001");
        assert_eq!(report["cost"]["unknown_requests"], 1);
        let models = &report["usage"]["by_model"];
        assert_eq!(models["openai/a"]["requests"], 2);
        assert_eq!(
            (&models["openai/b"]["failed"], &models["openai/b"]["unknown_requests"]),
            (&json!(1), &json!(1))
        );
        assert_eq!(report["usage"]["by_route"]["sync"]["paid_usd"], json!(0.000_005));
        assert_eq!(report["usage"]["by_hour"]["1970-01-01T01:00:00Z"]["requests"], 1);
    }

    #[test]
    fn a_spreadsheet_reads_the_lines() {
        let page = String::from_utf8(books().csv().to_vec()).unwrap();
        let lines: Vec<_> = page.split("\r\n").collect();
        assert_eq!(lines.len(), 5);
        let of_tag = lines.iter().find(|line| line.contains("\"'=x,\"\"y\"\"\"")).unwrap();
        assert!(of_tag.ends_with(",batch,1,0,10,4,3,1,2,5,6,2.000001,1.000000,1.000001,0"), "{of_tag}");
    }

    #[test]
    fn the_books_are_bounded() {
        let mut books = Books::default();
        for n in 0..11_000 {
            books.enter(n, &account(&n.to_string(), None), Route::Batch, true, Some(&receipt(1, 1)));
        }
        assert_eq!((books.lines.len(), books.hours.len(), books.total().requests), (10_001, 168, 11_000));
        let report = serde_json::to_value(books.report()).unwrap();
        assert_eq!(report["usage"]["by_provider"]["openai"]["requests"], 11_000);
        assert_eq!(report["usage"]["by_model"].as_object().unwrap().len(), 100);
    }
}
