//! What travels between a control plane, its agents and its clients: the ECS API, ACS and TCS. Serde types, nothing else.
//!
//! - [`ecs`]: the JSON API (`POST /`, `X-Amz-Target`), both the operations of clients and those only agents use.
//! - [`acs`]: the agent's websocket: payloads, acknowledgements, heartbeats, the task manifest.
//! - [`tcs`]: the telemetry websocket: metrics, health, instance status.
//!
//! # Contract
//!
//! - Nothing sent by a newer peer is an error: unknown members are dropped, unknown enumeration values are kept (every
//!   enumeration is a string; the values known today are constants, see [`ecs::values`]), an unknown message is
//!   `Unknown`, `null` is the same as absent.
//! - A member that may be absent is an `Option`. An absent list or map is empty. Members that a peer always sends
//!   (ARNs, states) are plain and empty when it did not. Empty and absent members are not written, except where Amazon
//!   ECS always writes them (lists in responses).
//! - Times are seconds since the epoch with a fraction ([`ecs::Timestamp`]); in ACS, milliseconds (`generatedAt`).
//! - Secrets have no `Debug`: see [`Redacted`].

pub mod acs;
pub mod ecs;
mod field;
mod frame;
pub mod tcs;

pub use field::Redacted;
pub use frame::DecodeError;
