//! The per-task process that owns a task: an event loop that runs `task`'s decisions.

pub mod protocol;
