//! What is told of a task: its row, where the agent is with it, and its shim's last view.

use super::life::Life;
use crate::capacity::PortGrant;
use crate::store::{ContainerOutcome, Outcome, Row};
use berth_runtime::task::view::{ContainerState, ExitRecord, OomScope, Phase, TaskView};
use std::net::IpAddr;
use std::path::PathBuf;

/// A task, as of one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskState {
    /// What the store keeps of it.
    pub row: Row,
    /// Where the agent is with it.
    pub life: Life,
    /// What it waits for.
    pub waits_for: Option<String>,
    /// What its shim said last.
    pub view: Option<TaskView>,
    /// When all of its containers had started, milliseconds since the epoch.
    pub started_at_ms: Option<u64>,
    /// The shim's socket while there is a shim.
    pub shim_socket: Option<PathBuf>,
}

/// Where a task is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Until what it needs is free.
    Waiting,
    /// Images are pulled and its bundles made.
    Preparing,
    /// Its shim starts its containers.
    Starting,
    /// Every container has started.
    Running,
    /// Asked to stop, or an essential container has ended.
    Stopping,
    /// Nothing of it is left but its records.
    Stopped,
}

impl TaskState {
    /// Where it is.
    pub fn status(&self) -> Status {
        if self.row.outcome.is_some() {
            return Status::Stopped;
        }
        match &self.life {
            Life::Waiting => Status::Waiting,
            Life::Preparing => Status::Preparing,
            Life::Ended | Life::Collecting => Status::Stopped,
            Life::Stopping { .. } | Life::Sweeping | Life::Undoing { .. } => Status::Stopping,
            Life::Supervised => match self.view.as_ref().map(|v| v.phase) {
                None | Some(Phase::Starting) => Status::Starting,
                Some(Phase::Running) => Status::Running,
                Some(Phase::Stopping | Phase::Cleaning | Phase::Ended) => Status::Stopping,
            },
        }
    }

    /// What it waits for, or why it is stopping or has stopped.
    pub fn reason(&self) -> Option<&str> {
        if let Some(outcome) = &self.row.outcome {
            return outcome.reason.as_deref();
        }
        match &self.life {
            Life::Waiting => self.waits_for.as_deref(),
            Life::Stopping { reason } | Life::Undoing { reason } => Some(reason),
            _ => self.view.as_ref().and_then(|v| v.reason.as_deref()).or(self
                .row
                .stop
                .as_ref()
                .map(|stop| stop.reason.as_str())),
        }
    }

    /// The task's own addresses.
    pub fn addresses(&self) -> Vec<IpAddr> {
        if let Some(interface) = &self.row.task.interface {
            let v4 = interface.ipv4.map(IpAddr::from);
            return v4.into_iter().chain(interface.ipv6.map(IpAddr::from)).collect();
        }
        self.row.grant.as_ref().map(|g| g.awsvpc.clone()).unwrap_or_default()
    }

    /// Addresses of one container on the bridge.
    pub fn container_addresses(&self, container: usize) -> Vec<IpAddr> {
        let grants = self.row.grant.iter().flat_map(|g| &g.bridge);
        grants.filter(|b| b.container == container).flat_map(|b| b.addresses.iter().copied()).collect()
    }

    /// Ports of the host that lead to one container.
    pub fn ports(&self, container: usize) -> Vec<PortGrant> {
        let grants = self.row.grant.iter().flat_map(|g| &g.ports);
        grants.filter(|p| p.container == container).copied().collect()
    }

    /// Where one container is, and how it ended if it has.
    pub fn container(&self, index: usize) -> (ContainerState, ContainerOutcome) {
        if let Some(outcome) = &self.row.outcome {
            return (ContainerState::Stopped, outcome.containers.get(index).cloned().unwrap_or_default());
        }
        match self.view.as_ref().and_then(|v| v.containers.get(index)) {
            Some(view) => {
                let mut outcome = view.exit.as_ref().map(exit_outcome).unwrap_or_default();
                outcome.started_at_ms = view.started_at_ms;
                (view.state, outcome)
            }
            None => (ContainerState::Waiting, ContainerOutcome::default()),
        }
    }

    /// Process id of one container's init.
    pub fn pid(&self, index: usize) -> Option<u32> {
        self.view.as_ref()?.containers.get(index)?.pid
    }
}

/// How a task ended, by its shim's last view.
pub(super) fn outcome_of(view: &TaskView, now_ms: u64) -> Outcome {
    let containers = view.containers.iter().map(|c| {
        let mut outcome = c.exit.as_ref().map(exit_outcome).unwrap_or_default();
        outcome.started_at_ms = c.started_at_ms;
        outcome
    });
    let containers: Vec<ContainerOutcome> = containers.collect();
    let last = containers.iter().filter_map(|c| c.finished_at_ms).max();
    Outcome {
        reason: view.reason.clone(),
        stopped_at_ms: view.execution_stopped_at_ms.or(last).unwrap_or(now_ms),
        containers,
    }
}

/// The end of a task that never had a shim.
pub(super) fn outcome_without(reason: String, containers: usize, now_ms: u64) -> Outcome {
    Outcome { containers: vec![ContainerOutcome::default(); containers], reason: Some(reason), stopped_at_ms: now_ms }
}

/// A container's end as the store keeps it.
pub(super) fn exit_outcome(exit: &ExitRecord) -> ContainerOutcome {
    ContainerOutcome {
        exit_code: exit.code,
        signal: exit.signal,
        oom: exit.oom.map(|oom| (scope_word(oom.scope).to_owned(), oom.limit_bytes)),
        reason: exit.reason.clone(),
        started_at_ms: None,
        finished_at_ms: Some(exit.finished_at_ms),
    }
}

fn scope_word(scope: OomScope) -> &'static str {
    match scope {
        OomScope::Container => "container",
        OomScope::Task => "task",
        OomScope::Node => "node",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NetworkMode, fixtures};
    use berth_runtime::task::view::{ContainerView, OomKill};

    fn state(life: Life, phase: Option<Phase>) -> TaskState {
        let view = phase.map(|phase| TaskView {
            generation: 0,
            phase,
            reason: Some("shim's".into()),
            containers: vec![],
            execution_stopped_at_ms: None,
        });
        let row = Row::new(fixtures::task("t", NetworkMode::None), "n".into());
        TaskState { row, life, waits_for: Some("CPU".into()), view, started_at_ms: None, shim_socket: None }
    }

    #[test]
    fn the_word_for_a_task_follows_the_agent_then_the_shim() {
        assert_eq!(state(Life::Waiting, None).status(), Status::Waiting);
        assert_eq!(state(Life::Supervised, None).status(), Status::Starting);
        assert_eq!(state(Life::Supervised, Some(Phase::Running)).status(), Status::Running);
        assert_eq!(state(Life::Supervised, Some(Phase::Cleaning)).status(), Status::Stopping);
        assert_eq!(state(Life::Sweeping, Some(Phase::Running)).status(), Status::Stopping);
    }

    #[test]
    fn the_reason_is_what_is_waited_for_until_there_is_another() {
        assert_eq!(state(Life::Waiting, None).reason(), Some("CPU"));
        assert_eq!(state(Life::Supervised, Some(Phase::Stopping)).reason(), Some("shim's"));
        let mut ended = state(Life::Ended, None);
        ended.row.outcome = Some(outcome_without("no image".into(), 1, 5));
        assert_eq!((ended.status(), ended.reason()), (Status::Stopped, Some("no image")));
    }

    #[test]
    fn an_outcome_keeps_code_signal_and_the_limit_that_was_hit() {
        let exit = ExitRecord {
            code: Some(137),
            signal: Some(9),
            oom: Some(OomKill { scope: OomScope::Task, limit_bytes: 1 << 20 }),
            reason: None,
            finished_at_ms: 9,
        };
        let container = ContainerView {
            name: "app".into(),
            state: ContainerState::Stopped,
            pid: None,
            started_at_ms: Some(3),
            exit: Some(exit),
        };
        let view = TaskView {
            generation: 0,
            phase: Phase::Ended,
            reason: None,
            containers: vec![container],
            execution_stopped_at_ms: None,
        };
        let outcome = outcome_of(&view, 100);
        assert_eq!(outcome.stopped_at_ms, 9);
        assert_eq!(outcome.containers[0].oom, Some(("task".into(), 1 << 20)));
        assert_eq!((outcome.containers[0].started_at_ms, outcome.containers[0].exit_code), (Some(3), Some(137)));
    }
}
