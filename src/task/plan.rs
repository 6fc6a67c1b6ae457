//! What a shim is to run: compact, checked by the agent, complete (nothing is looked up later).

use crate::cgroup::limits::Limits;
use crate::net::plan::NetPlan;
use crate::spec::IdMaps;
use crate::{enum_codec, struct_codec};
use std::path::PathBuf;

/// The version of the plan's binary form, the first value in the file.
pub const PLAN_VERSION: u32 = 2;

/// A task as its shim sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskPlan {
    /// [`PLAN_VERSION`] of the writer.
    pub version: u32,
    /// The task's id, see [`crate::id::TaskId`].
    pub task: String,
    /// The node's cgroup parent below each hierarchy's mount, such as `berth`; the task's group is
    /// `PARENT/tasks/TASK`, the shim's is `PARENT/shims`.
    pub cgroup_parent: String,
    /// Limits of the task as a whole.
    pub limits: Limits,
    /// The network namespace that all containers share (awsvpc), or `None` when each has its own in
    /// [`ContainerPlan::network`].
    pub network: Option<NetPlan>,
    /// Containers in the order of the task definition.
    pub containers: Vec<ContainerPlan>,
    /// What users and groups of its containers are on the host, where they are others: networks are made for them. The
    /// bundles say the same.
    pub users: IdMaps,
}
struct_codec!(TaskPlan { version, task, cgroup_parent, limits, network, containers, users });

/// One container of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPlan {
    /// Its name in the task definition, see [`crate::id::ContainerName`].
    pub name: String,
    /// The task is stopped when this container ends.
    pub essential: bool,
    /// Its OCI bundle: `config.json` and, beside it, `snapshot`.
    pub bundle: PathBuf,
    /// Its own network namespace, or `None` when the task's is shared.
    pub network: Option<NetPlan>,
    /// What must have happened to which other containers (by index) before this one starts.
    pub depends_on: Vec<Dependency>,
    /// How long those that depend on this container wait for it, in milliseconds; 0 is for ever.
    pub start_timeout_ms: u64,
    /// Time between the stop signal and SIGKILL in milliseconds.
    pub stop_timeout_ms: u64,
    /// Number of the signal that asks the container to stop.
    pub stop_signal: i32,
    /// Where its output goes.
    pub log: LogPlan,
}
struct_codec!(ContainerPlan {
    name,
    essential,
    bundle,
    network,
    depends_on,
    start_timeout_ms,
    stop_timeout_ms,
    stop_signal,
    log
});

/// An arrow of a task definition's `dependsOn`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dependency {
    /// Index of the container depended on.
    pub on: u32,
    /// What must have happened to it.
    pub condition: Condition,
}
struct_codec!(Dependency { on, condition });

/// What must have happened to a container that another depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It runs, or has run.
    Start,
    /// It has ended, with any exit code.
    Complete,
    /// It has ended with exit code 0.
    Success,
    /// Its health check says healthy.
    Healthy,
}
enum_codec!(Condition { 0 => Start, 1 => Complete, 2 => Success, 3 => Healthy });

/// Where a container's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPlan {
    /// Nowhere.
    Discard,
    /// To the container's log file as json-file lines.
    File,
}
enum_codec!(LogPlan { 0 => Discard, 1 => File });
