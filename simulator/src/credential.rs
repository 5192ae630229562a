//! Who calls: the API key with its organisation and project, reduced to a fingerprint at once.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

/// A caller as the provider tells callers apart. Holds no key, only a fingerprint of one.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Credential(Arc<str>);

impl Credential {
    /// The fingerprint of a key in an organisation and a project (both may be empty): 16 hexadecimal digits.
    ///
    /// Tests make one to ask for the files and the ledger entries of a caller of theirs.
    pub fn new(key: &str, organization: &str, project: &str) -> Self {
        let hash = sha256(format!("{key}\n{organization}\n{project}").as_bytes());
        Self(hex(&hash[..8]).into())
    }

    /// The fingerprint of a key without organisation or project.
    pub fn of_key(key: &str) -> Self {
        Self::new(key, "", "")
    }

    /// The fingerprint's 16 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// SHA-256 of `data`.
pub fn sha256(data: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, data).as_ref());
    hash
}

/// Lower-case hexadecimal digits of `data`.
pub fn hex(data: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    data.iter()
        .flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
        .map(char::from)
        .collect()
}
