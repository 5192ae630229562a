//! Access tokens of llm-proxy's own: who may use it at all, whatever key a call carries for the provider.

mod read;

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use common::service::ConfigError;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::args::Args;
use crate::dialect::Problem;
use crate::reload::Reload;

/// Request: an access token. As all lines of ours it never reaches a provider.
pub const TOKEN: HeaderName = HeaderName::from_static("x-llm-proxy-token");
/// Tokens, one a line, besides those of `--token-file`. There is no flag for it: other users of a machine can read flags.
pub const VARIABLE: &str = "LLM_PROXY_TOKENS";

/// In the place of a token: of one length, whatever the token's, and useless to who reads it.
type Digest = [u8; SHA256_OUTPUT_LEN];

/// The tokens that are taken.
pub struct Tokens {
    of_variable: Vec<Digest>,
    file: Option<PathBuf>,
    /// Of the variable and of the file as it was last read.
    known: RwLock<Arc<[Digest]>>,
}

impl Tokens {
    /// The tokens, if any are required.
    ///
    /// # Errors
    /// [`ConfigError`] if tokens are required and there is none, or one cannot be used; and if there are some that nothing
    /// requires, since whoever set them believes the door to be locked.
    pub(crate) fn new(args: &Args) -> Result<Option<Arc<Self>>, ConfigError> {
        let variable = read::variable(std::env::var_os(VARIABLE))?;
        match (args.require_token, &args.token_file) {
            (true, file) => Self::of(variable, file.clone()).map(|tokens| Some(Arc::new(tokens))),
            (false, Some(_)) => Err(unused("--token-file")),
            (false, None) if !variable.is_empty() => Err(unused(VARIABLE)),
            (false, None) => Ok(None),
        }
    }

    fn of(of_variable: Vec<Digest>, file: Option<PathBuf>) -> Result<Self, ConfigError> {
        let mut tokens = Self { of_variable, file, known: RwLock::new(Arc::new([])) };
        let known = tokens.read()?;
        if known.is_empty() {
            return Err(ConfigError::new(format_args!(
                "--require-token needs tokens: write one a line into the file of --token-file or the variable {VARIABLE}; \
                 `openssl rand -hex 32` makes a good one"
            )));
        }
        tokens.known = RwLock::new(known);
        Ok(tokens)
    }

    /// All tokens as they are now.
    fn read(&self) -> Result<Arc<[Digest]>, ConfigError> {
        let mut known = self.of_variable.clone();
        if let Some(file) = &self.file {
            known.extend(read::file(file)?);
        }
        Ok(known.into())
    }

    /// Whether they can change.
    pub(crate) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.known().len()
    }

    /// Lets a request in that carries one of the tokens. How long that takes tells neither how long the tokens are nor how
    /// much of one was guessed.
    ///
    /// # Errors
    /// A [`Problem`] with status 401.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let mut lines = headers.get_all(TOKEN).iter();
        let (Some(value), None) = (lines.next(), lines.next()) else {
            return Err(refused("Calls need an access token here, in one header line x-llm-proxy-token."));
        };
        let given = digest(&SHA256, value.as_bytes());
        // All are compared, whichever it is.
        let equal = |known: &Digest| u8::from(verify_slices_are_equal(given.as_ref(), known).is_ok());
        match self.known().iter().map(equal).fold(0, |any, one| any | one) {
            0 => Err(refused("The access token in x-llm-proxy-token is not known here.")),
            _ => Ok(()),
        }
    }

    /// One token and no file.
    #[cfg(test)]
    pub(crate) fn of_test(token: &str) -> Arc<Self> {
        Arc::new(Self::of(read::variable(Some(token.into())).unwrap(), None).unwrap())
    }

    fn known(&self) -> Arc<[Digest]> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Reload for Tokens {
    fn reload(&self) -> Result<(), ConfigError> {
        let read = self.read()?;
        if read != self.known() {
            let tokens = read.len();
            *self.known.write().unwrap_or_else(PoisonError::into_inner) = read;
            tracing::info!(tokens, "the access tokens have changed");
        }
        Ok(())
    }
}

fn refused(message: &str) -> Problem {
    let mut problem = Problem::new(StatusCode::UNAUTHORIZED, message).code("invalid_access_token");
    problem.should_retry = Some(false);
    problem
}

fn unused(what: &str) -> ConfigError {
    ConfigError::new(format_args!(
        "{what} is given, but nothing requires a token: give --require-token (LLM_PROXY_REQUIRE_TOKEN=true) too, or leave it out"
    ))
}

#[cfg(test)]
mod tests;
