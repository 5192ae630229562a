use proptest::prelude::*;

use super::*;

/// What arrives of bytes that come in pieces of this size.
fn passed(bytes: &[u8], piece: usize) -> Vec<u8> {
    let mut strict = Strict::default();
    let mut bytes = bytes.to_vec();
    bytes.chunks_mut(piece).for_each(|piece| strict.pass(piece));
    bytes
}

fn passes(bytes: &[u8]) -> bool {
    let whole = passed(bytes, bytes.len());
    for piece in 1..bytes.len() {
        assert_eq!(whole, passed(bytes, piece), "in pieces of {piece}: {:?}", String::from_utf8_lossy(bytes));
    }
    whole == bytes
}

/// Whether requests with these lines and this body pass, with an honest one behind them.
fn takes(lines: &str, body: &str) -> bool {
    let next = "GET /next HTTP/1.1\r\nHost: h\r\n\r\n";
    passes(format!("POST / HTTP/1.1\r\n{lines}\r\n{body}{next}").as_bytes())
}

#[test]
fn what_has_one_meaning_passes() {
    for (lines, body) in [
        ("", ""),
        ("Host: h\r\nContent-Length: 5\r\n", "a\nb\rc"),
        ("content-length:0\r\n", ""),
        ("content-length: \t 3 \t\r\n", "abc"),
        ("Transfer-Encoding: chunked\r\n", "0\r\n\r\n"),
        ("transfer-encoding: Chunked \r\n", "5\r\na\nb\rc\r\n00A\r\n0123456789\r\n0\r\n\r\n"),
        (
            "transfer-encoding: chunked\r\n",
            "1;a=b;c=\"d\"\r\nx\r\n1 ; a\r\nx\r\n0;end\r\nx-sum: 1\r\nb: c\r\n\r\n",
        ),
        ("x: content-length: 5\r\nx-content-length: 7\r\n", ""),
        ("Upgrade: h2c\r\nConnection: Upgrade\r\nContent-Length: 1\r\n", "x"),
        ("x: y\r\n\u{e9}: \u{e9}\r\n", ""),
    ] {
        assert!(takes(lines, body), "{lines:?} {body:?}");
    }
    let long = "x".repeat(3 * KEPT);
    assert!(takes(&format!("{long}: 1\r\nx: {long}\r\nhost: {long}\r\n"), ""));
    assert!(passes(b"\r\n\r\nGET / HTTP/1.1\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn what_has_two_is_refused() {
    let long = " ".repeat(KEPT);
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length:\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding:\r\n",
        "Host: a\r\nHost: a\r\n",
        "a: b\nc: d\r\n",
        "a: b\rc: d\r\n",
        "a: b\r\r\n",
        "a: b\n",
        "no colon\r\n",
        &format!("Content-Length:{long}5\r\n"),
        &format!("Transfer-Encoding:{long}chunked\r\n"),
    ] {
        assert!(!takes(lines, "hello"), "{lines:?}");
    }
    assert!(!passes(b"GET / HTTP/1.1\n\n") && !passes(b"\nGET / HTTP/1.1\r\n\r\n"));
}

#[test]
fn chunks_are_as_they_should_be() {
    let long = format!("1;{}\r\nx\r\n", "e".repeat(MAX_CHUNK_LINE));
    for body in [
        "x\r\n",
        "\r\n",
        ";\r\n",
        "-1\r\nx\r\n",
        "+1\r\nx\r\n",
        "0x1\r\nx\r\n",
        "1 1\r\nx\r\n",
        "1x\r\nx\r\n",
        "1\nx\r\n",
        "1;a\nx\r\n",
        "1;a\0\r\nx\r\n",
        "1\r\nxy\r\n",
        "1\r\nx\n",
        "1000000000000000\r\nx\r\n",
        "0000000000000001\r\nx\r\n",
        "0\r\na: b\n\r\n",
        &long,
    ] {
        assert!(!takes("Transfer-Encoding: chunked\r\n", body), "{body:?}");
    }
}

#[test]
fn other_protocols_are_left_alone() {
    let upgrade = b"GET / HTTP/1.1\r\nUpgrade: websocket\r\n\r\n\nany\rthing\0Content-Length: x\n";
    assert!(passes(upgrade));
    let mut strict = Strict::default();
    strict.free();
    let mut bytes = b"\n\n\n".to_vec();
    strict.pass(&mut bytes);
    assert_eq!(bytes, b"\n\n\n");
}

proptest! {
    /// Nothing panics, nothing before what is refused is changed, and pieces do not matter.
    #[test]
    fn any_bytes(parts in prop::collection::vec(prop_oneof![
        Just("GET / HTTP/1.1\r\n"), Just("Content-Length: 3\r\n"), Just("Transfer-Encoding: chunked\r\n"),
        Just("\r\n"), Just("\n"), Just("\r"), Just("abc"), Just("3\r\n"), Just("0\r\n"), Just("a: b\r\n"), Just("\0"),
    ], 0..20), piece in 1_usize..9) {
        let bytes = parts.concat().into_bytes();
        let whole = passed(&bytes, bytes.len().max(1));
        prop_assert_eq!(&whole, &passed(&bytes, piece));
        if let Some(at) = (0..bytes.len()).find(|at| whole[*at] != bytes[*at]) {
            prop_assert!(whole[at..].iter().all(|byte| *byte == 0));
        }
    }
}
