//! Where a request goes.

use std::io;

use common::redact::redact;
use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};

use crate::dialect::Problem;
use crate::http::below_v1;

/// A provider's base URL in parts.
pub(crate) struct Target {
    scheme: Scheme,
    authority: Authority,
    /// Without a slash at its end; `/v1` at OpenAI.
    path: String,
}

impl Target {
    /// Reads a base URL.
    pub(crate) fn new(base_url: &str) -> io::Result<Self> {
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

    pub(super) fn is_tls(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// The provider's URL for a request of ours: `/v1/x` and `/x` are both the base's `/x`; the query stays.
    pub(crate) fn uri(&self, ours: &Uri) -> Result<Uri, Problem> {
        let path = ours.path();
        if !path.starts_with('/') {
            return Err(Problem::invalid("The URL of your request has no path."));
        }
        let mut whole = format!("{}{}", self.path, below_v1(path));
        if whole.is_empty() {
            whole.push('/');
        }
        if let Some(query) = ours.query() {
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

    fn to(base: &str, uri: &str) -> String {
        Target::new(base).unwrap().uri(&uri.parse().unwrap()).unwrap().to_string()
    }

    #[test]
    fn paths_go_below_the_base() {
        let openai = "https://api.openai.com/v1";
        for (ours, theirs) in [
            ("/v1/models", "https://api.openai.com/v1/models"),
            ("/models?limit=2&x=%2F?y", "https://api.openai.com/v1/models?limit=2&x=%2F?y"),
            ("http://proxy:3030/v1/files/a%20b", "https://api.openai.com/v1/files/a%20b"),
            ("/v1", "https://api.openai.com/v1"),
            ("/", "https://api.openai.com/v1/"),
            ("/v1//x/../y?", "https://api.openai.com/v1//x/../y?"),
        ] {
            assert_eq!(to(openai, ours), theirs);
        }
        assert_eq!(to("http://127.0.0.1:4010/", "/v1"), "http://127.0.0.1:4010/");
        assert_eq!(to("http://h/a/v1/", "/v1/x"), "http://h/a/v1/x");
    }

    #[test]
    fn what_has_no_path_is_refused() {
        let target = Target::new("http://h/v1").unwrap();
        assert_eq!(target.uri(&"*".parse().unwrap()).unwrap_err().status, 400);
        assert!(Target::new("api.openai.com").is_err() && Target::new("").is_err());
    }
}
