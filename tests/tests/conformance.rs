//! Every provider meets the same cases: answers matched, errors in its dialect, nothing lost, nothing billed twice.
//!
//! Each cell ends with every call answered exactly once or its callers gone, every own answer billed once and nothing else,
//! and nothing left at the provider.
#![allow(clippy::print_stdout, missing_docs)]

use std::env;

use tests::conformance::run;

#[tokio::test(flavor = "multi_thread")]
async fn every_provider_meets_every_case() {
    let only = |name| env::var(name).unwrap_or_default();
    let table = run(&only("LLM_PROXY_E2E_PROVIDER"), &only("LLM_PROXY_E2E_CASE")).await;
    println!("{table}");
    let broken = table.broken();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
    assert!(table.ran() > 0, "nothing was chosen");
}
