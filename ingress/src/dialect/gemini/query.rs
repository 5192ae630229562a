//! The query of a call, where Google takes a key and how an answer is written (Google's system parameters).

use std::borrow::Cow;

use super::stream::Form;

/// The parameters of one call.
#[derive(Default)]
pub(super) struct Query<'a> {
    /// Every `key`, percent-decoded. Secret.
    pub keys: Vec<Cow<'a, [u8]>>,
    /// The answer's form, where `alt` says one that we know how to write.
    pub form: Option<Form>,
    /// What we do not know how to honour, as it is written, joined again by `&`.
    pub rest: Option<String>,
}

impl<'a> Query<'a> {
    pub fn read(query: Option<&'a str>) -> Self {
        let mut read = Self::default();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (&*decoded(name), &*decoded(value)) {
                (b"key", _) => read.keys.push(decoded(value)),
                (b"alt" | b"$alt", b"sse") if read.form.is_none() => read.form = Some(Form::Sse),
                (b"alt" | b"$alt", b"json") if read.form.is_none() => read.form = Some(Form::Array),
                // White space alone.
                (b"prettyPrint" | b"$prettyPrint", b"true" | b"false" | b"1" | b"0") => {}
                _ => read.keep(pair),
            }
        }
        read
    }

    fn keep(&mut self, pair: &str) {
        match &mut self.rest {
            Some(rest) => rest.extend(["&", pair]),
            None => self.rest = Some(pair.to_owned()),
        }
    }
}

impl Form {
    /// The form that the query of a `streamGenerateContent` asks for with `alt`: an array unless it says `sse`.
    pub fn of(query: Option<&str>) -> Self {
        Query::read(query).form.unwrap_or(Self::Array)
    }
}

/// What of a query a batch cannot honour, as it is written: everything but one `key`, one `alt` of `json` or `sse`, and
/// `prettyPrint`. A call that has such a rest is to be relayed, whatever its credential.
pub fn rest(query: Option<&str>) -> Option<String> {
    Query::read(query).rest
}

/// A name or a value without its percent signs and pluses; what is no escape stays as it is.
fn decoded(text: &str) -> Cow<'_, [u8]> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        (rest, _) = match (first, tail) {
            (b'%', [high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                (after, bytes.push(digit(*high) * 16 + digit(*low)))
            }
            (b'+', _) => (tail, bytes.push(b' ')),
            _ => (tail, bytes.push(*first)),
        };
    }
    Cow::Owned(bytes)
}

/// The value of a hexadecimal digit.
fn digit(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20).wrapping_sub(b'a').wrapping_add(10),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_known_is_taken_out() {
        for (query, keys, form, left) in [
            (None, &[][..], Form::Array, None),
            (Some(""), &[], Form::Array, None),
            (Some("alt=sse"), &[], Form::Sse, None),
            (Some("%24alt=ss%65&key=a%2Db"), &["a-b"], Form::Sse, None),
            (Some("key=k&alt=json&prettyPrint=false"), &["k"], Form::Array, None),
            (Some("&&%6Bey=k&$prettyPrint=1&"), &["k"], Form::Array, None),
            (Some("key=a&key=b"), &["a", "b"], Form::Array, None),
            (Some("key"), &[""], Form::Array, None),
            (Some("fields=a%20b&key=k&x"), &["k"], Form::Array, Some("fields=a%20b&x")),
            (Some("$alt=json;enum-encoding=int"), &[], Form::Array, Some("$alt=json;enum-encoding=int")),
            (Some("alt=proto"), &[], Form::Array, Some("alt=proto")),
            (Some("alt=sse&alt=json"), &[], Form::Sse, Some("alt=json")),
            (Some("Key=k&ALT=sse"), &[], Form::Array, Some("Key=k&ALT=sse")),
            (Some("access_token=t"), &[], Form::Array, Some("access_token=t")),
        ] {
            let read = Query::read(query);
            let found: Vec<&[u8]> = read.keys.iter().map(|key| &**key).collect();
            assert_eq!(found, keys.iter().map(|key| key.as_bytes()).collect::<Vec<_>>(), "{query:?}");
            assert_eq!((Form::of(query), rest(query).as_deref()), (form, left), "{query:?}");
        }
    }

    #[test]
    fn odd_escapes_stay() {
        assert_eq!(*decoded("%"), *b"%");
        assert_eq!(*decoded("%4"), *b"%4");
        assert_eq!(*decoded("%4g%zz%+a%41"), *b"%4g%zz% aA");
        assert_eq!(*decoded("%ff%0A"), *b"\xff\n");
    }

    proptest! {
        #[test]
        fn every_byte_can_be_escaped(bytes in prop::collection::vec(any::<u8>(), 0..20), upper in any::<bool>()) {
            let escape = |byte: &u8| if upper { format!("%{byte:02X}") } else { format!("%{byte:02x}") };
            let escaped: String = bytes.iter().map(escape).collect();
            prop_assert_eq!(&*decoded(&escaped), &*bytes);
        }

        #[test]
        fn any_query_is_read(query in "[a-z$%+=&;]{0,40}") {
            let rest = rest(Some(&query));
            let left: Vec<&str> = rest.iter().flat_map(|rest| rest.split('&')).collect();
            prop_assert!(left.iter().all(|&pair| query.split('&').any(|found| found == pair)));
        }
    }
}
