//! The `berth` command against an agent and a shim that say what a test wants. Needs neither root nor a kernel feature.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod commands;
mod exec;
mod fake;
