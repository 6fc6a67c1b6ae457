//! The OCI verbs, and the entry points of the shim and its workers.

pub mod node_net;
