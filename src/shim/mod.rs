//! The per-task process that owns a task: an event loop that runs `task`'s decisions.

pub mod client;
pub mod facts;
pub mod frame;
pub mod log;
pub mod protocol;
