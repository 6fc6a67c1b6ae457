#!/usr/bin/env bash
# An OCI layout with the image `layers`: small, and full of what layers can say. Three layers; the second and third take
# away, replace and change what is below them. Beside it `rootfs`, the same image as umoci unpacks it.
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" umoci python3
fixture layers-image "$(dpkg-query -W umoci)"

layout_new "$new/layout" layers "$new/bundle"
rootfs=$new/bundle/rootfs

mkdir -p "$rootfs"/{bin,dev,etc/sub,gone/deep,tmp,kept,became-file,remade,var/empty}
chmod 1777 "$rootfs/tmp"
chmod 711 "$rootfs/var/empty"
echo base >"$rootfs/etc/base"
echo base >"$rootfs/etc/sub/file"
echo base >"$rootfs/gone/deep/file"
echo base >"$rootfs/kept/file"
echo base >"$rootfs/became-file/x"
echo base >"$rootfs/became-dir"
echo base >"$rootfs/remade/old"
ln "$rootfs/kept/file" "$rootfs/kept/second-name"
ln -s ../etc/base "$rootfs/kept/link"
ln -s /nowhere/at/all "$rootfs/dangling"
ln -s etc "$rootfs/etc-link"
echo secret >"$rootfs/bin/setuid"
chown 12:34 "$rootfs/bin/setuid"
chmod 6755 "$rootfs/bin/setuid"
mknod "$rootfs/dev/null" c 1 3
mknod "$rootfs/dev/loop" b 7 0
mkfifo -m 640 "$rootfs/tmp/fifo"
long=$(printf 'l%.0s' {1..120})
mkdir -p "$rootfs/$long/$long"
echo deep >"$rootfs/$long/$long/$long"
ln -s "$long/$long/$long" "$rootfs/long-link"
echo 'umläut' >"$rootfs/nämé with spaces"
chown 70000:3000000 "$rootfs/nämé with spaces"
touch -d '2001-02-03 04:05:06.789' "$rootfs/etc/base"
touch -d '1969-12-31 00:00:00' "$rootfs/etc/sub/file"
python3 - "$rootfs/bin" <<'PY'
import os, sys
open(sys.argv[1] + "/capable", "w").write("x")
# cap_net_bind_service+ep as the kernel keeps it, version 2.
os.setxattr(sys.argv[1] + "/capable", "security.capability", bytes.fromhex("0100000200040000000000000000000000000000"))
os.setxattr(sys.argv[1] + "/capable", "user.note", b"a\0b\n=")
PY
layout_layer "$new/layout" layers "$new/bundle"

rm -r "$rootfs/gone" "$rootfs/became-file" "$rootfs/became-dir" "$rootfs/remade" "$rootfs/etc/base"
echo file >"$rootfs/became-file"
mkdir "$rootfs/became-dir" "$rootfs/remade"
echo new >"$rootfs/became-dir/y"
echo new >"$rootfs/remade/new"
chmod 700 "$rootfs/kept"
echo more >>"$rootfs/kept/file"
layout_layer "$new/layout" layers "$new/bundle"

rm "$rootfs/became-dir/y" "$rootfs/kept/second-name"
mkdir "$rootfs/gone"
echo again >"$rootfs/gone/again"
chown -h 5:6 "$rootfs/dangling"
layout_layer "$new/layout" layers "$new/bundle"
quietly umoci config --image "$new/layout:layers" --config.cmd /bin/true

rm -rf "$new/bundle"
quietly umoci unpack --image "$new/layout:layers" "$new/unpacked"
mv "$new/unpacked/rootfs" "$new/rootfs"
rm -rf "$new/unpacked"
finish
