use super::server::{Reply, Seen, Server, answer, status};
use super::{client, credential};
use crate::openai::{ApiError, Client, ContentStream, Kind, LineSplitter};

const TEXT: &str = "{\"a\":\"\u{2028}\"}\nsecond line\n\nlast\n";

async fn rest(stream: &mut ContentStream) -> Result<String, ApiError> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.chunk().await? {
        all.extend_from_slice(&chunk);
    }
    Ok(String::from_utf8(all).unwrap())
}

async fn download(client: &Client, offset: u64) -> Result<String, ApiError> {
    rest(&mut client.content(&credential(), "file-1", offset).await?).await
}

fn offset(seen: &Seen) -> Option<usize> {
    let range = seen.header("range")?;
    Some(range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap())
}

/// Serves `TEXT` from the asked byte on.
fn ranged(seen: &Seen) -> Vec<u8> {
    let Some(start) = offset(seen) else { return answer("200 OK", "", TEXT.as_bytes()) };
    if start >= TEXT.len() {
        let range = format!("content-range: bytes */{}\r\n", TEXT.len());
        return answer("416 Range Not Satisfiable", &range, b"");
    }
    let range = format!("content-range: bytes {start}-{}/{}\r\n", TEXT.len() - 1, TEXT.len());
    answer("206 Partial Content", &range, &TEXT.as_bytes()[start..])
}

#[tokio::test]
async fn any_offset_works_with_and_without_ranges() {
    let with = Server::start(|seen| Reply::Keep(ranged(seen))).await;
    let without = Server::start(|_| status("200 OK", TEXT)).await;
    let ignorant = Server::start(|seen| match offset(seen) {
        Some(_) => status("416 Range Not Satisfiable", ""),
        None => status("200 OK", TEXT),
    })
    .await;
    for server in [&with, &without, &ignorant] {
        let client = client(&server.base());
        for start in (0..=TEXT.len()).filter(|start| TEXT.is_char_boundary(*start)) {
            assert_eq!(download(&client, start as u64).await.unwrap(), TEXT[start..]);
        }
    }
    let seen = with.seen();
    assert_eq!((seen[0].line.as_str(), seen[0].header("range")), ("GET /v1/files/file-1/content", None));
    assert_eq!(seen[1].header("range"), Some("bytes=1-"));
}

#[tokio::test]
async fn a_cut_download_is_an_error_and_resumes_by_line() {
    // Each answer is cut one byte later than the one before.
    let with = Server::start(|seen| cut(ranged(seen), seen.number + 1)).await;
    let without = Server::start(|seen| cut(answer("200 OK", "", TEXT.as_bytes()), seen.number + 1)).await;
    for server in [with, without] {
        let client = client(&server.base());
        let mut splitter = LineSplitter::default();
        let mut lines = Vec::new();
        let mut errors = 0;
        loop {
            let mut stream = client.content(&credential(), "file-1", splitter.offset()).await.unwrap();
            let end = loop {
                match stream.chunk().await {
                    Ok(Some(chunk)) => splitter.push(chunk),
                    end => break end,
                }
                while let Some(line) = splitter.next_line().unwrap() {
                    lines.push(String::from_utf8(line.to_vec()).unwrap());
                }
            };
            match end {
                Ok(_) => break,
                Err(error) => assert!(matches!(error.kind(), Kind::Ambiguous(None)), "{error:?}"),
            }
            assert_eq!(stream.chunk().await.unwrap(), None);
            splitter.rewind();
            errors += 1;
            assert!(errors < 100);
        }
        assert_eq!(splitter.finish(), None);
        assert_eq!(lines, TEXT.trim_end().split('\n').collect::<Vec<_>>());
        assert_eq!(splitter.offset(), TEXT.len() as u64);
        assert!(errors > 5, "{errors}");
    }
}

/// The answer's head and so many bytes of its body, if it has more.
fn cut(mut answer: Vec<u8>, bytes: usize) -> Reply {
    let body = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
    answer.truncate(body + bytes);
    Reply::Close(answer)
}

#[tokio::test]
async fn broken_chunks_short_ranges_and_resets_are_errors() {
    let broken: [(u64, fn() -> Reply); 6] = [
        (0, || Reply::Close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n".into())),
        (0, || Reply::Close(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nno\r\n".into())),
        (0, || Reply::Reset(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".into())),
        // A part of the range that was asked for, and a file that has shrunk.
        (2, || Reply::Keep(answer("206 Partial Content", "content-range: bytes 2-3/9\r\n", b"cd"))),
        (2, || Reply::Keep(answer("200 OK", "", b"a"))),
        (0, || Reply::Keep(answer("200 OK", "content-encoding: gzip\r\n", b"a"))),
    ];
    for (number, (offset, reply)) in broken.into_iter().enumerate() {
        let server = Server::start(move |_| reply()).await;
        let error = download(&client(&server.base()), offset).await.unwrap_err();
        assert!(matches!(error.kind(), Kind::Ambiguous(None)), "{number}: {error:?}");
    }
}

#[tokio::test]
async fn another_range_than_asked_for_is_refused_and_an_earlier_one_skipped() {
    let server = Server::start(|seen| {
        let range = ["bytes 5-8/9", "bytes 1-8/9", "elephants"][seen.number];
        Reply::Keep(answer("206 Partial Content", &format!("content-range: {range}\r\n"), b"bcdefghi"))
    })
    .await;
    let client = client(&server.base());
    assert!(download(&client, 3).await.is_err());
    assert_eq!(download(&client, 3).await.unwrap(), "defghi");
    assert!(download(&client, 3).await.is_err());
}

#[tokio::test]
async fn an_empty_file_and_a_missing_one() {
    let server = Server::start(|seen| match seen.number {
        0 => status("200 OK", ""),
        _ => status("404 Not Found", r#"{"error":{"message":"No such File object: file-1"}}"#),
    })
    .await;
    let client = client(&server.base());
    assert_eq!(download(&client, 0).await.unwrap(), "");
    let error = download(&client, 0).await.unwrap_err();
    assert!(matches!(error.kind(), Kind::Rejected(_)));
    assert_eq!(error.answer().unwrap().message(), "No such File object: file-1");
}

#[tokio::test]
async fn a_download_that_stops_moving_ends() {
    let server =
        Server::start(|_| Reply::Keep(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".into())).await;
    let mut stream = client(&server.base()).content(&credential(), "file-1", 0).await.unwrap();
    assert_eq!(stream.total(), Some(9));
    assert_eq!(stream.chunk().await.unwrap().unwrap(), "abc");
    tokio::time::pause();
    let error = stream.chunk().await.unwrap_err();
    assert!(error.message().contains("stalled"), "{error}");
    assert_eq!(stream.position(), 3);
}
