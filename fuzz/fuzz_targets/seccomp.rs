//! Foreign bytes as profiles of system calls, compiled by two compilers.
#![no_main]

#[path = "../oracle.rs"]
mod oracle;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| oracle::seccomp(bytes));
