//! One container of a task, as [`super::life`] keeps it.

use super::event::Now;
use super::order::{Progress, Reached};
use super::plan::{ContainerPlan, Dependency};
use super::view::{ContainerState, ContainerView, ExitRecord, OomKill, OomScope};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Waiting,
    Creating,
    Abandoned,
    Released,
    Running,
    Stopped,
}

/// How far the stop of one container has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    No,
    /// Its turn has come; it is killed at this monotonic time.
    Until(u64),
    Killed,
}

#[derive(Debug, Clone)]
pub(super) struct Container {
    pub(super) name: Box<str>,
    pub(super) essential: bool,
    pub(super) depends_on: Box<[Dependency]>,
    pub(super) start_timeout_ms: u64,
    pub(super) stop_timeout_ms: u64,
    pub(super) stop_signal: i32,
    pub(super) stage: Stage,
    pub(super) asked: Asked,
    pub(super) pid: Option<u32>,
    pub(super) started: Option<Now>,
    pub(super) exit: Option<ExitRecord>,
}

impl Container {
    /// The container of `plan`, before anything is done.
    pub(super) fn new(plan: &ContainerPlan) -> Self {
        Self {
            name: plan.name.as_str().into(),
            essential: plan.essential,
            depends_on: plan.depends_on.as_slice().into(),
            start_timeout_ms: plan.start_timeout_ms,
            stop_timeout_ms: plan.stop_timeout_ms,
            stop_signal: plan.stop_signal,
            stage: Stage::Waiting,
            asked: Asked::No,
            pid: None,
            started: None,
            exit: None,
        }
    }

    pub(super) fn progress(&self) -> Progress<'_> {
        let reached = match (self.stage, self.started, &self.exit) {
            (Stage::Running, _, _) => Reached::Running,
            (Stage::Stopped, Some(_), Some(ExitRecord { code: Some(code), .. })) => Reached::Ended(*code),
            (Stage::Stopped, _, _) => Reached::Never,
            _ => Reached::NotYet,
        };
        Progress {
            name: &self.name,
            reached,
            started_ms: self.started.map(|s| s.mono_ms),
            start_timeout_ms: self.start_timeout_ms,
            // Plans of this version carry no health checks.
            healthy: None,
        }
    }

    pub(super) fn view(&self) -> ContainerView {
        let state = match (self.stage, self.asked) {
            (Stage::Waiting, _) => ContainerState::Waiting,
            (Stage::Stopped, _) => ContainerState::Stopped,
            (_, Asked::Until(_) | Asked::Killed) => ContainerState::Stopping,
            (Stage::Running, Asked::No) => ContainerState::Running,
            (Stage::Creating | Stage::Released | Stage::Abandoned, Asked::No) => ContainerState::Starting,
        };
        ContainerView {
            name: self.name.to_string(),
            state,
            pid: self.pid,
            started_at_ms: self.started.map(|s| s.wall_ms),
            exit: self.exit.clone(),
        }
    }
}

/// The reason of an end for want of memory: the name is Amazon ECS's, the limit is what its users miss.
pub(super) fn oom_reason(oom: OomKill) -> String {
    let whose = match oom.scope {
        OomScope::Container => "the container's own limit",
        OomScope::Task => "the task's limit",
        OomScope::Node => "the node's limit for tasks",
    };
    if oom.limit_bytes == 0 {
        return format!("OutOfMemoryError: Container killed due to memory usage: {whose} was hit");
    }
    format!("OutOfMemoryError: Container killed due to memory usage: {whose} of {} MiB was hit", oom.limit_bytes >> 20)
}
