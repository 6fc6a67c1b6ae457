#!/usr/bin/env bash
# Serves the `registry` fixture read-only on loopback, in the foreground: start-registry.sh [PORT [STORAGE]]
# Debian's packaged configuration would listen on all addresses and want a password file; this one is our own.
set -euo pipefail
port=${1:-5000}
storage=${2:-$("$(dirname "$0")/make-registry.sh")}
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat >"$config" <<CONF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $storage}
  maintenance: {readonly: {enabled: true}}
http: {addr: "127.0.0.1:$port"}
CONF
docker-registry serve "$config" &
pid=$!
trap 'kill $pid 2>/dev/null; rm -f "$config"' EXIT
trap 'exit 143' TERM INT
wait $pid
