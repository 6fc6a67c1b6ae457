//! What the agent offers to those on its own node.

pub mod types;
