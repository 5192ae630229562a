//! What a request asks for, and of whom.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use http::request::Parts;
use providers::{Dialect, Legacy, Upstream, Upstreams};

use crate::dialect::{Endpoint, meant, of};

/// What a request asks for.
#[derive(Debug)]
pub(crate) enum Route {
    /// A call to batch.
    Batch(Place, Endpoint),
    /// Anything else that a provider has: goes there as it is.
    Relay(Place),
    /// What would be an upstream's that is not configured.
    Nowhere(Dialect),
    /// Something about this process.
    Ours(Ours),
}

/// What is answered here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ours {
    /// Counters and timings.
    Stats,
    /// What was used and paid, for a spreadsheet.
    Usage,
    /// Liveness.
    Health,
    /// Readiness.
    Ready,
}

/// A place at a provider.
#[derive(Debug)]
pub(crate) struct Place {
    /// Who is asked.
    pub(crate) upstream: Arc<Upstream>,
    /// The path below its base URL.
    pub(crate) below: String,
    /// The end of the base URL's path in whose place that path stands; mostly none of it.
    pub(crate) replaces: &'static str,
}

impl Route {
    /// In which dialect errors are told.
    pub(crate) fn dialect(&self) -> Dialect {
        match self {
            Self::Batch(place, _) | Self::Relay(place) => place.dialect(),
            Self::Nowhere(dialect) => *dialect,
            Self::Ours(_) => Dialect::OpenAi,
        }
    }
}

impl Place {
    /// How the caller speaks.
    pub(crate) fn dialect(&self) -> Dialect {
        self.upstream.dialect()
    }
}

/// What a path of ours asks for.
pub(crate) fn ours(path: &str) -> Option<Ours> {
    match path {
        "/stats" => Some(Ours::Stats),
        "/stats/usage.csv" => Some(Ours::Usage),
        "/healthz" => Some(Ours::Health),
        "/readyz" => Some(Ours::Ready),
        _ => None,
    }
}

/// The way to each upstream, by its name.
#[derive(Debug)]
pub(crate) struct Routes(BTreeMap<String, Known>);

#[derive(Debug)]
struct Known {
    upstream: Arc<Upstream>,
    /// The path of its base URL, without a slash at its end.
    base: String,
}

impl Known {
    /// What a path is at this upstream, and the endpoint that is batched there.
    fn place(&self, path: &str) -> (Place, Option<Endpoint>) {
        let upstream = self.upstream.clone();
        let speech = of(upstream.dialect());
        let batched = |below: &str| speech.endpoint(below, upstream.endpoints());
        match upstream.provider.legacy(path).filter(|legacy| self.base.ends_with(legacy.replaces)) {
            Some(Legacy { replaces, below, model }) => {
                let named = |endpoint| Endpoint { model: model.map(Into::into), ..endpoint };
                let endpoint = batched(below).map(named);
                (Place { upstream, below: path.to_owned(), replaces }, endpoint)
            }
            None => {
                let below = speech.below(&self.base, path).into_owned();
                let endpoint = batched(&below);
                (Place { upstream, below, replaces: "" }, endpoint)
            }
        }
    }
}

impl Routes {
    /// Ways to these upstreams.
    pub(crate) fn new(upstreams: &Upstreams) -> Self {
        let known = |upstream: &Arc<Upstream>| {
            let known = Known { base: path_of(&upstream.base_url).to_owned(), upstream: upstream.clone() };
            (upstream.name.clone(), known)
        };
        Self(upstreams.iter().map(known).collect())
    }

    /// Tells what a request asks for. A path may begin with the name of an upstream; without one, its dialect's own upstream is
    /// meant.
    pub(crate) fn route(&self, head: &Parts) -> Route {
        let path = head.uri.path();
        if let Some(ours) = ours(path) {
            return Route::Ours(ours);
        }
        let (known, rest) = match self.named(path) {
            Some(named) => named,
            None => {
                let dialect = meant(head);
                let Some(known) = self.0.get(of(dialect).home()) else { return Route::Nowhere(dialect) };
                (known, path)
            }
        };
        let (place, endpoint) = known.place(rest);
        match endpoint.filter(|_| head.method == Method::POST) {
            Some(endpoint) => Route::Batch(place, endpoint),
            None => Route::Relay(place),
        }
    }

    /// The upstream that a path begins with, and the rest of the path.
    fn named<'a>(&self, path: &'a str) -> Option<(&Known, &'a str)> {
        let rest = path.strip_prefix('/')?;
        let (name, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        Some((self.0.get(name)?, rest))
    }
}

/// The path of a base URL, without a slash at its end.
fn path_of(base_url: &str) -> &str {
    let beyond_scheme = base_url.split_once("://").map_or(base_url, |(_, rest)| rest);
    let path = beyond_scheme.find('/').map_or("", |at| &beyond_scheme[at..]);
    path.trim_end_matches('/')
}

#[cfg(test)]
mod tests;
