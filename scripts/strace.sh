#!/bin/sh
# Prints the path of strace: the one on PATH, else one installed with the system's packages, which takes root.
set -eu

fail() {
    echo "strace.sh: no strace on PATH, and $1" >&2
    exit 1
}

if command -v strace; then exit 0; fi
command -v apt-get >/dev/null || fail 'no apt-get to install it with; install it by hand'
[ "$(id -u)" = 0 ] || fail 'only root can install it: sudo apt-get install strace'
{ apt-get update --quiet && apt-get install --quiet --yes --no-install-recommends strace; } >&2 ||
    fail 'apt-get could not install it'
command -v strace
