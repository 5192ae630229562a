//! The cluster secret: from a variable or a file, never from a flag, never shown.

use std::ffi::OsString;
use std::path::Path;

use secrecy::SecretSlice;
use zeroize::Zeroize as _;

use super::ConfigError;
use crate::seal::{Keyring, MIN_SECRET};

/// The variable that holds the cluster secret.
pub const SECRET_VARIABLE: &str = "LLM_PROXY_CLUSTER_SECRET";
/// Longest secret file in bytes that is read; a secret is far shorter, so a longer file is the wrong one.
const MAX_FILE: u64 = 64 * 1024;

/// The keys of the deployment, from the content of [`SECRET_VARIABLE`] or else from a file.
///
/// # Errors
/// [`ConfigError`] if there is neither, the file cannot be read, or the secret is shorter than 32 bytes.
pub fn keyring(variable: Option<OsString>, file: Option<&Path>) -> Result<Keyring, ConfigError> {
    let (secret, from) = match (variable.filter(|value| !value.is_empty()), file) {
        (Some(value), _) => (value.into_encoded_bytes(), SECRET_VARIABLE.to_owned()),
        (None, Some(path)) => (read(path)?, path.display().to_string()),
        (None, None) => {
            return Err(ConfigError::new(format_args!(
                "a cluster secret is needed on NATS: set {SECRET_VARIABLE}, or --cluster-secret-file, to the same \
                 random string of at least {MIN_SECRET} bytes for every ingress and submitter, for example the \
                 output of `openssl rand -hex 32`"
            )));
        }
    };
    Keyring::new(&SecretSlice::from(secret))
        .map_err(|error| ConfigError::new(format_args!("{from}: {error}")))
}

/// The content of the file without the line end that editors and shells put behind it, so that a file and a variable
/// filled by the same command agree.
fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let failed =
        |why: String| ConfigError::new(format_args!("--cluster-secret-file {}: {why}", path.display()));
    let length = std::fs::metadata(path).map_err(|error| failed(error.to_string()))?.len();
    if length > MAX_FILE {
        return Err(failed(format!("it has {length} bytes, that is no secret")));
    }
    let mut content = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    let text = content.strip_suffix(b"\n").unwrap_or(&content);
    let length = text.strip_suffix(b"\r").unwrap_or(text).len();
    let secret = content[..length].to_vec();
    content.zeroize();
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    fn file(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn variable_and_file_with_a_line_end_agree() {
        let print = |keyring: Keyring| keyring.fingerprint("openai", &HeaderMap::new());
        let variable = print(keyring(Some(SECRET.into()), None).unwrap());
        for content in [SECRET.to_owned(), format!("{SECRET}\n"), format!("{SECRET}\r\n")] {
            assert_eq!(print(keyring(None, Some(file(&content).path())).unwrap()), variable);
        }
        let other = file("another secret of at least thirty-two bytes");
        assert_eq!(print(keyring(Some(SECRET.into()), Some(other.path())).unwrap()), variable);
        assert_ne!(print(keyring(Some("".into()), Some(other.path())).unwrap()), variable);
    }

    #[test]
    fn what_is_wrong_is_said_without_the_secret() {
        let short = keyring(Some("hush".into()), None).unwrap_err().to_string();
        assert!(
            short.contains(SECRET_VARIABLE) && short.contains("4 bytes") && short.contains("32"),
            "{short}"
        );
        let short = keyring(None, Some(file("hush\n").path())).unwrap_err().to_string();
        assert!(short.contains("4 bytes") && !short.contains("hush"), "{short}");
        let none = keyring(None, None).unwrap_err().to_string();
        assert!(none.contains(SECRET_VARIABLE) && none.contains("--cluster-secret-file"), "{none}");
        let missing = keyring(None, Some(Path::new("/nonexistent/secret"))).unwrap_err().to_string();
        assert!(missing.contains("/nonexistent/secret"), "{missing}");
    }
}
