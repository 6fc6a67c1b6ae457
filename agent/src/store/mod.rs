//! The agent's intent, durable: which tasks there are to be, what each holds, what the control plane has been told.
//!
//! ```text
//! STATE/agent.redb
//!   meta    "node" → Meta (JSON)
//!   tasks   task id → Row (JSON)
//! STATE/node.json              Meta again
//! STATE/tasks/TASK/task.json   the row again, redacted: what the store is rebuilt from
//! ```
//!
//! One thread writes, and commits what has gathered while it was busy in one go, so that fifty tasks that start at once
//! cost a few commits. A file that cannot be opened is set aside under another name and an empty one begun; the engine
//! then reads the records of the tasks. A row that cannot be read is reported and left alone: one bad row never blocks
//! a start. Only the engine writes.

mod database;
mod record;

pub use database::{Loaded, Store, StoreError};
pub use record::{BadRecord, read_node, read_records, write_node, write_record};

use crate::capacity::Grant;
use crate::task::Task;
use serde::{Deserialize, Serialize};

/// What is known of the node as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Meta {
    /// The cluster that the node is registered with.
    pub cluster: String,
    /// The control plane that it is registered with.
    pub backend: String,
    /// Given at registration.
    pub container_instance_arn: Option<String>,
    /// The highest sequence number of a payload, or timeline of a manifest, that has been acted on.
    pub sequence: i64,
}

/// A task as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was asked for.
    pub task: Task,
    /// What people call it.
    pub name: String,
    /// It is to stop, and why.
    pub stop: Option<StopWish>,
    /// What it holds, from admission until its last process is gone.
    pub grant: Option<Grant>,
    /// A shim has been started for it, or may have been.
    pub launched: bool,
    /// Digest of each container's image, in order, once known.
    #[serde(default)]
    pub digests: Vec<Option<String>>,
    /// When its images were first asked for, milliseconds since the epoch.
    pub pull_started_at_ms: Option<u64>,
    /// When the last of its images was there.
    pub pull_stopped_at_ms: Option<u64>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// What the control plane has been told of it and has acknowledged.
    pub sent: Sent,
}

impl Row {
    /// A task of which nothing is known but that it is to run.
    pub fn new(task: Task, name: String) -> Self {
        Self {
            task,
            name,
            stop: None,
            grant: None,
            launched: false,
            digests: Vec::new(),
            pull_started_at_ms: None,
            pull_stopped_at_ms: None,
            outcome: None,
            sent: Sent::Nothing,
        }
    }
}

/// That a task is to stop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopWish {
    /// Grows with each wish.
    pub generation: u64,
    /// Instead of the containers' own time-outs, in milliseconds; 0 kills at once.
    pub timeout_ms: Option<u64>,
    /// Why.
    pub reason: String,
}

/// What the control plane has acknowledged of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sent {
    /// Nothing.
    Nothing,
    /// That it runs.
    Running,
    /// That it has stopped.
    Stopped,
}

/// How a task ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Why, where that is known.
    pub reason: Option<String>,
    /// When its last container ended (or it was given up), milliseconds since the epoch.
    pub stopped_at_ms: u64,
    /// How each container ended, in the definition's order.
    pub containers: Vec<ContainerOutcome>,
}

/// How a container ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerOutcome {
    /// As shells tell it; `None` when the user's process never ran.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whose memory limit was hit (`container`, `task`, `node`), and that limit in bytes.
    pub oom: Option<(String, u64)>,
    /// Why, in words.
    pub reason: Option<String>,
    /// When the user's process began.
    pub started_at_ms: Option<u64>,
    /// When it ended.
    pub finished_at_ms: Option<u64>,
}
