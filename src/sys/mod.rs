//! The only unsafe code of the project: one file per kernel surface, owned and borrowed descriptors in and out.
//!
//! Every block argues its own case. Nothing here knows what a container is.

pub mod bpf;
pub mod capability;
pub mod clone;
pub mod exe;
pub mod fd;
pub mod identity;
pub mod loopback;
pub mod memory;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod path;
pub mod pidfd;
pub mod procfs;
mod remap;
pub mod sched;
pub mod seccomp;
pub mod sockopt;
pub mod spawn;
pub mod time;
pub mod tty;
pub mod xattr;
