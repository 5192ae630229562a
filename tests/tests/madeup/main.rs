//! Adding a provider needs one module: one that nobody has answers calls end to end, and no other crate knows of it.
#![allow(clippy::unwrap_used, missing_docs)]

mod provider;
mod server;

use anyhow::Result;
use providers::{Upstream, Upstreams};
use reqwest::Client;
use serde_json::{Value, json};
use simulator::Config;
use tests::calls::post;
use tests::deployment::{Deployment, Kind, Tweaks};

use provider::Madeup;
use server::Works;

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_of_one_module_answers_calls() -> Result<()> {
    let works = Works::default();
    let base_url = server::start(works.clone()).await?;
    let upstream = Upstream::of(&Madeup, "elsewhere", &base_url);
    // Sealed when both calls are there, however slow the machine.
    let tweaks =
        Tweaks { batcher: vec!["--window=60s", "--idle=60s", "--max-requests=2"], ..Tweaks::default() };
    let upstreams = |_: &simulator::Handle| Ok(Upstreams::from_iter([upstream]));
    let deployment = Deployment::start_with(Kind::Embedded, Config::default(), tweaks, upstreams).await?;

    let proxy = format!("http://{}", deployment.address());
    let client = Client::builder().no_proxy().build()?;
    let body =
        |text: &str| json!({"model": "m", "messages": [{"role": "user", "content": text}]}).to_string();
    let call = |text| post(&client, &proxy, "elsewhere/v1/chat/completions", "key", body(text));
    let (good, bad) = tokio::try_join!(call("sense"), call("nonsense"))?;
    let read =
        |(status, body): (u16, bytes::Bytes)| (status, serde_json::from_slice::<Value>(&body).unwrap());
    assert_eq!(read(good), (200, json!({"echo": "sense"})));
    let refused = json!({"error": {"message": "No.", "type": "invalid_request_error"}});
    assert_eq!(read(bad), (400, refused));

    deployment.stop().await?;
    let works = works.lock().unwrap();
    assert_eq!((works.len(), works[0].orders.as_array().unwrap().len()), (1, 2));
    assert!(works[0].deleted, "its outcome was left there");
    Ok(())
}
