//! The made-up provider's server: work is done when it was asked about once.

use std::sync::{Arc, Mutex};

use anyhow::Result;
use axum::extract::{Path, State};
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Everything that was ordered, each with how often it was asked about and whether it was deleted.
pub type Works = Arc<Mutex<Vec<Work>>>;

pub struct Work {
    pub orders: Value,
    pub deleted: bool,
    label: Value,
    asked: usize,
}

/// Starts one; it ends with the runtime. Returns its base URL.
pub async fn start(works: Works) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/api", listener.local_addr()?);
    let routes = Router::new()
        .route("/work", post(order).get(list))
        .route("/work/{nr}", delete(forget).get(look))
        .route("/work/{nr}/outcome", get(outcome))
        .with_state(works);
    tokio::spawn(async { axum::serve(listener, Router::new().nest("/api", routes)).await });
    Ok(url)
}

fn view(nr: usize, work: &Work) -> Value {
    let state = if work.asked > 1 { "done" } else { "doing" };
    json!({"nr": nr.to_string(), "label": work.label, "state": state, "orders": work.orders.as_array().unwrap().len()})
}

async fn order(State(works): State<Works>, Json(mut body): Json<Value>) -> Json<Value> {
    let mut works = works.lock().unwrap();
    works.push(Work { orders: body["orders"].take(), deleted: false, label: body["label"].take(), asked: 0 });
    Json(view(works.len() - 1, &works[works.len() - 1]))
}

async fn list(State(works): State<Works>) -> Json<Value> {
    let works = works.lock().unwrap();
    Json(works.iter().enumerate().map(|(nr, work)| view(nr, work)).collect())
}

async fn look(State(works): State<Works>, Path(nr): Path<usize>) -> Json<Value> {
    let mut works = works.lock().unwrap();
    works[nr].asked += 1;
    Json(view(nr, &works[nr]))
}

async fn outcome(State(works): State<Works>, Path(nr): Path<usize>) -> String {
    let line = |order: &Value| {
        let text = &order["order"]["messages"][0]["content"];
        let line = match text == "nonsense" {
            true => {
                json!({"ref": order["ref"], "refused": {"error": {"message": "No.", "type": "invalid_request_error"}}})
            }
            false => json!({"ref": order["ref"], "says": {"echo": text}}),
        };
        line.to_string() + "\n"
    };
    works.lock().unwrap()[nr].orders.as_array().unwrap().iter().map(line).collect()
}

async fn forget(State(works): State<Works>, Path(nr): Path<usize>) -> Json<Value> {
    works.lock().unwrap()[nr].deleted = true;
    Json(json!({}))
}
