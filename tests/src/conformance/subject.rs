//! A provider, as data.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use providers::{Caps, Dialect, Provider, Upstream, Upstreams};
use simulator::Handle;

use super::case::Due;

/// A provider, and how it is called.
#[derive(Debug)]
pub struct Subject {
    /// Its name in the table.
    pub name: &'static str,
    /// A fault of llm-proxy's that is known: cells that break by it are shown and do not count.
    pub known: Option<&'static str>,
    /// Its name among [`providers::ALL`].
    pub provider: &'static str,
    /// What its base URL has after the simulator's host and port.
    pub base: &'static str,
    /// The path of a call below the upstream's name at the proxy.
    pub path: &'static str,
    /// The header with the key, and what stands before the key's own part in it.
    pub key: (&'static str, &'static str),
    /// Further header lines of a call.
    pub headers: &'static [(&'static str, &'static str)],
    /// The models that batches name in place of those that calls name.
    pub models: &'static [(&'static str, &'static str)],
    /// A call's body around the text, which needs no escapes.
    pub body: (&'static str, &'static str),
    /// Where the text of an answer is (RFC 6901).
    pub text: &'static str,
    /// What it takes in place of what the provider does.
    pub caps: fn(Caps) -> Caps,
    /// Whether requests reach it as a file.
    pub by_file: bool,
    /// Whether results come with the job itself, in place of a file or a place of their own.
    pub results_in_job: bool,
    /// A status beyond 429 that says for certain that nothing was created.
    pub overloaded: Option<u16>,
    /// The status of a line that is not as it must be.
    pub invalid: u16,
    /// The cases that mean something else to it, by their names.
    pub unlike: &'static [(&'static str, Unlike)],
    /// It is there for the cases with this in their names.
    pub only: &'static str,
}

/// How a case differs for a provider, and why.
#[derive(Debug, Clone, Copy)]
pub enum Unlike {
    /// It has no meaning.
    Nothing(&'static str),
    /// Callers get something else.
    Otherwise(Due, &'static str),
}

impl Subject {
    /// The provider.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn provider(&self) -> Result<&'static dyn Provider> {
        providers::by_name(self.provider).with_context(|| format!("no provider is named {}", self.provider))
    }

    /// How its callers speak.
    ///
    /// # Errors
    /// As [`Subject::provider`].
    pub fn dialect(&self) -> Result<Dialect> {
        Ok(self.provider()?.about().dialect)
    }

    /// It alone, simulated, with batches of at most so many lines.
    ///
    /// # Errors
    /// As [`Subject::provider`].
    pub fn upstreams(&self, simulator: &Handle, max_lines: Option<usize>) -> Result<Upstreams> {
        let provider = self.provider()?;
        let caps = (self.caps)(provider.about().caps);
        let base_url = format!("http://{}{}", simulator.addr(), self.base);
        Ok(Upstreams::from_iter([Upstream {
            models: self
                .models
                .iter()
                .map(|(called, batched)| ((*called).into(), (*batched).into()))
                .collect(),
            caps: Caps { max_lines: max_lines.unwrap_or(caps.max_lines), ..caps },
            ..Upstream::of(provider, self.provider, &base_url)
        }]))
    }

    /// How a case differs here.
    pub fn unlike(&self, case: &str) -> Option<&Unlike> {
        self.unlike.iter().find(|(name, _)| *name == case).map(|(_, unlike)| unlike)
    }
}

/// A call, ready to be made.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) url: String,
    pub(super) headers: Arc<[(&'static str, String)]>,
    pub(super) body: String,
}

impl Subject {
    /// A call with this text, at a proxy.
    pub(super) fn call(&self, proxy: &str, text: &str) -> Call {
        let Self { provider, path, key: (name, before), headers, body: (head, tail), .. } = self;
        let key = (*name, format!("{before}conformance"));
        let lines = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Call {
            url: format!("http://{proxy}/{provider}{path}"),
            headers: std::iter::once(key).chain(lines).collect(),
            body: format!("{head}{text}{tail}"),
        }
    }
}
