#!/usr/bin/env bash
# Measures the host against the raw loops below it, optimised as a release is.
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
export WASMPOST_GUESTS=$target/guests/out
scripts/guest-cargo.sh tests/guests
cargo bench --quiet --locked -p wasmpost-tests --bench throughput -- "$@"
