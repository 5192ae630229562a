//! The direction of dependencies between the crates of the workspace.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// The services: libraries that never depend on each other.
const SERVICES: [&str; 4] = ["ingress", "batcher", "submitter", "simulator"];
/// What services may depend on.
const BENEATH: [&str; 3] = ["common", "pricing", "providers"];

/// Names of what each crate of the workspace depends on, for development and building too.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let told = Command::new(cargo)
        .args(["metadata", "--no-deps", "--offline", "--format-version=1", "--manifest-path"])
        .arg(manifest)
        .output()
        .unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let metadata: Value = serde_json::from_slice(&told.stdout).unwrap();
    let name = |package: &Value| package["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let needed = package["dependencies"].as_array().unwrap();
            (name(package), needed.iter().map(name).collect())
        })
        .collect()
}

/// Those of the workspace among what a crate depends on.
fn own(dependencies: &BTreeMap<String, BTreeSet<String>>, name: &str) -> BTreeSet<String> {
    dependencies[name].iter().filter(|needed| dependencies.contains_key(*needed)).cloned().collect()
}

#[test]
fn dependencies_point_one_way() {
    let dependencies = dependencies();
    let known: BTreeSet<&str> = dependencies.keys().map(String::as_str).collect();
    let expected = [
        "batcher",
        "common",
        "fuzz",
        "ingress",
        "llm-proxy",
        "model",
        "pricing",
        "providers",
        "simulation",
        "simulator",
        "submitter",
        "tests",
    ];
    assert_eq!(known, expected.into(), "a new crate needs its place in this test");
    assert_eq!(own(&dependencies, "common"), [].into());
    assert_eq!(own(&dependencies, "pricing"), [].into());
    assert_eq!(own(&dependencies, "providers"), ["common", "pricing"].map(str::to_owned).into());
    // What is tested is not made of what it is tested against.
    assert_eq!(own(&dependencies, "simulator"), [].into());
    let beneath: BTreeSet<String> = BENEATH.map(str::to_owned).into();
    for service in SERVICES {
        let others = &own(&dependencies, service) - &beneath;
        assert!(others.is_empty(), "{service} depends on {others:?}");
    }
    for top in ["llm-proxy", "tests", "simulation", "fuzz"] {
        let below: BTreeSet<String> = SERVICES.iter().chain(&BENEATH).map(|name| (*name).into()).collect();
        let others = &own(&dependencies, top) - &below;
        assert!(others.is_empty(), "{top} depends on {others:?}");
    }
}

#[test]
fn only_common_knows_nats() {
    for (name, needed) in dependencies() {
        assert_eq!(needed.contains("async-nats"), name == "common", "{name}");
    }
}
