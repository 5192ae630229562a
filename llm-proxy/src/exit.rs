//! From a result to an exit code, in one place.

use std::io::Write as _;
use std::process::ExitCode;

use common::service::ConfigError;

/// The configuration cannot be used; clap ends with the same code.
const USAGE: u8 = 2;

/// Prints why a command failed. 2 for a mistake in the configuration, 1 for everything else.
pub(crate) fn code(result: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match result {
        Ok(code) => return code,
        Err(error) => error,
    };
    // Standard error may be closed: then there is nobody to tell.
    let _ = writeln!(std::io::stderr(), "error: {error:#}");
    match error.chain().any(|cause| cause.is::<ConfigError>()) {
        true => ExitCode::from(USAGE),
        false => ExitCode::FAILURE,
    }
}
