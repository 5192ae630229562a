//! What a provider answers: files of result lines, and the objects of its API.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use providers::openai::parse_result_line;
use providers::{LineOutcome, Provider, Source, json};
use submitter::api::{Credential, LineSplitter};
use submitter::fuzzing::{answer, judged, page, records, reported};

/// The longest line in these files.
const LIMIT: usize = 512;

/// A result file that comes in chunks and is cut and resumed; the first byte says how.
pub(crate) fn results(data: &[u8]) {
    let Some((cut, file)) = data.split_first() else { return };
    let size = usize::from(*cut).max(1);
    let mut splitter = LineSplitter::with_limit(LIMIT);
    let mut lines = Vec::new();
    let mut cuts = 3;
    while let Some(rest) = usize::try_from(splitter.offset()).ok().and_then(|from| file.get(from..)) {
        if !read(&mut splitter, rest, size, &mut lines) {
            return;
        }
        cuts -= 1;
        if cuts == 0 {
            lines.extend(splitter.finish());
            break;
        }
        splitter.rewind();
    }
    let mut expected: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    expected.pop_if(|last| last.is_empty());
    assert_eq!(lines, expected);
    lines.iter().for_each(judge);
    records(file.chunks(size).map(Bytes::copy_from_slice));
}

/// Whether every line is short enough.
fn read(splitter: &mut LineSplitter, rest: &[u8], size: usize, lines: &mut Vec<Bytes>) -> bool {
    for chunk in rest.chunks(size) {
        splitter.push(Bytes::copy_from_slice(chunk));
        loop {
            match splitter.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    true
}

fn judge(line: &Bytes) {
    for response in judged(line) {
        assert!((100..600).contains(&response.status.as_u16()));
    }
    match parse_result_line(line) {
        Ok(parsed) => {
            assert!(!parsed.custom_id.is_empty());
            if let LineOutcome::Response { status, body, .. } = &parsed.outcome {
                assert!((100..600).contains(status));
                assert!(line.windows(body.len().max(1)).any(|part| *part == **body));
            }
        }
        Err(error) => assert!(error.to_string().len() < 120, "an error quotes a line"),
    }
}

const KEY: &str = "sk-proj-0123456789abcdefghijklmnop";

/// An answer of the provider's API: a status byte, lines of headers, an empty line, and the body.
pub(crate) fn objects(data: &[u8]) {
    let Some((status, rest)) = data.split_first() else { return };
    let end = rest.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = end.map_or((&[][..], rest), |end| (&rest[..end], &rest[end + 2..]));
    if let Ok(job) = json::parse(body).and_then(|value| providers::openai::read_job(&value)) {
        assert!(!job.id.is_empty());
    }
    page(body);
    providers::ALL.iter().for_each(|provider| document(*provider, body));
    let Some(credential) = Credential::bearer(KEY) else { panic!("a key is a header") };
    let headers = headers(head);
    let answer = answer(400 + u16::from(*status), &headers, Bytes::copy_from_slice(body));
    let shown = reported(&answer, &credential);
    assert!(!shown.contains(KEY), "{shown}");
    assert!(shown.len() < 4096 && !shown.contains(char::is_control));
}

/// A job, and results within it, whole or broken: what is taken out of a document stands in it.
fn document(provider: &dyn Provider, body: &[u8]) {
    if let Ok(job) = provider.read_job(body) {
        assert!(!job.id.is_empty());
    }
    let Source::Document(call) = provider.results("batch_1") else { return };
    let Ok(part) = provider.read_document(&call, body) else { return };
    for element in &part.elements {
        assert!(element.is_empty() || body.windows(element.len()).any(|text| *text == **element));
        if let Ok(line) = provider.read_result(element) {
            assert!(!line.custom_id.is_empty());
        }
    }
}

fn headers(lines: &[u8]) -> HeaderMap {
    let line = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        Some((name, HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?))
    };
    lines.split(|byte| *byte == b'\n').take(50).filter_map(line).collect()
}
