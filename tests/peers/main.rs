//! Programs that drive an OCI runtime, Debian's own, with this one in runc's place: podman through conmon, dockerd and
//! `ctr` through containerd's shim. Each has a host of its own, with its own daemon and directories, and all of it goes
//! with the host.
//!
//! The image is the busybox fixture, loaded from its OCI layout: no registry is asked.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod containerd;
mod docker;
mod podman;
mod support;
