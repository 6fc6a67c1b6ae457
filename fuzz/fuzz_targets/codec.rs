//! Foreign bytes as messages, plans and records of berth's own.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::codec(bytes));
