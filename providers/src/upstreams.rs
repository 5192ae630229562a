//! The upstreams of a process: built-in providers at their own addresses, and what the operator adds.

use std::collections::BTreeMap;
use std::sync::Arc;

use common::args::parse_base_url;

use crate::about::Dialect;
use crate::caps::Caps;
use crate::provider::Provider;
use crate::{ALL, by_name};

/// Where the providers are.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Upstreams")]
pub struct UpstreamArgs {
    /// Base URL of the OpenAI API, or of one that speaks like it
    ///
    /// With its version, without a slash at its end; for example https://eu.api.openai.com/v1.
    #[arg(long, env = "LLM_PROXY_OPENAI_URL", value_name = "URL", default_value = "https://api.openai.com/v1", value_parser = parse_base_url)]
    pub openai_url: String,

    /// Base URL of the Anthropic API
    #[arg(long, env = "LLM_PROXY_ANTHROPIC_URL", value_name = "URL", default_value = "https://api.anthropic.com", value_parser = parse_base_url)]
    pub anthropic_url: String,

    /// Base URL of the Gemini API
    #[arg(long, env = "LLM_PROXY_GEMINI_URL", value_name = "URL", default_value = "https://generativelanguage.googleapis.com", value_parser = parse_base_url)]
    pub gemini_url: String,
}

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
    /// Whether the base URL is the provider's own, whose habits are known.
    pub is_own_host: bool,
}

impl Upstream {
    /// How its callers speak.
    pub fn dialect(&self) -> Dialect {
        self.provider.about().dialect
    }

    /// The endpoints that are batched.
    pub fn endpoints(&self) -> &'static [&'static str] {
        self.provider.about().endpoints
    }
}

/// All upstreams by name. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstreams(Arc<BTreeMap<String, Arc<Upstream>>>);

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
        Self(Arc::new(named.collect()))
    }
}

impl Upstreams {
    /// The built-in ones, with the addresses that were given.
    pub fn new(args: &UpstreamArgs) -> Self {
        let given = [
            ("openai", args.openai_url.as_str()),
            ("anthropic", args.anthropic_url.as_str()),
            ("gemini", args.gemini_url.as_str()),
        ];
        Self::at(&given.into())
    }

    fn at(given: &BTreeMap<&str, &str>) -> Self {
        let at = |provider: &&'static dyn Provider| {
            let about = provider.about();
            let base_url = given.get(about.name).copied().unwrap_or(about.base_url);
            let upstream = Upstream {
                name: about.name.to_owned(),
                provider: *provider,
                base_url: base_url.to_owned(),
                caps: about.caps,
                is_own_host: base_url == about.base_url,
            };
            (!base_url.is_empty()).then(|| (upstream.name.clone(), Arc::new(upstream)))
        };
        Self(Arc::new(ALL.iter().filter_map(at).collect()))
    }

    /// One by its name.
    pub fn get(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.0.get(name)
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.0.values()
    }

    /// What an upstream takes; one that is not known here, since another process is configured otherwise, takes what OpenAI
    /// takes.
    pub fn caps(&self, name: &str) -> Caps {
        let built_in = || by_name(name).map(|provider| provider.about().caps);
        self.get(name).map(|upstream| upstream.caps).or_else(built_in).unwrap_or(Caps::OPENAI)
    }
}
