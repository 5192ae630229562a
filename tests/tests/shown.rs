//! What `Debug` shows of values that hold a key or a body: neither.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use common::ids::{Bid, Digest, Fingerprint, Pid, Rid};
use common::key::BatchKey;
use common::outcome::{Outcome, Response, Route};
use common::pairing::Pairing;
use common::seal::{BoxKeys, GrantKey, Keyring};
use common::wire;
use http::{HeaderMap, HeaderValue, StatusCode};
use ingress::core::{GrantDraft, Input, Output};
use ingress::hold::{Call, Ended};
use submitter::api::{Answer, Credential};

const KEY: &str = "sk-marker-0123456789";
const BODY: &str = "marker of a body";

/// Looks for both markers in what is shown: as text, and as numbers and escapes, which `Debug` makes of bytes.
#[track_caller]
fn hides(value: &impl Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        for marker in [KEY, BODY] {
            let numbers = format!("{:?}", marker.as_bytes());
            for form in [marker, numbers.trim_matches(['[', ']'])] {
                assert!(!text.contains(form), "{text}");
            }
        }
    }
}

fn credential() -> HeaderMap {
    let mut value = HeaderValue::try_from(format!("Bearer {KEY}")).unwrap();
    value.set_sensitive(true);
    HeaderMap::from_iter([(http::header::AUTHORIZATION, value)])
}

fn call() -> Call {
    let key = wire::BatchKey { fingerprint: Fingerprint::default().to_bytes(), ..Default::default() };
    let pairing = Pairing { digest: Digest::default(), idempotency: None, retry: false };
    let key = BatchKey::new(key).unwrap();
    Call {
        key,
        credential: Arc::new(credential()),
        body: Bytes::from_static(BODY.as_bytes()),
        inputs: 1,
        pairing,
        uri: Default::default(),
        plan: Default::default(),
        edit: None,
        tag: None,
    }
}

fn outcome() -> Outcome {
    let (status, headers, job) = (StatusCode::OK, HeaderMap::new(), String::new());
    Outcome::Response(Response {
        status,
        headers,
        job,
        body: Bytes::from_static(BODY.as_bytes()),
        unbatchable: false,
        route: Route::Batch,
    })
}

#[test]
fn an_ingress_shows_neither_credential_nor_body() {
    hides(&call());
    hides(&Input::Hold(Rid::default(), call(), ()));
    let draft = GrantDraft {
        bid: Bid::default(),
        epoch: 1,
        rids: Vec::new(),
        body_bytes: 0,
        lengths: Vec::new(),
        fence_files: Vec::new(),
        submitter: Pid::default(),
        public_key: Bytes::new(),
        fingerprint: Fingerprint::default(),
        credential: Arc::new(credential()),
    };
    hides(&Output::<()>::Grant(String::new(), draft));
    hides(&outcome());
    hides(&Ended::new(Arc::new(outcome()), Default::default()));
}

#[test]
fn what_is_sealed_shows_no_key() {
    let line = wire::Header { name: "authorization".into(), value: Bytes::from_static(KEY.as_bytes()) };
    hides(&wire::GrantSecret { credential: vec![line], key: Bytes::from_static(KEY.as_bytes()) });
    let secret = KEY.repeat(2).into_bytes();
    hides(&Keyring::new(&secret.into()).unwrap());
    let key = GrantKey::from_slice(&[7; 32]).unwrap();
    assert_eq!(format!("{key:?} {:?}", BoxKeys::generate().unwrap()), "GrantKey BoxKeys");
}

#[test]
fn a_submitter_shows_neither_credential_nor_answer() {
    hides(&Credential::new(credential()));
    let unmarked = HeaderMap::from_iter([(http::header::AUTHORIZATION, HeaderValue::from_static(KEY))]);
    hides(&Credential::new(unmarked));
    let body = Bytes::from(format!("{BODY} {KEY}"));
    hides(&Answer { status: 401, request_id: None, retry_after: None, should_retry: None, body });
}
