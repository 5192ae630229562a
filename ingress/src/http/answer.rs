//! Answers from memory: a provider's for a call that was held, and errors of ours.

use bytes::Bytes;
use common::outcome::{Outcome, Response as Provided};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::headers::{JOB, QUEUED_MS, ROUTE};
use super::payload::Payload;
use crate::dialect::{Problem, openai};
use crate::hold::Ended;
use crate::relay::is_hop_by_hop;
use crate::stats::Answered;

/// An answer in memory.
pub(super) fn whole(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Payload> {
    let mut response = Response::new(Payload::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An error of ours, in the dialect of the endpoint.
pub(super) fn refusal(problem: &Problem) -> Response<Payload> {
    let (status, headers, body) = openai::render(problem);
    whole(status, headers, body)
}

/// The answer to a call that was held, and what to count it as.
pub(super) fn batched(ended: Ended) -> (Response<Payload>, Answered) {
    let (mut response, how) = match ended.outcome {
        Outcome::Response(provided) => {
            let good = provided.status.is_success() || provided.status.is_redirection();
            (verbatim(provided), if good { Answered::Success } else { Answered::Failure })
        }
        Outcome::Fault(fault) => (refusal(&fault.into()), Answered::Synthesized),
    };
    let queued = u64::try_from(ended.queued.as_millis()).unwrap_or(u64::MAX);
    let headers = response.headers_mut();
    headers.insert(ROUTE, HeaderValue::from_static("batch"));
    headers.insert(QUEUED_MS, HeaderValue::from(queued));
    (response, how)
}

fn verbatim(provided: Provided) -> Response<Payload> {
    let mut headers = HeaderMap::with_capacity(provided.headers.len() + 4);
    for (name, value) in &provided.headers {
        if !is_framing(name) {
            headers.append(name, value.clone());
        }
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    if let Some(job) =
        Some(provided.job).filter(|job| !job.is_empty()).and_then(|job| HeaderValue::try_from(job).ok())
    {
        headers.insert(JOB, job);
    }
    whole(provided.status, headers, provided.body)
}

/// Lines about how a body travels; this one travels anew, out of a line of a result file.
fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || name == header::CONTENT_LENGTH || name == header::CONTENT_ENCODING
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use common::outcome::{Fault, FaultClass};
    use http_body_util::BodyExt;

    use super::*;

    fn ended(outcome: Outcome) -> Ended {
        Ended { outcome, queued: Duration::from_millis(4321) }
    }

    #[tokio::test]
    async fn a_providers_answer_is_given_verbatim() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "req_1".parse().unwrap());
        headers.insert("content-length", "9999".parse().unwrap());
        headers.insert("transfer-encoding", "chunked".parse().unwrap());
        let body = Bytes::from_static(b"{\"n\": 1e400,\n \"n\": 2}");
        let provided =
            Provided { status: StatusCode::BAD_REQUEST, headers, job: "batch_1".into(), body: body.clone() };
        let (response, how) = batched(ended(Outcome::Response(provided)));
        assert_eq!((response.status().as_u16(), how), (400, Answered::Failure));
        let lines = response.headers();
        assert_eq!(lines["x-request-id"], "req_1");
        assert_eq!(lines["content-type"], "application/json");
        assert_eq!(
            (&lines[ROUTE], &lines[JOB], &lines[QUEUED_MS]),
            (&"batch".parse().unwrap(), &"batch_1".parse().unwrap(), &"4321".parse().unwrap())
        );
        assert!(!lines.contains_key("content-length") && !lines.contains_key("transfer-encoding"));
        assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), body);
    }

    #[test]
    fn faults_carry_our_lines_too() {
        let (response, how) =
            batched(ended(Outcome::Fault(Fault::new(FaultClass::Expired, "expired", "too late"))));
        assert_eq!((response.status().as_u16(), how), (504, Answered::Synthesized));
        assert_eq!(response.headers()[ROUTE], "batch");
        assert!(!response.headers().contains_key(JOB));
    }
}
