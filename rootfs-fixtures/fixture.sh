# shellcheck shell=bash
# Sourced by the make-*.sh scripts: where fixtures are, and when one must be made again.
#
# A fixture is a directory target/fixtures/NAME-KEY, where KEY is a digest of everything it is made from. The script
# makes it under another name and renames it when it is whole, so that a script that was killed leaves nothing that
# looks like a fixture. It prints the path on standard output and nothing else there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
fixtures=${CARGO_TARGET_DIR:-$root/target}/fixtures
export PATH="$PATH:/usr/sbin:/sbin"

# fixture NAME INPUT...: sets $out (the fixture) and $new (where to make it). Ends the script when it is there already.
# INPUT is text that the fixture depends on; the script itself and this file always count.
fixture() {
    local name=$1 key
    shift
    key=$(cat "$0" "${BASH_SOURCE[0]}" - <<<"$*" | sha256sum | cut -c1-16)
    out=$fixtures/$name-$key
    mkdir -p "$fixtures"
    # Several test processes may ask at once; the first makes it, the others wait.
    exec {lock}>"$fixtures/$name.lock"
    flock "$lock"
    if [ -e "$out" ]; then
        echo "$out"
        exit 0
    fi
    [ "$(id -u)" = 0 ] || { echo "$0: files in images belong to root: run it as root" >&2; exit 1; }
    rm -rf "$fixtures/$name"-*
    new=$fixtures/$name.new
    rm -rf "$new"
    mkdir "$new"
    exec {say}>&1 1>&2
    echo "making the $name fixture" >&2
}

# Gives the finished fixture its name and prints it.
finish() {
    mv "$new" "$out"
    echo "$out" >&"$say"
}

# version PACKAGE: the version apt would install, so that a new one makes a new fixture.
version() {
    local v
    v=$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
    if [ -z "$v" ] || [ "$v" = "(none)" ]; then
        echo "$0: apt knows no package $1: run apt-get update" >&2
        return 1
    fi
    echo "$1=$v"
}

# Silences a program that talks although it is well; shows what it said when it is not.
quietly() {
    local log
    log=$(mktemp)
    if ! "$@" >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "$0: failed: $*" >&2
        return 1
    fi
    rm -f "$log"
}

# layout_new LAYOUT NAME BUNDLE: an image without layers, unpacked into BUNDLE.
layout_new() {
    [ -d "$1" ] || quietly umoci init --layout "$1"
    quietly umoci new --image "$1:$2"
    quietly umoci unpack --image "$1:$2" "$3"
}

# layout_layer LAYOUT NAME BUNDLE: what has changed in BUNDLE/rootfs since the last layer becomes a layer.
layout_layer() {
    quietly umoci repack --refresh-bundle --image "$1:$2" "$3"
}
