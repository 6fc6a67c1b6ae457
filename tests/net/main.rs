//! Networks of tasks in real namespaces: every test is a machine of its own.

mod lifecycle;
mod world;
