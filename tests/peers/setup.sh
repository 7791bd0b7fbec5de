#!/usr/bin/env bash
# Builds the peers of the benchmark: Extism, from the library that its makers publish, so that its own wasmtime need not be
# built, and a newer compiler than this project's is not needed; and the workers in Go for the durable queues of others,
# whose servers (NATS, Redis, Postgres) are those of the system.
# They lie in ${CARGO_TARGET_DIR:-target}/peers. Can be run twice; what is missing is said, and its rows are left out.
set -euo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
out=${CARGO_TARGET_DIR:-$root/target}/peers
extism=1.41.0
mkdir -p "$out"

if command -v go >/dev/null; then
  (cd "$root/tests/peers/durable" && GOTOOLCHAIN=local go build -o "$out/durable" .) || echo "peers: durable queues cannot be built" >&2
else
  echo "peers: durable queues need Go" >&2
fi

[ "$(cat "$out/version" 2>/dev/null)" = "$extism" ] && [ "$out/extism" -nt "$root/tests/peers/extism.c" ] && exit 0

rm -rf "$out/extism_sys"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$out" "extism-sys==$extism"
python3 -m zipfile -e "$out"/extism_sys-"$extism"-*.whl "$out"
rm -rf "$out"/*.whl "$out"/*.dist-info
cc -O2 -Wall -o "$out/extism" "$root/tests/peers/extism.c" -L"$out/extism_sys" -lextism_sys -Wl,-rpath,"$out/extism_sys"
echo "$extism" >"$out/version"
echo "peers: Extism $extism"
