#!/usr/bin/env bash
# The main job on a fresh embedded queue: good messages, a malformed one and a poison one, and what becomes of each.
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
echo "building; the first time takes some minutes, most of them for wasmtime and its compiler"
cargo build --locked -p wasmpost
scripts/guest-cargo.sh guest-examples/rust
wasmpost=$target/debug/wasmpost
samples=$PWD/guest-examples/rust/samples.ndjson
work=$(mktemp -d)
host=
finish() {
  [ -n "$host" ] && kill "$host" 2>/dev/null
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
show() { printf '\n$ wasmpost %s\n' "$*"; "$wasmpost" "$@"; }

cat > wasmpost.toml <<TOML
[[receivers]]
queue = "webhooks"
component = "$target/guests/out/webhook-triage.wasm"
publish = ["github.*"]
retry = { attempts = 3, backoff_first = "500ms" }
TOML
echo "== the configuration"
cat wasmpost.toml
show check

echo
echo "== six messages, one malformed, one poison, before the host runs: the queue keeps them"
show publish webhooks --ndjson "$samples"
show queues

echo
echo "== the host, until the queue is empty; one more message while it runs"
printf '\n$ wasmpost run --until-empty\n'
"$wasmpost" run --until-empty --log-format human --log info,wasmpost_delivery=debug &
host=$!
# The fork is put off for two seconds: long enough to see the host at work.
for _ in $(seq 100); do [ -S wasmpost.db.sock ] && break; sleep 0.05; done
show publish webhooks --attribute X-Github-Event=star --id sample-7-star - <<< '{"action":"created"}'
wait "$host"
host=

echo
echo "== what became of them"
show queues
show dead-letters list
show dead-letters show sample-6-poison

echo
echo "== the same in a browser: a page of a running host, open for a minute where a person looks; Ctrl-C ends it sooner"
printf '\n$ wasmpost run --admin\n'
"$wasmpost" run --admin 127.0.0.1:0 --log error >page &
host=$!
for _ in $(seq 200); do [ -s page ] && break; sleep 0.05; done
cat page
[ -s page ] || { echo "the host printed no address of its page"; exit 1; }
[ ! -t 1 ] || { sleep 60 & wait $! || true; }
