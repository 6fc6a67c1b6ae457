//! The networks of tasks: host, none, bridge and awsvpc, through netlink only.
//!
//! This module knows namespaces by descriptor and never containers. [`plan`] says what a namespace gets; the agent
//! fills it from leases, a worker carries it out.

pub mod plan;
