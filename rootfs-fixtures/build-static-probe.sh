#!/usr/bin/env bash
# Builds the in-container tester with its C library inside, and prints its path. Run by whoever owns the toolchain.
. "$(dirname "$0")/fixture.sh"
# crt-static cannot be chosen for one package of a build: an invocation and a target directory of its own. Without
# --target the flag would reach build scripts and procedural macros, which must stay dynamic.
target=$(rustc -vV | sed -n 's/^host: //p')
(cd "$root" && CARGO_TARGET_DIR="$fixtures/probe-build" RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --quiet --locked --package probe --target "$target" >&2)
echo "$fixtures/probe-build/$target/debug/probe"
