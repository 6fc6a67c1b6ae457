#!/usr/bin/env bash
# An OCI layout with the image `busybox`: Debian's busybox-static and nothing else, one layer, about 1 MB.
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" busybox-static umoci
fixture busybox-image "$(dpkg-query -W busybox-static umoci)"

layout_new "$new/layout" busybox "$new/bundle"
rootfs=$new/bundle/rootfs
mkdir -p "$rootfs"/{bin,dev,etc,proc,root,sys,tmp,usr,var/log}
chmod 1777 "$rootfs/tmp"
# shellcheck disable=SC2230  # Debian puts it in /bin or /usr/bin
cp "$(command -v busybox)" "$rootfs/bin/busybox"
for applet in $("$rootfs/bin/busybox" --list); do
    [ "$applet" = busybox ] || ln "$rootfs/bin/busybox" "$rootfs/bin/$applet"
done
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\nuser:x:1000:\nextra:x:2000:user\n' >"$rootfs/etc/group"
layout_layer "$new/layout" busybox "$new/bundle"
quietly umoci config --image "$new/layout:busybox" --config.cmd sh \
    --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

rm -rf "$new/bundle"
finish
