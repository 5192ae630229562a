//! The header lines that a Message Batch has once for all its requests.

use bytes::Bytes;
use common::wire;
use http::{HeaderMap, HeaderValue};

use crate::dialect::Problem;

const BETA: &str = "anthropic-beta";
const VERSION: &str = "anthropic-version";
/// In the order of their names (SDK sources, parameters of "create a Message Batch").
const LINES: [&str; 4] = [BETA, "anthropic-user-profile-id", VERSION, "anthropic-workspace-id"];

/// The lines of a call that make it differ from others in the same batch: two calls that mean the same have the same.
///
/// # Errors
/// A [`Problem`] with status 400 without a version.
pub(super) fn key_headers(headers: &HeaderMap) -> Result<Vec<wire::Header>, Problem> {
    let values = LINES.map(|name| {
        let lines = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        match name {
            BETA => betas(lines),
            // Several are the provider's to refuse.
            _ => lines.map(<[u8]>::trim_ascii).collect::<Vec<_>>().join(&b", "[..]),
        }
    });
    let given =
        |(name, value): (&str, Vec<u8>)| wire::Header { name: name.to_owned(), value: Bytes::from(value) };
    let lines: Vec<_> =
        LINES.into_iter().zip(values).filter(|(_, value)| !value.is_empty()).map(given).collect();
    match lines.iter().any(|line| line.name == VERSION) {
        true => Ok(lines),
        // As Anthropic answers.
        false => Err(Problem::invalid("anthropic-version: header is required")),
    }
}

/// The names in lists with commas, each once, sorted.
fn betas<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let names = lines.flat_map(|line| line.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii);
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(&b","[..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&'static str, &str)]) -> Vec<(String, String)> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let text = |value: Bytes| String::from_utf8(value.to_vec()).unwrap();
        key_headers(&headers).unwrap().into_iter().map(|line| (line.name, text(line.value))).collect()
    }

    fn owned(lines: &[(&str, &str)]) -> Vec<(String, String)> {
        lines.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn lines_are_sorted_and_lists_of_betas_merged() {
        let version = ("anthropic-version", "2026-10-21");
        assert_eq!(of(&[version, ("user-agent", "x"), ("anthropic-beta", " , ")]), owned(&[version]));
        let lines = of(&[
            ("anthropic-workspace-id", "wrkspc_1"),
            ("anthropic-beta", "b, a"),
            version,
            ("anthropic-user-profile-id", "p"),
            ("anthropic-beta", "c,a ,"),
        ]);
        let expected = [
            ("anthropic-beta", "a,b,c"),
            ("anthropic-user-profile-id", "p"),
            version,
            ("anthropic-workspace-id", "wrkspc_1"),
        ];
        assert_eq!(lines, owned(&expected));
    }

    #[test]
    fn a_version_is_required() {
        for headers in [
            HeaderMap::new(),
            [(VERSION.parse().unwrap(), HeaderValue::from_static(" "))].into_iter().collect(),
        ] {
            let problem = key_headers(&headers).unwrap_err();
            assert_eq!(
                (problem.status.as_u16(), &*problem.message),
                (400, "anthropic-version: header is required")
            );
        }
    }
}
