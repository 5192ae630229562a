#!/usr/bin/env bash
# Looks for bytes from outside that break a promise: libFuzzer on every target of fuzz/, each for a bounded time.
#
#   scripts/fuzz.sh                  all targets, a minute each
#   scripts/fuzz.sh ingress          one of them
#   scripts/fuzz.sh all 600          all of them, ten minutes each
#   scripts/fuzz.sh sse 0 FILE...    runs a target on some files and says how it ends
#
# Works with stable Rust: the coverage that libFuzzer needs comes from stable options of the compiler, and its runtime is
# compiled from the crate libfuzzer-sys, which takes a C++ compiler (g++ or clang++). Linux and macOS.
#
# What is found lies in .cache/fuzz/crashes: put it into fuzz/corpus/TARGET, where `cargo test -p fuzz` gives it to the
# target from then on, and write a test beside what was wrong. The grown corpus is kept in .cache/fuzz and helps the next run.
set -euo pipefail
cd "$(dirname "$0")/.."
wanted=${1:-all}
seconds=${2:-60}
shift $(($# < 2 ? $# : 2))
work=$PWD/.cache/fuzz

host=$(rustc -vV | sed -n 's/^host: //p')
# With --target, so that build scripts and macros are not instrumented.
export CARGO_TARGET_DIR=$work/target
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --locked --profile fuzz --target "$host" -p fuzz --features engine
program=$CARGO_TARGET_DIR/$host/fuzz/fuzz

# Small inputs are quick ones; sequences of messages need some room.
limits=(-timeout=10 -rss_limit_mb=1024 -max_len=4096)

fuzz() {
    local target=$1
    export FUZZ_TARGET=$target
    if [ "$seconds" = 0 ]; then
        "$program" "${limits[@]}" "${@:2}"
        return
    fi
    mkdir -p "$work/corpus/$target" "$work/crashes"
    echo "== $target: $seconds s"
    # Only what matters is shown: the end, and what was found.
    "$program" "${limits[@]}" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -use_value_profile=1 \
        -artifact_prefix="$work/crashes/$target-" "$work/corpus/$target" "fuzz/corpus/$target" 2>&1 |
        grep -Ev '^(INFO: |WARNING: Failed|Loaded |\s+NEW_FUNC|"|#####|stat::(new|slow))'
}

if [ "$wanted" != all ]; then
    fuzz "$wanted" "$@"
    exit
fi
failed=()
for folder in fuzz/corpus/*/; do
    target=$(basename "$folder")
    fuzz "$target" || failed+=("$target")
done
if [ ${#failed[@]} -gt 0 ]; then
    echo "something was found by: ${failed[*]}; see .cache/fuzz/crashes" >&2
    exit 1
fi
