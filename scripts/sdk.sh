#!/usr/bin/env bash
# Runs the tests with the real SDKs, and the examples, against a simulated provider: once through one process and once through three on
# a real nats-server. Installs what they need into .cache and tests/sdk/node_modules. Arguments go to pytest.
#
# LLM_PROXY is the executable to test, target/debug/llm-proxy unless it is set. Needs Python 3.10 with venv, Node and npm.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

die() { printf 'sdk.sh: %s\n' "$*" >&2; exit 1; }

LLM_PROXY=$(realpath -m "${LLM_PROXY:-target/debug/llm-proxy}")
export LLM_PROXY
[ -x "$LLM_PROXY" ] || die "no executable at $LLM_PROXY; run 'cargo build -p llm-proxy', or set LLM_PROXY"
for program in python3 node npm; do
    command -v "$program" >/dev/null || die "$program is needed"
done

# A copy of what was installed lies in the installation: it is made again when the wish has changed, or was cut short.
python_packages() {
    local wish=$1 venv=$2
    if ! cmp -s "$wish" "$venv/installed.txt"; then
        echo "sdk.sh: installing the Python packages of $wish into ${venv#"$PWD/"}"
        rm -rf "$venv"
        python3 -m venv "$venv" || die "python3 cannot make a virtual environment (on Debian: apt-get install python3-venv)"
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: -r "$wish"
        cp "$wish" "$venv/installed.txt"
    fi
}
venv=$PWD/.cache/venv
python_packages tests/sdk/requirements.txt "$venv"
# Some packages want an older one than others.
python_packages tests/sdk/requirements-openai2.txt "$PWD/.cache/venv-openai2"

lock=tests/sdk/package-lock.json
modules=tests/sdk/node_modules
if ! cmp -s "$lock" "$modules/installed.json"; then
    echo "sdk.sh: installing the Node packages of $lock into $modules"
    npm ci --prefix tests/sdk --no-audit --no-fund --no-update-notifier --loglevel error >/dev/null
    cp "$lock" "$modules/installed.json"
fi

# A registry's address in the lock file would tie everyone to the one that made it.
if grep -n '"resolved"' "$lock"; then
    die "$lock has registry addresses; make it with npm install --omit-lockfile-registry-resolved"
fi

echo "sdk.sh: testing $("$LLM_PROXY" --version) at $LLM_PROXY"
# They wait most of the time: four at a time, each with deployments of its own (-n 0 for one after the other).
exec "$venv/bin/pytest" tests/sdk -n 4 --dist loadscope "$@"
