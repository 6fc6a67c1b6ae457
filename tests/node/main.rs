//! The whole node: `berth agent`, its shims and real tasks, driven as a person drives them, each test on a host of its
//! own.
//!
//! Every test here needs root and the fixtures' images; `scripts/test node` brings both. At the end of each the host
//! must hold nothing that was not there before.

mod commands;
mod crashes;
mod fleet;
mod limits;
mod networks;
mod planes;
mod refusals;
mod remap;
mod support;
