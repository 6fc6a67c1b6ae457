//! Foreign bytes as the value of an annotation that is a property of a unit.
#![no_main]

#[path = "../targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::annotations(bytes));
