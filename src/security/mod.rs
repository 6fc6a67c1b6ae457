//! Capabilities, seccomp and what a container must not see.

pub mod caps;
pub mod devices;
pub mod label;
pub mod seccomp;
