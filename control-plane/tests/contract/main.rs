//! The control plane over loopback, with a client that signs as the SDKs do and a fake agent.

mod api;
mod durable;
mod model;
mod refusals;
mod session;
mod support;
