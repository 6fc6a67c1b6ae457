//! Real shims on a test host: what an agent, a command line and a person with `kill -9` can do to one.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod crash;
mod exec;
mod life;
mod rest;
mod task;
