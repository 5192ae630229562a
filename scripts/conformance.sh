#!/usr/bin/env bash
# Runs the same cases for every provider, each simulated, and prints the table of what came of them.
#
#   scripts/conformance.sh                            everything: about a minute and a half
#   scripts/conformance.sh gemini                     the providers with this in their names
#   scripts/conformance.sh gemini "create answer"     and the cases with this in theirs
set -euo pipefail
cd "$(dirname "$0")/.."

export LLM_PROXY_E2E_PROVIDER=${1:-} LLM_PROXY_E2E_CASE=${2:-}
exec cargo test --locked -p tests --test conformance -- --nocapture every_provider_meets_every_case
