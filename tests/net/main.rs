//! Networks of tasks in real namespaces: every test is a machine of its own.

mod awsvpc;
mod bridge;
mod connections;
mod killed;
mod lifecycle;
mod many;
mod node;
mod undone;
mod world;
