//! Answers from memory: a provider's for a call that was held, and errors of ours.

use bytes::Bytes;
use common::outcome::{Outcome, Response as Provided, Route};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};

use super::headers::{COST, INPUT_TOKENS, JOB, OUTPUT_TOKENS, QUEUED_MS, RELAY_REASON, ROUTE, SAVED};
use crate::accounts::Receipt;
use crate::dialect::{Dialect, EventStream, Problem, X_SHOULD_RETRY, of};
use crate::hold::Ended;
use crate::relay::is_hop_by_hop;
use crate::stats::Answered;

/// An answer in memory.
pub(super) fn whole(status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// An error of ours, in the dialect of the path that was called.
pub(super) fn refusal(dialect: Dialect, problem: &Problem) -> Response<Bytes> {
    let (status, headers, body) = of(dialect).render(problem);
    whole(status, headers, body)
}

/// The answer to a call that was held, and what to count it as. With `events` a success is given as a stream.
pub(super) fn batched(
    dialect: Dialect,
    ended: &Ended,
    events: Option<&dyn EventStream>,
) -> (Response<Bytes>, Answered) {
    let (mut response, how) = match &*ended.outcome {
        Outcome::Response(provided) if provided.status.is_success() => succeeded(dialect, provided, events),
        Outcome::Response(provided) => {
            let good = provided.status.is_redirection();
            (verbatim(provided), if good { Answered::Success } else { Answered::Failure })
        }
        Outcome::Fault(fault) => (refusal(dialect, &fault.clone().into()), Answered::Synthesized),
    };
    let queued = u64::try_from(ended.queued.as_millis()).unwrap_or(u64::MAX);
    let failed = !response.status().is_success();
    let headers = response.headers_mut();
    headers.insert(ROUTE, HeaderValue::from_static(ended.outcome.route().as_str()));
    if let Some(reason) = ended.reason {
        headers.insert(RELAY_REASON, HeaderValue::from_static(reason.as_str()));
    }
    headers.insert(QUEUED_MS, HeaderValue::from(queued));
    if let Some(receipt) = &ended.receipt {
        add_receipt(headers, receipt);
    }
    if ended.replayed && failed {
        // It has failed for good: trying again would only give the same once more.
        headers.insert(X_SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    (response, how)
}

fn add_receipt(headers: &mut HeaderMap, receipt: &Receipt) {
    headers.insert(INPUT_TOKENS, HeaderValue::from(receipt.input));
    headers.insert(OUTPUT_TOKENS, HeaderValue::from(receipt.output));
    // Without a price nothing is said.
    let Some(cost) = receipt.cost else { return };
    for (name, amount) in [(COST, cost.paid), (SAVED, cost.saved())] {
        if let Ok(value) = HeaderValue::try_from(amount.to_string()) {
            headers.insert(name, value);
        }
    }
}

fn succeeded(
    dialect: Dialect,
    provided: &Provided,
    events: Option<&dyn EventStream>,
) -> (Response<Bytes>, Answered) {
    let mut response = verbatim(provided);
    let Some(events) = events else { return (response, Answered::Success) };
    match events.finish(&provided.body) {
        Ok(stream) => {
            response.headers_mut().insert(header::CONTENT_TYPE, events.content_type());
            *response.body_mut() = stream;
            (response, Answered::Success)
        }
        Err(problem) => (refusal(dialect, &problem.into()), Answered::Synthesized),
    }
}

fn verbatim(provided: &Provided) -> Response<Bytes> {
    let mut headers = HeaderMap::with_capacity(provided.headers.len() + 4);
    for (name, value) in &provided.headers {
        // What came alone was asked for as it is; a provider that compresses it all the same says so.
        let coded = provided.route != Route::Batch && name == header::CONTENT_ENCODING;
        if coded || !is_framing(name) {
            headers.append(name, value.clone());
        }
    }
    headers.entry(header::CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    if let Ok(job) = HeaderValue::try_from(&provided.job)
        && !provided.job.is_empty()
    {
        headers.insert(JOB, job);
    }
    whole(provided.status, headers, provided.body.clone())
}

/// Lines about how a body travels; this one travels anew, out of a line of a result file.
fn is_framing(name: &HeaderName) -> bool {
    is_hop_by_hop(name) || name == header::CONTENT_LENGTH || name == header::CONTENT_ENCODING
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use common::outcome::{Fault, FaultClass};

    fn ended(outcome: Outcome) -> Ended {
        Ended::new(outcome.into(), Duration::from_millis(4321))
    }

    #[test]
    fn a_providers_answer_is_given_verbatim() {
        let mut headers = HeaderMap::new();
        headers.insert("x-request-id", "req_1".parse().unwrap());
        headers.insert("content-length", "9999".parse().unwrap());
        headers.insert("transfer-encoding", "chunked".parse().unwrap());
        let body = Bytes::from_static(b"{\"n\": 1e400,\n \"n\": 2}");
        let provided = Provided {
            status: StatusCode::BAD_REQUEST,
            headers,
            job: "batch_1".into(),
            body: body.clone(),
            unbatchable: false,
            route: Route::Batch,
        };
        let (response, how) = batched(Dialect::OpenAi, &ended(Outcome::Response(provided)), None);
        assert_eq!((response.status().as_u16(), how), (400, Answered::Failure));
        let lines = response.headers();
        assert_eq!(lines["x-request-id"], "req_1");
        assert_eq!(lines["content-type"], "application/json");
        assert_eq!(
            (&lines[ROUTE], &lines[JOB], &lines[QUEUED_MS]),
            (&"batch".parse().unwrap(), &"batch_1".parse().unwrap(), &"4321".parse().unwrap())
        );
        assert!(!lines.contains_key("content-length") && !lines.contains_key("transfer-encoding"));
        assert_eq!(response.into_body(), body);
    }

    #[test]
    fn faults_carry_our_lines_too() {
        let (response, how) = batched(
            Dialect::OpenAi,
            &ended(Outcome::Fault(Fault::new(FaultClass::Expired, "expired", "too late"))),
            None,
        );
        assert_eq!((response.status().as_u16(), how), (504, Answered::Synthesized));
        assert_eq!(response.headers()[ROUTE], "batch");
        assert!(!response.headers().contains_key(JOB));
        assert!(!response.headers().contains_key("x-should-retry"));
    }

    #[test]
    fn an_error_that_is_told_again_is_final() {
        let fault = Fault::new(FaultClass::Unavailable, "code", "words");
        let ended = Ended { replayed: true, ..ended(Outcome::Fault(fault)) };
        assert_eq!(batched(Dialect::OpenAi, &ended, None).0.headers()["x-should-retry"], "false");
    }
}
