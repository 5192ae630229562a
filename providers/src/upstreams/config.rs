//! The configuration file: a table `[upstreams.NAME]` for each upstream that is added or set otherwise, and a table
//! `[prices."PROVIDER/MODEL"]` for each model whose prices the operator knows better.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::time::Duration;

use common::args::{parse_base_url, parse_duration};
use common::service::ConfigError;
use pricing::Overrides;
use serde::Deserialize;

use super::Upstream;
use crate::about::{About, Dialect};
use crate::provider::Provider;
use crate::{ALL, by_name, openai};

/// Bytes that a file may have: more is none.
const LONGEST: u64 = 1 << 20;
/// Bytes that a model's name may have: what has a longer one is not batched.
const LONGEST_MODEL: usize = 256;
/// What an upstream speaks like unless the file says otherwise, or its name is a provider's.
const PROVIDER: &str = "openai-compatible";
/// Paths of our own, and the versions that paths without a name begin with.
const RESERVED: [&str; 7] = ["healthz", "readyz", "stats", "upload", "v1", "v1alpha", "v1beta"];

/// Reads a file.
///
/// # Errors
/// [`ConfigError`], which names the file, and the key and what it may be.
pub(super) fn read(path: &Path) -> Result<(Vec<Upstream>, Overrides), ConfigError> {
    let bad = |why: &dyn Display| ConfigError::new(format_args!("--config {}: {why}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| bad(&error))?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(|error| bad(&error))?;
    if text.len() as u64 > LONGEST {
        return Err(bad(&format_args!("it is longer than {LONGEST} bytes")));
    }
    parse(&text).map_err(|why| bad(&why))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    upstreams: BTreeMap<String, Table>,
    #[serde(default)]
    prices: Overrides,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    base_url: Option<String>,
    provider: Option<String>,
    max_lines: Option<usize>,
    max_bytes: Option<u64>,
    price_percent: Option<u8>,
    poll_min: Option<String>,
    polls_per_minute: Option<u32>,
    window: Option<String>,
    endpoints: Option<Vec<String>>,
    #[serde(default)]
    models: BTreeMap<String, String>,
}

fn parse(text: &str) -> Result<(Vec<Upstream>, Overrides), String> {
    let config: Config = toml::from_str(text).map_err(|error| located(text, &error))?;
    let upstreams = config.upstreams.iter().map(|(name, table)| table.upstream(name));
    Ok((upstreams.collect::<Result<_, _>>()?, config.prices))
}

/// A parser's error in one line, with the line that it is about.
fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else { return message };
    let line = before.matches('\n').count();
    let shown: String = text.lines().nth(line).unwrap_or_default().trim().chars().take(80).collect();
    format!("line {} ({shown}): {message}", line + 1)
}

impl Table {
    fn upstream(&self, name: &str) -> Result<Upstream, String> {
        check_name(name)?;
        let bad = |key: &str, why: &dyn Display| format!("upstreams.{name}.{key}: {why}");
        let provider = self.provider(name).map_err(|why| bad("provider", &why))?;
        let about = provider.about();
        let base_url = self.base_url(about).map_err(|why| bad("base_url", &why))?;
        let mut upstream = Upstream::of(provider, name, &base_url);
        if let Some(endpoints) = &self.endpoints {
            upstream.endpoints = chosen(about, endpoints).map_err(|why| bad("endpoints", &why))?;
        }
        upstream.models = models(&self.models).map_err(|why| bad("models", &why))?;
        let caps = &mut upstream.caps;
        caps.max_lines =
            at_least_one(self.max_lines, caps.max_lines).map_err(|why| bad("max_lines", &why))?;
        caps.max_bytes =
            at_least_one(self.max_bytes, caps.max_bytes).map_err(|why| bad("max_bytes", &why))?;
        caps.price_percent = self.price_percent.unwrap_or(caps.price_percent);
        caps.batch_percent = self.price_percent.or(caps.batch_percent);
        caps.polls_per_minute = at_least_one(self.polls_per_minute, caps.polls_per_minute)
            .map_err(|why| bad("polls_per_minute", &why))?;
        caps.poll_min = duration(&self.poll_min, caps.poll_min).map_err(|why| bad("poll_min", &why))?;
        caps.window = duration(&self.window, caps.window).map_err(|why| bad("window", &why))?;
        Ok(upstream)
    }

    fn provider(&self, name: &str) -> Result<&'static dyn Provider, String> {
        match &self.provider {
            None => by_name(name).or_else(|| by_name(PROVIDER)).ok_or_else(|| "there is none".to_owned()),
            Some(provider) => by_name(provider).ok_or_else(|| {
                let names: Vec<&str> = ALL.iter().map(|provider| provider.about().name).collect();
                format!("there is no {provider:?}; write one of {}", names.join(", "))
            }),
        }
    }

    fn base_url(&self, about: &About) -> Result<String, String> {
        match &self.base_url {
            Some(url) => parse_base_url(url),
            None if about.base_url.is_empty() => Err("it is missing; write it as https://host/v1".into()),
            None => Ok(about.base_url.to_owned()),
        }
    }
}

/// A name is the first part of a path.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let what = "a name has 1 to 64 lower case letters, digits and -";
    if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
        return Err(format!("upstreams.{name:?}: {what}"));
    }
    match RESERVED.contains(&name) {
        true => {
            Err(format!("upstreams.{name}: the name is taken; none of {} can be one", RESERVED.join(", ")))
        }
        false => Ok(()),
    }
}

/// The endpoints that were chosen of those that the dialect has.
fn chosen(about: &About, endpoints: &[String]) -> Result<Vec<&'static str>, String> {
    let known: &[&'static str] = match about.dialect {
        Dialect::OpenAi => &openai::ENDPOINTS,
        Dialect::Anthropic | Dialect::Gemini => about.endpoints,
    };
    let find = |wanted: &String| {
        let found = known.iter().find(|endpoint| *endpoint == wanted).copied();
        found.ok_or_else(|| format!("there is no {wanted:?}; write some of {}", known.join(", ")))
    };
    match endpoints {
        [] => Err(format!("there is none; write some of {}", known.join(", "))),
        _ => endpoints.iter().map(find).collect(),
    }
}

/// Names of models that can stand in a body.
fn models(given: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, String> {
    let fits = |name: &String| !name.trim().is_empty() && name.len() <= LONGEST_MODEL;
    match given.iter().find(|(called, batched)| !fits(called) || !fits(batched)) {
        Some((called, batched)) => {
            Err(format!("{called:?} = {batched:?}: a model's name has 1 to {LONGEST_MODEL} bytes"))
        }
        None => Ok(given.clone()),
    }
}

fn at_least_one<T: PartialOrd + From<u8>>(given: Option<T>, default: T) -> Result<T, &'static str> {
    match given {
        Some(number) if number < T::from(1) => Err("it has to be 1 or more"),
        Some(number) => Ok(number),
        None => Ok(default),
    }
}

fn duration(given: &Option<String>, default: Duration) -> Result<Duration, String> {
    match given.as_deref().map(parse_duration).transpose()? {
        Some(Duration::ZERO) => {
            Err("it has to be longer than nothing; write it as 250ms, 4s, 10m or 1h".into())
        }
        Some(duration) => Ok(duration),
        None => Ok(default),
    }
}

#[cfg(test)]
mod tests;
