//! What a shim says of its task: the one value that goes up.

use crate::{enum_codec, struct_codec};

/// A task as its shim knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskView {
    /// The highest generation of a wish the shim has taken.
    pub generation: u64,
    /// Where the task is in its life.
    pub phase: Phase,
    /// Why it is stopping or has ended, where that is known.
    pub reason: Option<String>,
    /// Containers in the order of the plan.
    pub containers: Vec<ContainerView>,
    /// Wall clock when the last container ended, milliseconds since the epoch.
    pub execution_stopped_at_ms: Option<u64>,
}
struct_codec!(TaskView { generation, phase, reason, containers, execution_stopped_at_ms });

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Not every container that should has started yet.
    Starting,
    /// Every container has started (some may have ended, where that ends nothing).
    Running,
    /// Being stopped.
    Stopping,
    /// Every container has ended; network, groups and mounts are being removed.
    Cleaning,
    /// Nothing of it is left but its records.
    Ended,
}
enum_codec!(Phase { 0 => Starting, 1 => Running, 2 => Stopping, 3 => Cleaning, 4 => Ended });

/// A container as its shim knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerView {
    /// Its name in the task definition.
    pub name: String,
    /// Where it is in its life.
    pub state: ContainerState,
    /// Process id of its init in the host's pid namespace while it lives.
    pub pid: Option<u32>,
    /// Wall clock when the user's process began, milliseconds since the epoch.
    pub started_at_ms: Option<u64>,
    /// How it ended.
    pub exit: Option<ExitRecord>,
}
struct_codec!(ContainerView { name, state, pid, started_at_ms, exit });

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Waits for its dependencies.
    Waiting,
    /// A worker makes it.
    Starting,
    /// The user's process runs.
    Running,
    /// Was asked to stop and has not ended.
    Stopping,
    /// Has ended, or never began and never will.
    Stopped,
}
enum_codec!(ContainerState { 0 => Waiting, 1 => Starting, 2 => Running, 3 => Stopping, 4 => Stopped });

/// How a container ended; durable before it is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitRecord {
    /// The exit code as shells tell it: the process's own, or 128 plus the signal's number; 127 or 126 when the
    /// user's program was not found or cannot be run. `None` when it never ran for another reason.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The memory limit that was hit, where the kernel killed it for that.
    pub oom: Option<OomKill>,
    /// In words, with the name that Amazon ECS gives such an end in front where it has one
    /// (`CannotStartContainerError: ...`).
    pub reason: Option<String>,
    /// Wall clock in milliseconds since the epoch.
    pub finished_at_ms: u64,
}
struct_codec!(ExitRecord { code, signal, oom, reason, finished_at_ms });

/// A kill by the kernel for want of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OomKill {
    /// Whose limit was hit.
    pub scope: OomScope,
    /// That limit in bytes.
    pub limit_bytes: u64,
}
struct_codec!(OomKill { scope, limit_bytes });

/// Whose memory limit was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OomScope {
    /// The container's own.
    Container,
    /// The task's.
    Task,
    /// Neither: the host was out of memory, or what is left for tasks after what is reserved for the host.
    Node,
}
enum_codec!(OomScope { 0 => Container, 1 => Task, 2 => Node });
