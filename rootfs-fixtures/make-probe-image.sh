#!/usr/bin/env bash
# An OCI layout with the image `probe`: the busybox image and, as a second layer, the in-container tester as /probe,
# linked statically because the image has no C library.
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" umoci
busybox=$("$here/make-busybox-image.sh")
probe=${BERTH_PROBE_STATIC:-}
if [ -z "$probe" ]; then
    # crt-static cannot be chosen for one package of a build: an invocation and a target directory of its own. Without
    # --target the flag would reach build scripts and procedural macros, which must stay dynamic.
    target=$(rustc -vV | sed -n 's/^host: //p')
    (cd "$root" && CARGO_TARGET_DIR="$fixtures/probe-build" RUSTFLAGS="-C target-feature=+crt-static" \
        cargo build --quiet --locked --package probe --target "$target" >&2)
    probe=$fixtures/probe-build/$target/debug/probe
fi
fixture probe-image "$(sha256sum "$probe") $busybox"

cp -a "$busybox/layout" "$new/layout"
quietly umoci tag --image "$new/layout:busybox" probe
quietly umoci unpack --image "$new/layout:probe" "$new/bundle"
install -m 755 "$probe" "$new/bundle/rootfs/probe"
layout_layer "$new/layout" probe "$new/bundle"
quietly umoci config --image "$new/layout:probe" --config.cmd /probe
quietly umoci rm --image "$new/layout:busybox"

rm -rf "$new/bundle"
finish
