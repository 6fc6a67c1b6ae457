//! What one machine can do to itself: images on disk, containers, networks, and the shim that keeps a task.
//!
//! Synchronous: no async runtime, no TLS. The `berth-runtime` binary is an OCI runtime with runc's command line, the
//! per-task shim, and the workers that do the kernel work for both. The node agent links this crate for its types, the
//! image store and netlink reads.
//!
//! # Layers
//!
//! A module imports only from lower rows; `tests/layers.rs` reads the imports and fails on any other edge.
//!
//! | row | modules |
//! |---|---|
//! | L6 | `cli` |
//! | L5 | `shim` |
//! | L4 | `bundle`, `container`, `task` (which never import each other, but that `shim` uses all) |
//! | L3 | `cgroup`, `rootfs`, `security`, `net`, `image`, `systemd` (siblings never import each other) |
//! | L2 | `spec` |
//! | L1 | `id`, `errno`, `interrupt`, `rundir`, `codec` |
//! | L0 | `sys` |

#![deny(unsafe_code)]
// They panic where nobody reads any more, and where the disk of a log is full.
#![deny(clippy::print_stdout, clippy::print_stderr)]

pub mod bundle;
pub mod cgroup;
pub mod cli;
pub mod codec;
pub mod container;
pub mod errno;
pub mod id;
pub mod image;
pub mod interrupt;
pub mod net;
pub mod rootfs;
pub mod rundir;
pub mod security;
pub mod shim;
pub mod spec;
#[allow(unsafe_code)]
pub mod sys;
pub mod systemd;
pub mod task;
