//! The life of a task, pure: `step(event, now)` gives actions. No clock, no descriptor, no file.
//!
//! [`plan`] says what is to run, [`event`] what happens and what is wanted, [`life`] decides, [`order`] says what a
//! container waits for, [`view`] is what is told.

mod container;
pub mod event;
pub mod life;
pub mod order;
pub mod plan;
pub mod view;

#[cfg(test)]
mod properties;
