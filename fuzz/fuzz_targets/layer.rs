//! Foreign bytes as a layer: whatever they are, an error or a tree, and nothing outside the root.
//!
//! `image::extract`'s proptests have the same body over generated entries.
#![no_main]

use berth_runtime::image::extract::{Limits, unpack};
use libfuzzer_sys::fuzz_target;
use std::fs::{self, File};
use std::path::Path;

fuzz_target!(|bytes: &[u8]| {
    // On tmpfs where there is one: this makes and removes a tree each time.
    let base = Path::new("/dev/shm");
    let dir = if base.is_dir() { tempfile::tempdir_in(base) } else { tempfile::tempdir() }.expect("make a directory");
    let root = dir.path().join("root");
    fs::create_dir(&root).expect("make a directory");
    let limits = Limits { bytes: 1 << 20, entries: 200, reserve: 0 };
    let _ = unpack(bytes, File::open(&root).expect("was made").into(), &limits);
    assert_eq!(fs::read_dir(dir.path()).expect("was made").count(), 1, "something was made outside the root");
});
