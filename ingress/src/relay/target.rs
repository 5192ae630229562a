//! Where a request goes.

use std::collections::BTreeMap;
use std::io;

use common::redact::redact;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use providers::Upstreams;

use crate::dialect::Problem;
use crate::http::Place;

/// The addresses of all upstreams.
pub(crate) struct Targets(BTreeMap<String, Target>);

impl Targets {
    /// Reads the base URLs.
    pub(crate) fn new(upstreams: &Upstreams) -> io::Result<Self> {
        let target = |upstream: &std::sync::Arc<providers::Upstream>| {
            Ok((upstream.name.clone(), Target::new(&upstream.base_url)?))
        };
        upstreams.iter().map(target).collect::<io::Result<_>>().map(Self)
    }

    /// Whether any of them needs TLS.
    pub(super) fn need_tls(&self) -> bool {
        self.0.values().any(|target| target.scheme == Scheme::HTTPS)
    }

    /// The URL of a place, or of another path there, with the query as it came.
    pub(crate) fn uri(&self, place: &Place, below: &str, query: Option<&str>) -> Result<Uri, Problem> {
        let unknown = || Problem::invalid("The URL of your request cannot be relayed.");
        self.0.get(&place.upstream.name).ok_or_else(unknown)?.uri(place.replaces, below, query)
    }
}

/// A provider's base URL in parts.
struct Target {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; `/v1` at OpenAI.
    path: String,
}

impl Target {
    fn new(base_url: &str) -> io::Result<Self> {
        let bad = |why: String| {
            let shown = redact(base_url, std::iter::empty());
            io::Error::new(io::ErrorKind::InvalidInput, format!("{shown:?} is no base URL: {why}"))
        };
        let uri: Uri = base_url.parse().map_err(|error: http::uri::InvalidUri| bad(error.to_string()))?;
        let path = uri.path().trim_end_matches('/').to_owned();
        let parts = uri.into_parts();
        let (Some(scheme), Some(authority)) = (parts.scheme, parts.authority) else {
            return Err(bad("it needs a scheme and a host".into()));
        };
        Ok(Self { scheme, authority, path })
    }

    fn uri(&self, replaces: &str, below: &str, query: Option<&str>) -> Result<Uri, Problem> {
        if !below.is_empty() && !below.starts_with('/') {
            return Err(Problem::invalid("The URL of your request has no path."));
        }
        let base = self.path.strip_suffix(replaces).unwrap_or(&self.path);
        let mut whole = format!("{base}{below}");
        if whole.is_empty() {
            whole.push('/');
        }
        if let Some(query) = query {
            whole.push('?');
            whole.push_str(query);
        }
        let bad = |_| Problem::invalid("The URL of your request cannot be relayed.");
        let path_and_query = PathAndQuery::try_from(whole).map_err(bad)?;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(path_and_query);
        Uri::from_parts(parts).map_err(|_| Problem::invalid("The URL of your request cannot be relayed."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(base: &str, below: &str, query: Option<&str>) -> String {
        Target::new(base).unwrap().uri("", below, query).unwrap().to_string()
    }

    #[test]
    fn paths_go_below_the_base() {
        let openai = "https://api.openai.com/v1";
        for (below, query, theirs) in [
            ("/models", None, "https://api.openai.com/v1/models"),
            ("/models", Some("limit=2&x=%2F?y"), "https://api.openai.com/v1/models?limit=2&x=%2F?y"),
            ("/files/a%20b", None, "https://api.openai.com/v1/files/a%20b"),
            ("", None, "https://api.openai.com/v1"),
            ("/", None, "https://api.openai.com/v1/"),
            ("//x/../y", Some(""), "https://api.openai.com/v1//x/../y?"),
        ] {
            assert_eq!(to(openai, below, query), theirs);
        }
        assert_eq!(to("http://127.0.0.1:4010/", "", None), "http://127.0.0.1:4010/");
        assert_eq!(to("http://h/a/v1/", "/x", None), "http://h/a/v1/x");
    }

    #[test]
    fn paths_of_an_older_tree_go_beside_the_base() {
        for (base, theirs) in [
            ("https://h/openai/v1", "https://h/openai/deployments/m/x?api-version=v"),
            ("https://h/gateway/openai/v1/", "https://h/gateway/openai/deployments/m/x?api-version=v"),
        ] {
            let uri = Target::new(base).unwrap().uri(
                "/openai/v1",
                "/openai/deployments/m/x",
                Some("api-version=v"),
            );
            assert_eq!(uri.unwrap(), theirs);
        }
    }

    #[test]
    fn what_has_no_path_is_refused() {
        let target = Target::new("http://h/v1").unwrap();
        assert_eq!(target.uri("", "*", None).unwrap_err().status, 400);
        assert!(Target::new("api.openai.com").is_err() && Target::new("").is_err());
    }
}
