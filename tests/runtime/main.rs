//! The OCI runtime on the real kernel: bundles made by hand on busybox, driven by the command line.
//!
//! `BERTH_TEST_RUNTIME=runc` runs another runtime instead, to prove the suite: `cargo test --test runtime -- --ignored
//! --skip own::`. What only ours does, or does better, is in `own`.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod attacks;
mod attributes;
mod bundle;
mod cli;
mod confinement;
mod exec;
mod hooks;
mod labels;
mod lifecycle;
mod mounts;
mod net_devices;
mod own;
mod process;
mod races;
mod resources;
mod rootfs;
mod seccomp;
mod terminal;
mod update;
