//! The committed messages are what their definition generates.

use std::path::Path;

#[test]
fn committed_messages_match_their_definition() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = root.join("src/wire/llmp.v1.rs");
    let out = tempfile::tempdir().expect("a temporary folder");
    let descriptors =
        protox::compile([root.join("proto/llmp.proto")], [root.join("proto")]).expect("valid proto");
    let mut config = prost_build::Config::new();
    // The rare one is larger than the others by far.
    // Written by hand: it would print keys.
    config.skip_debug([".llmp.v1.GrantSecret"]);
    config.boxed(".llmp.v1.ToSubmitter.body.recover");
    config.bytes(["."]).out_dir(out.path()).compile_fds(descriptors).expect("code");
    let generated = std::fs::read_to_string(out.path().join("llmp.v1.rs")).expect("the generated file");
    if std::env::var_os("UPDATE_WIRE").is_some() {
        std::fs::write(&committed, &generated).expect("the file can be written");
    }
    let committed = std::fs::read_to_string(committed).unwrap_or_default();
    assert!(
        committed == generated,
        "src/wire is out of date: run UPDATE_WIRE=1 cargo test -p common --test wire"
    );
}
