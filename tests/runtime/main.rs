//! The OCI runtime on the real kernel: bundles made by hand on busybox, driven by the command line.
//!
//! `BERTH_TEST_RUNTIME=runc` runs another runtime instead, to prove the suite; `scripts/test root` does so first. What
//! only ours does, or does better, is in modules `own`, and what else Debian's runc does not do is named in `not-runc`.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod attacks;
mod attributes;
mod bundle;
mod cli;
mod clocks;
mod confinement;
mod entering;
mod exec;
mod foreign_groups;
mod hooks;
mod idmap;
mod images;
mod labels;
mod lifecycle;
mod liveness;
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
