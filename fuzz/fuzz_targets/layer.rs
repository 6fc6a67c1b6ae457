//! Foreign bytes as a layer. `image::extract`'s proptests have the same body over generated entries.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::layer(bytes));
