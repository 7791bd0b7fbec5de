#!/usr/bin/env bash
# Runs every test and check. What fails fast comes first.
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
# The tests find the guests here, and fail rather than leave out what needs them. Only the example in a language whose
# toolchain is missing is left out, and its tests are shown as ignored.
export WASMPOST_GUESTS=$target/guests/out
step() { echo "== $* ($(date +%H:%M:%S))"; }

step formatting
cargo fmt --all --check
cargo fmt --all --manifest-path guest-examples/rust/Cargo.toml --check
cargo fmt --manifest-path guest-examples/rust/echo/Cargo.toml --check
cargo fmt --manifest-path guest-examples/rust/batch/Cargo.toml --check
cargo fmt --all --manifest-path tests/guests/Cargo.toml --check
cargo fmt --manifest-path tests/fuzz/Cargo.toml --check
cargo fmt --manifest-path tests/shuttle/Cargo.toml --check
step dependencies
cargo deny --log-level error check bans licenses sources
step deployments
scripts/check-deployments.sh
step packages
scripts/package.sh
step guests
scripts/guest-cargo.sh tests/guests
scripts/guest-languages.sh
step lints
cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings
guest_crate=(--release --quiet --locked --manifest-path guest-examples/rust/Cargo.toml -p wasmpost-guest)
CARGO_TARGET_DIR=$target/guests cargo clippy "${guest_crate[@]}" --all-targets -- -D warnings
step tests
cargo test --workspace --all-features --no-fail-fast
CARGO_TARGET_DIR=$target/guests cargo test "${guest_crate[@]}"
CARGO_TARGET_DIR=$target scripts/prove.sh shuttle 300
step documentation
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --quiet
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --all-features --quiet
step done
