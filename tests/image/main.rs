//! Images of other people's making, in the store and as overlays.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod layout;

use berth_runtime::image::{Digest, Store};
use berth_runtime::sys::xattr;
use berth_test_host::{TestHost, fixture};
use layout::{load, mount};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Everything that two trees can differ in, by path.
fn describe(root: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, dir: &Path, all: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
            if !meta.is_dir() {
                text += &format!(" {}.{}", meta.mtime(), meta.mtime_nsec());
            }
            if meta.is_symlink() {
                text += &format!(" -> {}", fs::read_link(&path).unwrap().display());
            } else if meta.is_file() {
                text += &format!(" {:?}", Digest::of(&fs::read(&path).unwrap()));
                text += &format!(" links {}", meta.nlink());
                let file = File::open(&path).unwrap();
                for name in xattr::names(file.as_fd()).unwrap() {
                    text += &format!(" {name:?}={:?}", xattr::read(file.as_fd(), &name).unwrap());
                }
            } else if !meta.is_dir() {
                text += &format!(" device {:x}", meta.rdev());
            }
            all.insert(path.strip_prefix(root).unwrap().to_string_lossy().into_owned(), text);
            if meta.is_dir() {
                walk(root, &path, all);
            }
        }
    }
    let mut all = BTreeMap::new();
    walk(root, root, &mut all);
    all
}

#[test]
#[ignore = "needs root"]
fn layers_as_an_overlay_are_the_tree_that_another_tool_unpacks() {
    let host = TestHost::new("image-layers");
    let layers = fixture("layers-image");
    let store = Store::open(&host.dir().join("images")).unwrap();
    let image = load(&store, &layers.join("layout"));
    assert_eq!(image.layers.len(), 3);
    let snapshot = store.snapshot("t.c", &image).unwrap();
    let at = host.dir().join("merged");
    mount(&host, &snapshot, &at);
    let (ours, theirs) = (describe(&host.outside(&at)), describe(&layers.join("rootfs")));
    assert!(theirs.len() > 20, "{theirs:#?}");
    for (path, text) in &theirs {
        assert_eq!(ours.get(path), Some(text), "{path}");
    }
    assert_eq!(ours.len(), theirs.len(), "{:?}", ours.keys().filter(|k| !theirs.contains_key(*k)).collect::<Vec<_>>());
    host.run("umount", &[at.to_str().unwrap()]);
}
