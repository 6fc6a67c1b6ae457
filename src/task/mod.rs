//! The life of a task, pure: `step(state, event, now)` gives actions. No clock, no descriptor, no file.

pub mod plan;
pub mod view;
