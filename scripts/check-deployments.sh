#!/usr/bin/env bash
# Checks the files in docs/deploy against the schemas of what reads them.
# The schemas come with two packages of PyPI, which are kept in ${XDG_CACHE_HOME:-~/.cache}/wasmpost/deployments.
set -euo pipefail

cd "$(dirname "$0")/.."
cache=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/deployments
# Both packages with the schemas of their day: of the Compose specification, and of this release of Kubernetes.
packages="check-jsonschema==0.39.0 kubernetes-validate==1.37.0"
kubernetes=1.37.0
directory=${1:-docs/deploy}
say() { echo "deployments: $*"; }

if [ "$(cat "$cache/packages" 2>/dev/null)" != "$packages" ]; then
  say "installing $packages"
  rm -rf "$cache"
  python3 -m venv "$cache"
  # shellcheck disable=SC2086 # One word for each package.
  "$cache/bin/pip" install --quiet --disable-pip-version-check $packages
  echo "$packages" >"$cache/packages"
fi

told=$("$cache/bin/check-jsonschema" --builtin-schema vendor.compose-spec "$directory/compose.yaml") ||
  { echo "$told"; exit 1; }
say "compose.yaml follows the Compose specification"
# Fields that Kubernetes does not know are refused as well: it would ignore them.
"$cache/bin/kubernetes-validate" --strict --quiet -k "$kubernetes" "$directory/kubernetes.yaml"
say "kubernetes.yaml follows Kubernetes $kubernetes"

nats=${WASMPOST_NATS_SERVER:-${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/brokers/bin/nats-server}
if [ -x "$nats" ]; then
  NATS_PASSWORD=none "$nats" -t --config "$directory/nats.conf" >/dev/null 2>&1 ||
    { NATS_PASSWORD=none "$nats" -t --config "$directory/nats.conf"; exit 1; }
  say "nats.conf is understood by $("$nats" --version)"
fi
