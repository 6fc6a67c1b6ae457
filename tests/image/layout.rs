//! An image from an OCI layout, in the store and as an overlay.

use berth_runtime::image::manifest::{self, Document};
use berth_runtime::image::{Digest, ImageRecord, LayerRecord, Snapshot, Store, parse_config};
use berth_test_host::TestHost;
use serde_json::Value;
use std::fs::{self, File};
use std::path::Path;
use std::time::SystemTime;

fn blob(layout: &Path, digest: &Digest) -> std::path::PathBuf {
    layout.join("blobs/sha256").join(digest.hex())
}

/// Puts the only image of an OCI layout into the store.
pub(crate) fn load(store: &Store, layout: &Path) -> ImageRecord {
    let index: Value = serde_json::from_slice(&fs::read(layout.join("index.json")).unwrap()).unwrap();
    let digest: Digest = index["manifests"][0]["digest"].as_str().unwrap().parse().unwrap();
    let bytes = fs::read(blob(layout, &digest)).unwrap();
    let Document::Manifest(manifest) = manifest::parse(&bytes, None).unwrap() else { panic!("not a manifest") };
    let config_bytes = fs::read(blob(layout, &manifest.config.digest)).unwrap();
    let config = parse_config(&config_bytes).unwrap();
    let _pin = store.pin([manifest.config.digest]);
    store.put_blob(&manifest.config.digest, &config_bytes).unwrap();
    let mut below: Vec<Digest> = Vec::new();
    let mut layers = Vec::new();
    for (layer, diff_id) in manifest.layers.iter().zip(config.rootfs().diff_ids()) {
        let diff_id: Digest = diff_id.parse().unwrap();
        let unpacked = store.unpack(File::open(blob(layout, &layer.digest)).unwrap(), &diff_id).unwrap();
        let chain = store.adopt(unpacked, &below).unwrap();
        below.push(chain);
        layers.push(LayerRecord { chain, diff_id, digest: layer.digest, size: layer.size });
    }
    let now = SystemTime::now();
    let image = ImageRecord {
        reference: "test".into(),
        digest,
        manifest: digest,
        config_digest: manifest.config.digest,
        config,
        layers,
        pulled_at: now,
        used_at: now,
    };
    store.record(&image).unwrap();
    image
}

/// Mounts a snapshot inside the host.
pub(crate) fn mount(host: &TestHost, snapshot: &Snapshot, at: &Path) {
    let lower: Vec<&str> = snapshot.lower.iter().map(|p| p.to_str().unwrap()).collect();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.join(":"),
        snapshot.upper.display(),
        snapshot.work.display()
    );
    fs::create_dir_all(at).unwrap();
    host.run("mount", &["-t", "overlay", "-o", &options, "overlay", at.to_str().unwrap()]);
}
