//! The networks of tasks: host, none, bridge and awsvpc, through netlink only.
//!
//! This module knows namespaces by descriptor and never containers. [`plan`] says what a namespace gets; the agent
//! fills it from leases, a worker carries it out.
//!
//! ```text
//! NodeNet ── node::up ──► bridge, nftables table, forwarding        once per node, by `berth-runtime node-net`
//! port ───── hold::bind ─► bound socket, handed to the shim         by the agent, from admission to the end
//! NetPlan ── up ─────────► namespace (descriptor and pin), links, addresses, published ports      by a worker
//! NetPlan ── down ───────► nothing is left; every error is given    by a worker, or by a sweep after a crash
//! ```
//! Layers inside: [`attr`] and [`netlink`] speak the protocol, [`link`], [`address`], [`nft`] and [`conntrack`] each
//! know one kind of object, the rest knows what berth wants of them.

mod address;
mod attach;
mod attr;
mod check;
mod conntrack;
pub mod device;
pub mod hold;
mod leftover;
mod link;
pub mod namespace;
mod netlink;
mod nft;
pub mod node;
pub mod plan;
mod publish;
pub mod reserve;
mod sysctl;

pub use attach::{down, up, up_for};
pub use check::{Finding, check};
pub use leftover::{Leftovers, leftovers, remove_link};
pub use link::NAME_MAX;
pub use publish::Published;
