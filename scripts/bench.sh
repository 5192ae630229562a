#!/usr/bin/env bash
# Builds the release executable and measures it; docs/benchmarks.md says what the figures mean.
#
#   scripts/bench.sh                       everything, three runs each: about half an hour
#   scripts/bench.sh --mode serve --runs 1
#   scripts/bench.sh --mode waiting --runs 1     memory and CPU of callers that wait for long (also waiting-h2)
#   LLM_PROXY=path scripts/bench.sh        measures an executable that is built already
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}

if [ -z "${LLM_PROXY:-}" ]; then
    cargo build --locked --release -p llm-proxy
    export LLM_PROXY=$target/release/llm-proxy
fi
cargo build --locked --release -p tests --bin bench

# Every waiting call is a socket here and one in the proxy.
ulimit -n "$(ulimit -Hn)"
NATS_SERVER=${NATS_SERVER:-$(scripts/nats-server.sh)}
export NATS_SERVER
exec "$target/release/bench" "$@"
