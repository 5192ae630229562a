#!/usr/bin/env bash
# Holds the callers of all SDKs, as they come, for a quarter of an hour of real time, through one process. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec scripts/sdk.sh -m long -k serve "$@"
