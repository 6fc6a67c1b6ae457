//! Real shims on a test host: what an agent, a command line and a person with `kill -9` can do to one.

mod crash;
mod exec;
mod life;
mod rest;
mod task;
