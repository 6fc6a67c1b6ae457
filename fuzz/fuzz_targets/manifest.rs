//! Foreign documents: manifests, indexes, configurations and names, an error or a value.
#![no_main]

use berth_runtime::image::manifest::{self, Document, Platform};
use berth_runtime::image::{Reference, parse_config};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Document::Index(index)) = manifest::parse(bytes, None) {
        let _ = index.select(&Platform::node());
    }
    let _ = parse_config(bytes);
    if let Some(name) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<Reference>().ok()) {
        assert_eq!(name.to_string().parse::<Reference>().as_ref(), Ok(&name), "a name stands for itself");
    }
});
