//! The caller's credential, as the headers that carry it.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

/// The headers that say on whose behalf a call is made: `authorization` and, if the caller sent them,
/// `openai-organization` and `openai-project`; `api-key` where a provider wants that.
///
/// The values are never shown: `Debug` prints header names only, and all values are marked sensitive.
#[derive(Clone, Default)]
pub struct Credential(HeaderMap);

impl Credential {
    /// Takes the caller's credential headers.
    pub fn new(mut headers: HeaderMap) -> Self {
        headers.values_mut().for_each(|value| value.set_sensitive(true));
        Self(headers)
    }

    /// A credential of one bearer token; `None` if the token cannot stand in a header.
    pub fn bearer(token: &str) -> Option<Self> {
        let value = HeaderValue::try_from(format!("Bearer {token}")).ok()?;
        Some(Self::new(HeaderMap::from_iter([(AUTHORIZATION, value)])))
    }

    /// With further headers that are no secrets, as the provider wants them on every call for a batch.
    #[must_use]
    pub fn with(mut self, headers: HeaderMap) -> Self {
        self.0.extend(headers);
        self
    }

    /// The headers, for building a request.
    pub fn headers(&self) -> &HeaderMap {
        &self.0
    }

    /// Every text that gives the credential away.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.0
            .values()
            .filter(|value| value.is_sensitive())
            .filter_map(|value| value.to_str().ok())
            .flat_map(str::split_ascii_whitespace)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}
