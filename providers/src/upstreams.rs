//! The upstreams of a process: built-in providers at their own addresses, and what the operator adds.

mod args;
mod config;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::service::ConfigError;
use pricing::Overrides;

pub use self::args::{ConfigArgs, UpstreamArgs};
use crate::about::Dialect;
use crate::caps::Caps;
use crate::provider::Provider;
use crate::{ALL, by_name};

/// A provider at an address.
#[derive(Debug, Clone)]
pub struct Upstream {
    /// Its name: the first part of the path under which it is reached, and the `upstream` of batch keys.
    pub name: String,
    /// How it is spoken to.
    pub provider: &'static dyn Provider,
    /// Without a slash at its end.
    pub base_url: String,
    /// What it takes and promises.
    pub caps: Caps,
    /// The endpoints that are batched, as its dialect names them.
    pub endpoints: Vec<&'static str>,
    /// The model that batches name in place of the one that callers name. What is not in here stays.
    pub models: BTreeMap<String, String>,
}

impl Upstream {
    /// How its callers speak.
    pub fn dialect(&self) -> Dialect {
        self.provider.about().dialect
    }

    /// The endpoints that are batched.
    pub fn endpoints(&self) -> &[&'static str] {
        &self.endpoints
    }

    /// What batches name a model that callers name so.
    pub fn batched_model<'a>(&'a self, model: &'a str) -> &'a str {
        self.models.get(model).map_or(model, String::as_str)
    }

    /// A provider as it is, at an address.
    pub fn of(provider: &'static dyn Provider, name: &str, base_url: &str) -> Self {
        let about = provider.about();
        Self {
            name: name.to_owned(),
            provider,
            base_url: base_url.to_owned(),
            caps: about.caps,
            endpoints: about.endpoints.to_vec(),
            models: BTreeMap::new(),
        }
    }
}

/// All upstreams by name, and what the operator knows better of their prices. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams {
    all: Arc<BTreeMap<String, Arc<Upstream>>>,
    prices: Arc<Overrides>,
}

impl Default for Upstreams {
    /// The built-in ones at their own addresses.
    fn default() -> Self {
        Self::at(&BTreeMap::new())
    }
}

impl FromIterator<Upstream> for Upstreams {
    /// These and no others; of several with one name the last.
    fn from_iter<I: IntoIterator<Item = Upstream>>(upstreams: I) -> Self {
        let named = upstreams.into_iter().map(|upstream| (upstream.name.clone(), Arc::new(upstream)));
        Self { all: Arc::new(named.collect()), prices: Arc::default() }
    }
}

impl Upstreams {
    /// The built-in ones, with the addresses that were given, and those of the configuration file, which goes before them.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be used.
    pub fn load(args: &UpstreamArgs) -> Result<Self, ConfigError> {
        Self::load_moved(args, &BTreeMap::new())
    }

    /// The same with built-in ones, by name, at other addresses than those that were given. The configuration file goes before
    /// these as well.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be used.
    pub fn load_moved(args: &UpstreamArgs, moved: &BTreeMap<&str, String>) -> Result<Self, ConfigError> {
        let mut given: BTreeMap<&str, &str> = [
            ("openai", args.openai_url.as_str()),
            ("anthropic", args.anthropic_url.as_str()),
            ("gemini", args.gemini_url.as_str()),
        ]
        .into();
        given.extend(moved.iter().map(|(name, url)| (*name, url.as_str())));
        Self::at(&given).with(&args.config)
    }

    /// The built-in ones at their own addresses, and those of the configuration file: for who makes no calls, and needs to know
    /// only what they take.
    ///
    /// # Errors
    /// [`ConfigError`] if the file cannot be used.
    pub fn configured(args: &ConfigArgs) -> Result<Self, ConfigError> {
        Self::default().with(args)
    }

    fn at(given: &BTreeMap<&str, &str>) -> Self {
        let at = |provider: &&'static dyn Provider| {
            let about = provider.about();
            let base_url = given.get(about.name).copied().unwrap_or(about.base_url);
            let upstream = Upstream::of(*provider, about.name, base_url);
            (!base_url.is_empty()).then(|| (upstream.name.clone(), Arc::new(upstream)))
        };
        Self { all: Arc::new(ALL.iter().filter_map(at).collect()), prices: Arc::default() }
    }

    fn with(self, args: &ConfigArgs) -> Result<Self, ConfigError> {
        let Some(path) = &args.config else { return Ok(self) };
        let mut all = BTreeMap::clone(&self.all);
        let (upstreams, prices) = config::read(path)?;
        all.extend(upstreams.into_iter().map(|upstream| (upstream.name.clone(), Arc::new(upstream))));
        Ok(Self { all: Arc::new(all), prices: Arc::new(prices) })
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.all.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.all.values()
    }

    /// Prices that go before the program's own list.
    pub fn prices(&self) -> &Overrides {
        &self.prices
    }

    /// What an upstream takes; one that is not known here, since another process is configured otherwise, takes what OpenAI
    /// takes.
    pub fn caps(&self, name: &str) -> Caps {
        let built_in = || by_name(name).map(|provider| provider.about().caps);
        self.get(name).map(|upstream| upstream.caps).or_else(built_in).unwrap_or(Caps::OPENAI)
    }
}
