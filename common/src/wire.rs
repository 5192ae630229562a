//! The messages of the bus, generated from `proto/llmp.proto`. `cargo test -p common` fails when they do not match
//! and writes them anew with `UPDATE_WIRE=1`.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::doc_markdown)]

include!("wire/llmp.v1.rs");

/// Says that there is a secret, and not which.
impl std::fmt::Debug for GrantSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("GrantSecret")
    }
}
