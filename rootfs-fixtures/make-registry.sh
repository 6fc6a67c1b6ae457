#!/usr/bin/env bash
# The storage directory of a docker-registry that holds every test image. Tests and the quickstart serve it read-only:
# pushing once and copying never is what makes a registry per test cheap.
#
#   busybox:latest   OCI, gzip          busybox:docker   Docker's media types      busybox:zstd   OCI, zstd
#   busybox:multi    an index of amd64 and arm64                busybox:foreign    an index without this machine
#   nginx:latest     three layers       probe:latest     busybox and /probe
. "$(dirname "$0")/fixture.sh"
"$root/scripts/need" docker-registry skopeo umoci iproute2 util-linux
busybox=$("$here/make-busybox-image.sh")
nginx=$("$here/make-nginx-image.sh")
probe=$("$here/make-probe-image.sh")
fixture registry "$busybox $nginx $probe"

# blob LAYOUT: stores standard input as a blob and prints `DIGEST SIZE`.
blob() {
    local file digest
    file=$(mktemp "$1/blobs/sha256/new.XXXXXX")
    cat >"$file"
    digest=$(sha256sum "$file" | cut -d' ' -f1)
    chmod 644 "$file"
    mv "$file" "$1/blobs/sha256/$digest"
    echo "sha256:$digest $(stat -c %s "$1/blobs/sha256/$digest")"
}

# descriptor LAYOUT NAME ARCHITECTURE: the index entry of an image of a layout.
descriptor() {
    local digest
    digest=$(sed 's/},{/},\n{/g' "$1/index.json" | grep "\"org.opencontainers.image.ref.name\":\"$2\"" |
        grep -o 'sha256:[0-9a-f]*' | head -n 1)
    printf '{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"%s","size":%s,"platform":{"os":"linux","architecture":"%s"}}' \
        "$digest" "$(stat -c %s "$1/blobs/sha256/${digest#sha256:}")" "$3"
}

# index_layout LAYOUT TAG DESCRIPTORS: names an index of those images in the layout.
index_layout() {
    local digest size
    read -r digest size < <(printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[%s]}' "$3" | blob "$1")
    printf '{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"%s","size":%s,"annotations":{"org.opencontainers.image.ref.name":"%s"}}]}' \
        "$digest" "$size" "$2" >"$1/index.json"
}

mkdir "$new/work"
case $(uname -m) in x86_64) ours=amd64 other=arm64 ;; aarch64) ours=arm64 other=amd64 ;; esac
cp -a "$busybox/layout" "$new/work/multi"
quietly umoci tag --image "$new/work/multi:busybox" other
quietly umoci config --image "$new/work/multi:other" --architecture "$other"
own=$(descriptor "$new/work/multi" busybox "$ours")
foreign=$(descriptor "$new/work/multi" other "$other")
cp -a "$new/work/multi" "$new/work/foreign"
index_layout "$new/work/multi" multi "$own,$foreign"
index_layout "$new/work/foreign" foreign "$foreign"
# skopeo would push gzip again without a word for a blob that the registry knows, so zstd gets a layout first.
quietly skopeo copy --dest-compress-format zstd --dest-compress "oci:$busybox/layout:busybox" "oci:$new/work/zstd:zstd"

mkdir "$new/data"
cat >"$new/work/config.yml" <<CONF
version: 0.1
log: {level: warn, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $new/data}}
http: {addr: "127.0.0.1:5000"}
CONF
# In a network namespace of its own, so that the port is always free.
push="copy --dest-tls-verify=false"
quietly unshare --net --pid --fork --kill-child bash -euc "
    ip link set lo up
    docker-registry serve $new/work/config.yml &
    for try in \$(seq 100); do
        (exec 3<>/dev/tcp/127.0.0.1/5000) 2>/dev/null && break
        sleep 0.1
    done
    r=docker://127.0.0.1:5000
    skopeo $push oci:$busybox/layout:busybox \$r/busybox:latest
    skopeo $push --format v2s2 oci:$busybox/layout:busybox \$r/busybox:docker
    skopeo $push oci:$new/work/zstd:zstd \$r/busybox:zstd
    skopeo $push --all oci:$new/work/multi:multi \$r/busybox:multi
    skopeo $push --all oci:$new/work/foreign:foreign \$r/busybox:foreign
    skopeo $push oci:$nginx/layout:nginx \$r/nginx:latest
    skopeo $push oci:$probe/layout:probe \$r/probe:latest
"
mv "$new/data/docker" "$new/docker"
rm -rf "$new/work" "$new/data"
finish
