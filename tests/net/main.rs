//! Networks of tasks in real namespaces: every test is a machine of its own.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod awsvpc;
mod bridge;
mod connections;
mod killed;
mod lifecycle;
mod many;
mod node;
mod undone;
mod world;
