#!/usr/bin/env bash
# An OCI layout with the image `nginx`: Debian's nginx-light as an image of three layers (packages; users and log links;
# configuration and page), about 35 MB unpacked.
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" mmdebstrap umoci
# shellcheck disable=SC1091
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
fixture nginx-image "$suite $(version nginx-light) $(version busybox-static)"

layout_new "$new/layout" nginx "$new/bundle"
rootfs=$new/bundle/rootfs
mirror=()
if ! grep -qi debian /etc/os-release; then
    # Ubuntu's archive serves nginx-light from universe, which mmdebstrap leaves out by itself.
    mirror=(--components=main,universe)
fi
quietly mmdebstrap --variant=extract --include=nginx-light,busybox-static "${mirror[@]}" "$suite" "$new/packages"
cp -a "$new/packages/." "$rootfs/"
rm -rf "$new/packages" "$rootfs"/dev/* "$rootfs"/var/cache/apt/* "$rootfs"/usr/share/{doc,man,locale}
layout_layer "$new/layout" nginx "$new/bundle"

# extract runs no maintainer scripts: no users, no shell, no directories that they would make.
printf 'root:x:0:0:root:/root:/bin/sh\nwww-data:x:33:33:www-data:/var/www:/usr/sbin/nologin\n' >"$rootfs/etc/passwd"
printf 'root:x:0:\nadm:x:4:\nwww-data:x:33:\n' >"$rootfs/etc/group"
[ -e "$rootfs/bin/sh" ] || ln -s busybox "$rootfs/bin/sh"
mkdir -p "$rootfs/var/lib/nginx" "$rootfs/var/log/nginx" "$rootfs/run"
ln -sf /dev/stdout "$rootfs/var/log/nginx/access.log"
ln -sf /dev/stderr "$rootfs/var/log/nginx/error.log"
layout_layer "$new/layout" nginx "$new/bundle"

cat >"$rootfs/etc/nginx/nginx.conf" <<'CONF'
user www-data;
worker_processes 1;
daemon off;
pid /run/nginx.pid;
error_log /var/log/nginx/error.log;
events { worker_connections 256; }
http {
    access_log /var/log/nginx/access.log;
    server {
        listen 80;
        listen [::]:80;
        root /var/www/html;
    }
}
CONF
mkdir -p "$rootfs/var/www/html"
echo 'Welcome to nginx in an image that berth did not make.' >"$rootfs/var/www/html/index.html"
layout_layer "$new/layout" nginx "$new/bundle"

quietly umoci config --image "$new/layout:nginx" --config.cmd nginx --config.exposedports 80/tcp \
    --config.stopsignal SIGQUIT --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

rm -rf "$new/bundle"
finish
