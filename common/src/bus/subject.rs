//! Which subjects are taken: the same on every bus, so that what works in one process works on NATS.

use super::BusError;

/// Longest subject in bytes. NATS ends a connection over a protocol line of more than 4,096 bytes, which holds the
/// subject, the reply subject and two numbers.
const MAX_BYTES: usize = 1024;

/// Most tokens of a subject, so that the places of its wildcards fit into a `u64`.
const MAX_TOKENS: usize = u64::BITS as usize;

/// Checks a subject that is published to, or a reply subject: no wildcard in it.
pub(super) fn check_literal(subject: &str) -> Result<(), BusError> {
    check(subject, |token| !token.contains('*'))
}

/// Checks a subject that is subscribed to: `*` only as a whole token.
pub(super) fn check_pattern(subject: &str) -> Result<(), BusError> {
    check(subject, |token| token == "*" || !token.contains('*'))
}

fn check(subject: &str, stars_are_right: impl Fn(&str) -> bool) -> Result<(), BusError> {
    let mut tokens = 0;
    let good = subject.len() <= MAX_BYTES
        && subject.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'>')
        && subject.split('.').all(|token| {
            tokens += 1;
            tokens <= MAX_TOKENS && !token.is_empty() && stars_are_right(token)
        });
    if good { Ok(()) } else { Err(BusError::BadSubject(subject.chars().take(MAX_BYTES).collect())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for good in ["a", "llmp.v1.ing.0a.r.7", "_R.x.1", "$SYS"] {
            assert_eq!(check_literal(good), Ok(()), "{good}");
        }
        for bad in ["", ".", "a.", ".a", "a..b", "a b", "a\r\nPUB", "a\t", "a.*", "a*", "a.>", "é", "a\0"] {
            assert_eq!(check_literal(bad), Err(BusError::BadSubject(bad.into())));
        }
    }

    #[test]
    fn patterns() {
        for good in ["*", "a.*", "a.*.c", "a.b"] {
            assert_eq!(check_pattern(good), Ok(()), "{good}");
        }
        for bad in ["", "a*", "a.b*", "**", "a.>", ">", "a..*", "* "] {
            assert_eq!(check_pattern(bad), Err(BusError::BadSubject(bad.into())));
        }
    }

    #[test]
    fn bounds() {
        assert!(check_literal(&"x".repeat(MAX_BYTES)).is_ok());
        assert!(check_literal(&"x".repeat(MAX_BYTES + 1)).is_err());
        assert!(check_pattern(&vec!["*"; MAX_TOKENS].join(".")).is_ok());
        assert!(check_pattern(&vec!["*"; MAX_TOKENS + 1].join(".")).is_err());
    }
}
