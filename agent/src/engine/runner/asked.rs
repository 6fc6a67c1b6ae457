//! How a task comes to its runner, and what others ask of it then.

use crate::store::{Sent, StoreError};
use berth_runtime::task::view::TaskView;
use tokio::sync::oneshot;

/// What others ask of a task.
#[derive(Debug)]
pub(in crate::engine) enum Command {
    /// Stop it. Answered when that is on disk.
    Stop { timeout_ms: Option<u64>, reason: String, done: oneshot::Sender<()> },
    /// The control plane has acknowledged this.
    Acknowledged(Sent),
    /// Call it so.
    Rename(String),
    /// Remove its records; refused while it has not stopped.
    Forget(oneshot::Sender<Result<(), String>>),
}

/// How a task comes to the engine.
pub(in crate::engine) enum Begin {
    /// It is new. Answered when it is on disk.
    New(oneshot::Sender<Result<(), StoreError>>),
    /// The store knew it, and it was not launched.
    Again,
    /// Its shim is alive.
    Adopted,
    /// Its shim is not.
    Dead,
    /// Its shim left a record of its end.
    LeftEnd(TaskView),
    /// It has ended, and the row says how.
    Ended,
}
