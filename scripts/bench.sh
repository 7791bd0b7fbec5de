#!/usr/bin/env bash
# Measures, optimised as a release is.
# usage: bench.sh [BENCHMARK [FILTER]]
#   throughput: the host against the raw loops below it; the default
#   brokers: the host on brokers that are servers against the bare loops of their clients
#   scale: a host of many components and tenants
#   neighbours: what a tenant notices of one that attacks
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
export WASMPOST_GUESTS=$target/guests/out
scripts/guest-cargo.sh guest-examples/rust
scripts/guest-cargo.sh tests/guests
benchmark=${1:-throughput}
cargo bench --quiet --locked -p wasmpost-tests --features wasmpost/nats,wasmpost/rabbitmq --bench "$benchmark" -- "${@:2}"
