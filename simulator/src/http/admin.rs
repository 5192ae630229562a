//! `/_sim/...`: looking into the simulator and steering it, for tests in other processes and languages.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::credential::hex;
use crate::faults::{FaultSet, Faults};
use crate::ledger::Entry;
use crate::shared::Shared;
use crate::summary::Summary;

/// Ledger entries in one answer when the caller does not say.
const PAGE: usize = 1_000;

type Shell = State<Arc<Shared>>;

pub(super) fn routes() -> Router<Arc<Shared>> {
    Router::new()
        .route("/_sim/state", get(state))
        .route("/_sim/ledger", get(ledger))
        .route("/_sim/bodies", get(bodies))
        .route("/_sim/faults", get(faults).post(set_faults))
        .route("/_sim/reset", post(reset))
        .route("/_sim/release", post(release))
}

async fn state(State(shared): Shell) -> Json<Summary> {
    Json(shared.with(Summary::of))
}

#[derive(Deserialize)]
struct LedgerQuery {
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

async fn ledger(State(shared): Shell, Query(query): Query<LedgerQuery>) -> Json<Value> {
    let (total, entries): (usize, Vec<Value>) = shared.with(|world, now| {
        world.execute(now);
        let entries = world.core.ledger.entries().skip(query.offset).take(query.limit.unwrap_or(PAGE));
        (world.core.ledger.entries().count(), entries.map(view).collect())
    });
    Json(json!({"total": total, "offset": query.offset, "entries": entries}))
}

fn view(entry: &Entry) -> Value {
    json!({
        "provider": entry.provider,
        "credential": entry.credential.as_str(),
        "batch": entry.batch.as_deref(),
        "custom_id": entry.custom_id.as_deref(),
        "model": &*entry.model,
        "endpoint": entry.endpoint,
        "body_sha256": hex(&entry.body_hash),
        "marker": entry.marker.as_deref(),
        "input_tokens": entry.input_tokens,
        "output_tokens": entry.output_tokens,
        "mode": entry.mode,
        "status": entry.status,
        "billed": entry.billed,
    })
}

#[derive(Deserialize)]
struct BodiesQuery {
    custom_id: Option<String>,
    marker: Option<String>,
}

/// The raw bodies received, as text: by `custom_id`, or by marker for synchronous calls too.
async fn bodies(State(shared): Shell, Query(query): Query<BodiesQuery>) -> Json<Vec<String>> {
    let bodies: Vec<Bytes> = shared.with(|world, now| {
        world.execute(now);
        let wanted = |entry: &&Entry| {
            (query.custom_id.is_some() && entry.custom_id.as_deref() == query.custom_id.as_deref())
                || (query.marker.is_some() && entry.marker.as_deref() == query.marker.as_deref())
        };
        world.core.ledger.entries().filter(wanted).filter_map(|entry| entry.body.clone()).collect()
    });
    Json(bodies.iter().map(|body| String::from_utf8_lossy(body).into_owned()).collect())
}

async fn faults(State(shared): Shell) -> Json<FaultSet> {
    Json(shared.with(|world, _| world.core.faults.set().clone()))
}

async fn set_faults(State(shared): Shell, body: Bytes) -> Response {
    match serde_json::from_slice::<FaultSet>(&body) {
        Ok(set) => {
            shared.with(|world, _| world.core.faults = Faults::new(set));
            Json(json!({"ok": true})).into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({"error": error.to_string()}))).into_response(),
    }
}

async fn reset(State(shared): Shell) -> Json<Value> {
    shared.reset();
    Json(json!({"ok": true}))
}

#[derive(Deserialize)]
struct ReleaseQuery {
    batch: Option<String>,
}

async fn release(State(shared): Shell, Query(query): Query<ReleaseQuery>) -> Json<Value> {
    let released = shared.with(|world, now| world.release(now, query.batch.as_deref()));
    shared.wake();
    Json(json!({"released": released}))
}
