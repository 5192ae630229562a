#!/usr/bin/env bash
# Passes all tests, installing what they need into the repository's own .cache folder; strace, on Linux, with the system's
# packages.
#
#   scripts/test.sh          everything: formatting, lints, Rust tests, SDK tests
#   scripts/test.sh rust     the Rust part alone
#   scripts/test.sh sdk      the SDK part alone
set -euo pipefail
cd "$(dirname "$0")/.."
part=${1:-all}

step() { printf '\n== %s\n' "$*"; }

if [ "$part" != sdk ]; then
    step "formatting"
    cargo fmt --all --check
    step "lints"
    cargo clippy --workspace --all-targets --locked -- -D warnings
    step "Rust tests, on a real nats-server where one is needed"
    NATS_SERVER=$(scripts/nats-server.sh)
    export NATS_SERVER
    # What the services do to files can be seen on Linux only.
    if [ "$(uname)" = Linux ]; then
        STRACE=$(scripts/strace.sh)
        export STRACE
    else
        echo "NOT SHOWN on $(uname): that no file is opened for writing, and what is in memory; it takes Linux" >&2
    fi
    cargo test --workspace --locked
fi

if [ "$part" != rust ]; then
    step "tests with the real SDKs"
    cargo build --locked -p llm-proxy
    scripts/sdk.sh
fi

step "all tests passed"
