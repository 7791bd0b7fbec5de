#!/usr/bin/env bash
# Measures, optimised as a release is.
# usage: bench.sh [BENCHMARK [ARGUMENT...]]
#   throughput: the host against the raw loops below it and against its peers; the default. Arguments are groups of rows
#     (all unless given), --long for more rounds and more messages waiting, --json FILE for the figures
#   plot RESULTS.json DIRECTORY: draws them
#   brokers: the host on brokers that are servers against the bare loops of their clients
#   scale: a host of many components and tenants
#   neighbours: what a tenant notices of one that attacks
# Languages and peers that cannot be built are left out, and their rows say so.
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
export WASMPOST_GUESTS=$target/guests/out
# Errors would be told where in the host they came from, which no release does unless asked, and takes longer than a trap.
export RUST_BACKTRACE=0
benchmark=${1:-throughput}
if [ "$benchmark" != plot ]; then
  scripts/guest-cargo.sh guest-examples/rust
  scripts/guest-cargo.sh tests/guests
fi
if [ "$benchmark" = throughput ]; then
  scripts/guest-languages.sh || true
  tests/peers/setup.sh || echo "peers: not all can be built" >&2
  export WASMPOST_PROGRAM=$target/release/wasmpost
fi
# What is started as a process is the program as a release has it. Built together with the benchmark, both have the same
# dependencies.
packages=(--quiet --locked -p wasmpost -p wasmpost-tests --features wasmpost/nats,wasmpost/rabbitmq)
[ "$benchmark" = throughput ] && cargo build --release "${packages[@]}" --bins --bench throughput
cargo bench "${packages[@]}" --bench "$benchmark" -- "${@:2}"
