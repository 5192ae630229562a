#!/usr/bin/env bash
# Writes what the executable is made of, down to the last crate, as a CycloneDX document (JSON, specification 1.5).
#
#   scripts/sbom.sh              into target/llm-proxy.cdx.json
#   scripts/sbom.sh FILE
#
# It lists what Cargo.lock pins for this machine's target; TARGET=all lists every target's. The tool is compiled into .cache
# the first time, some minutes. The same commit gives the same list, with the commit's date.
set -euo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:-target/llm-proxy.cdx.json}")
target=${TARGET:-$(rustc -vV | sed -n 's/^host: //p')}

version=0.5.9
root=$PWD/.cache/cargo-cyclonedx-$version
if [ ! -x "$root/bin/cargo-cyclonedx" ]; then
    echo "sbom.sh: compiling cargo-cyclonedx $version into ${root#"$PWD/"}" >&2
    CARGO_TARGET_DIR=$PWD/.cache/cargo-cyclonedx-target cargo install --quiet --locked --root "$root" \
        cargo-cyclonedx --version "$version"
    rm -rf .cache/cargo-cyclonedx-target
fi

# The tool itself would write a new lock file where the old one does not fit.
cargo metadata --locked --format-version 1 >/dev/null
# It puts a document beside every crate of the workspace. One of them is the executable's.
name=sbom-$$
trap 'rm -f ./*/"$name.json"' EXIT
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
export SOURCE_DATE_EPOCH
PATH=$root/bin:$PATH cargo cyclonedx --quiet --manifest-path llm-proxy/Cargo.toml --target "$target" \
    --format json --spec-version 1.5 --override-filename "$name"
mkdir -p "$(dirname "$out")"
# Our own crates are named by their folders on this machine.
sed "s|$PWD/||g" "llm-proxy/$name.json" >"$out"
echo "$out: $(grep -c '"purl"' "$out") components"
