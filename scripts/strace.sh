#!/bin/sh
# Prints the path of strace: the one on PATH, else one installed with the system's packages, which takes root
# or a sudo that asks no password.
set -eu

fail() {
    echo "strace.sh: no strace on PATH, and $1" >&2
    exit 1
}

if command -v strace; then exit 0; fi
command -v apt-get >/dev/null || fail 'no apt-get to install it with; install it by hand'
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}
{ as_root apt-get update --quiet && as_root apt-get install --quiet --yes --no-install-recommends strace; } >&2 ||
    fail 'apt-get could not install it; install it by hand'
command -v strace
