#!/usr/bin/env bash
# Makes the package of every crate, as `cargo publish` would upload it, in target/package. Nothing is uploaded.
#
#   package.sh            makes them and looks whether they have all that they need; takes seconds
#   package.sh verify     builds each of them as well, outside of the repository
set -euo pipefail

cd "$(dirname "$0")/.."
[ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
target=${CARGO_TARGET_DIR:-$PWD/target}
packed=host/packed
work=$(mktemp -d)
trap 'rm -rf "$work" "$packed"' EXIT

# A package has no repository around it, so it brings the templates of `wasmpost new`: the files that host/build.rs found,
# by numbers, because cargo leaves out directories with a Cargo.toml of their own.
rustc --edition 2024 -o "$work/build" host/build.rs
CARGO_MANIFEST_DIR=$PWD/host OUT_DIR=$work "$work/build" > "$work/log"
rm -rf "$packed"
mkdir "$packed"
awk -v packed="$packed" '
  match($0, /include_bytes!\("[^"]*"\)/) {
    path = substr($0, RSTART + 16, RLENGTH - 18)
    if (system("cp -L \"" path "\" " packed "/" ++count)) exit 1
    $0 = substr($0, 1, RSTART - 1) "include_bytes!(concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/packed/" count "\"))" \
      substr($0, RSTART + RLENGTH)
  }
  { print }' "$work/templates.rs" > "$packed/templates.rs"
if grep -n 'include_bytes!("' "$packed/templates.rs"; then
  echo "these templates are files outside of the package" >&2
  exit 1
fi

verify=(--no-verify)
[ "${1:-}" != verify ] || verify=()
packages=(--workspace --exclude wasmpost-tests --exclude wasmpost-tests-host)
cargo package "${packages[@]}" --allow-dirty --quiet "${verify[@]}"

# What lies outside of a crate in the repository is in its package.
missing=0
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
has() { # CRATE FILE...
  local crate=$1 name files
  shift
  files=$(tar -tf "$target/package/$crate-$version.crate")
  for name; do
    grep -qxF "$crate-$version/$name" <<< "$files" || { echo "package $crate lacks $name"; missing=1; }
  done
}
for manifest in host/Cargo.toml host/crates/*/Cargo.toml; do
  has "$(sed -n 's/^name = "\(.*\)"/\1/p' "$manifest" | head -1)" Cargo.toml LICENSE README.md src/lib.rs
done
while read -r file; do
  has wasmpost-sandbox "wit/contract/$file"
done < <(cd wit && find . -type f -printf '%P\n')
while read -r file; do
  has wasmpost "${file#host/}"
done < <(find host/examples "$packed" -type f)
exit $missing
