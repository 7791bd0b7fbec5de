#!/usr/bin/env bash
# Installs what tests start themselves: NATS, RabbitMQ, Prometheus, and Chromium to look at a page. Can be run twice.
# The NATS server is built into ${XDG_CACHE_HOME:-~/.cache}/wasmpost/brokers, where the tests look first; RabbitMQ comes
# from Debian's package, and no service of the system is started with it. What cannot be installed is said, and the end
# is 1.
set -uo pipefail

brokers=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/brokers
toolchain=${XDG_CACHE_HOME:-$HOME/.cache}/wasmpost/toolchain
# What the tests were tried with. An older server is used where no Go is there to build this one.
nats=2.15.2
go_min=1.25
failed=0

say() { echo "setup: $*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi; }
reaches() { [ "$(printf '%s\n' "$2" "$1" | sort -V | head -1)" = "$2" ]; }
version() { "$@" 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -1; }

# Installs packages whose services shall not start: for the time of it, a policy says so to the package's own scripts.
apt_install_stopped() {
  command -v apt-get >/dev/null || return 1
  local policy=/usr/sbin/policy-rc.d made='' install=(apt-get install -y -q --no-install-recommends "$@") end
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy || return 1
    made=yes
  fi
  as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null 2>&1 ||
    { as_root apt-get update -q && as_root env DEBIAN_FRONTEND=noninteractive "${install[@]}"; } >/dev/null
  end=$?
  [ -z "$made" ] || as_root rm -f $policy
  return $end
}

# The compiler for Go of the system, or the one that the examples are built with.
find_go() {
  local go
  for go in go "$toolchain/go/bin/go"; do
    reaches "$(version "$go" version)" "$go_min" && echo "$go" && return
  done
  return 1
}

install_nats() {
  local go
  [ "$(version "$brokers/bin/nats-server" --version)" = "$nats" ] && return
  if go=$(find_go); then
    say "building nats-server $nats, which takes a minute"
    GOBIN=$brokers/bin GOTOOLCHAIN=local "$go" install "github.com/nats-io/nats-server/v2@v$nats" && return
  fi
  [ -n "$(version nats-server --version)" ] && return
  say "installing nats-server with apt"
  apt_install_stopped nats-server
}

nats_version() { version "$brokers/bin/nats-server" --version || version nats-server --version; }

install_rabbitmq() {
  [ -x /usr/lib/rabbitmq/bin/rabbitmq-server ] && return
  command -v rabbitmq-server >/dev/null && return
  say "installing rabbitmq-server with apt"
  apt_install_stopped rabbitmq-server
}

rabbitmq_version() { dpkg-query --show --showformat '${Version}' rabbitmq-server 2>/dev/null || echo "found in PATH"; }

# Not a broker, but a server that tests start as well: it scrapes the metrics of a host, and `promtool` checks them.
install_prometheus() {
  command -v prometheus >/dev/null && command -v promtool >/dev/null && return
  say "installing prometheus with apt"
  apt_install_stopped prometheus
}

prometheus_version() { version prometheus --version; }

# Shows the page of a host in tests.
install_chromium() {
  command -v chromium >/dev/null && return
  say "installing chromium with apt"
  apt_install_stopped chromium
}

chromium_version() { version chromium --version; }

# Says what is there, and goes on when it is not.
attempt() {
  local name=$1 install=$2 version=$3
  if "$install"; then say "$name $("$version")"; else say "$name cannot be installed" && failed=1; fi
}

attempt nats-server install_nats nats_version
attempt rabbitmq-server install_rabbitmq rabbitmq_version
attempt prometheus install_prometheus prometheus_version
attempt chromium install_chromium chromium_version
exit $failed
