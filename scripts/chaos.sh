#!/usr/bin/env bash
# Kills, pauses and cuts off real processes, and counts what was lost, answered wrongly or paid for twice.
#
#   scripts/chaos.sh                                the table of crash points, then 100 rounds of 2,000 requests
#   scripts/chaos.sh table                          the table alone: about three minutes
#   scripts/chaos.sh table 8.5 11a                  some of its rows
#   scripts/chaos.sh rounds --rounds 10 --seed 7    rounds alone; a random process is killed every second
#   scripts/chaos.sh rounds --spare-ingresses       the same without killing ingresses
#
# A request whose ingress and submitter both die is known to nobody: when its caller sends it again, it is paid for again.
# Rounds count these apart from those that are billed twice by mistake.
#
# LLM_PROXY is an executable that is built already. CHAOS_LOGS is a directory to keep the logs of all processes in;
# without it only those of what went wrong are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
target=${CARGO_TARGET_DIR:-$PWD/target}

if [ -z "${LLM_PROXY:-}" ]; then
    cargo build --locked -p llm-proxy
    export LLM_PROXY=$target/debug/llm-proxy
fi
cargo build --locked -p tests --bin chaos

# Every waiting call is a socket in the test and one in the proxy.
ulimit -n "$(ulimit -Hn)"
NATS_SERVER=${NATS_SERVER:-$(scripts/nats-server.sh)}
export NATS_SERVER

if [ $# -gt 0 ]; then
    exec "$target/debug/chaos" "$@"
fi
"$target/debug/chaos" table
"$target/debug/chaos" rounds
