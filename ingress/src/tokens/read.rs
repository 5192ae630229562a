//! Reading tokens from where operators put them.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use aws_lc_rs::digest::{SHA256, digest};
use common::service::ConfigError;
use zeroize::Zeroizing;

use super::{Digest, VARIABLE};

/// The shortest token in bytes: 16 random letters and digits cannot be guessed over a network.
const MIN: usize = 16;
/// The longest: it is a header line in a head of 16 KB.
const MAX: usize = 1024;
/// Tokens at most; every request is compared with all of them.
const MAX_TOKENS: usize = 1000;
/// The largest file in bytes: as many of the longest tokens.
const MAX_FILE: u64 = 1024 * 1024;

/// The tokens in a variable's value.
pub(super) fn variable(value: Option<OsString>) -> Result<Vec<Digest>, ConfigError> {
    let text = Zeroizing::new(value.unwrap_or_default().into_encoded_bytes());
    parse(&text).map_err(|why| ConfigError::new(format_args!("{VARIABLE}: {why}")))
}

/// The tokens in a file.
pub(super) fn file(path: &Path) -> Result<Vec<Digest>, ConfigError> {
    let failed = |why: String| ConfigError::new(format_args!("--token-file {}: {why}", path.display()));
    let mut text = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    file.take(MAX_FILE + 1).read_to_end(&mut text).map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE {
        return Err(failed(format!("it has more than {MAX_FILE} bytes")));
    }
    match parse(&text) {
        Ok(tokens) if tokens.is_empty() => Err(failed("there is no token in it; write one a line".into())),
        Ok(tokens) => Ok(tokens),
        Err(why) => Err(failed(why)),
    }
}

/// One token a line; white space around it, empty lines, and lines that begin with # do not count.
fn parse(text: &[u8]) -> Result<Vec<Digest>, String> {
    let mut tokens = Vec::new();
    for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let token = line.trim_ascii();
        if token.is_empty() || token.starts_with(b"#") {
            continue;
        }
        let bad = |why: String| format!("line {}: {why}", at + 1);
        if !(MIN..=MAX).contains(&token.len()) {
            return Err(bad(format!("a token of {} bytes; it needs {MIN} to {MAX}", token.len())));
        }
        if !token.iter().all(u8::is_ascii_graphic) {
            return Err(bad("a token may hold visible ASCII characters only".into()));
        }
        if tokens.len() == MAX_TOKENS {
            return Err(bad(format!("more than {MAX_TOKENS} tokens")));
        }
        let mut copy = Digest::default();
        copy.copy_from_slice(digest(&SHA256, token).as_ref());
        tokens.push(copy);
    }
    Ok(tokens)
}
