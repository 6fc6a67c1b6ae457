//! The OCI runtime on the real kernel: bundles made by hand on busybox, driven by the command line.
//!
//! `BERTH_TEST_RUNTIME=runc` runs another runtime instead, to prove the suite: `cargo test --test runtime -- --ignored
//! --skip own:: --skip clocks:: --skip idmap::`. What only ours does, or does better, is in `own`; runc's next release has
//! the other two.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod attacks;
mod attributes;
mod bundle;
mod cli;
mod clocks;
mod confinement;
mod exec;
mod hooks;
mod idmap;
mod labels;
mod lifecycle;
mod mounts;
mod namespaces;
mod net_devices;
mod own;
mod process;
mod races;
mod resources;
mod rootfs;
mod seccomp;
mod terminal;
mod update;
mod userns;
