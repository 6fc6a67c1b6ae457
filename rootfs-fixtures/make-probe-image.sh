#!/usr/bin/env bash
# An OCI layout with the image `probe`: the busybox image and, as a second layer, the in-container tester as /probe,
# linked statically because the image has no C library.
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" umoci
busybox=$("$here/make-busybox-image.sh")
# Built by the caller where root has no toolchain of its own.
probe=${BERTH_PROBE_STATIC:-$("$here/build-static-probe.sh")}
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
