//! The control plane over loopback, with a client that signs as the SDKs do and a fake agent.

#![allow(clippy::unwrap_used, reason = "clippy.toml allows it in tests, and does not know what tests share for one")]

mod api;
mod durable;
mod model;
mod refusals;
mod session;
mod support;
