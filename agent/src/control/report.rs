//! What the control plane is told of a task, and when. Pure.

use crate::capacity::PortGrant;
use crate::engine::{Status, TaskState};
use crate::store::Sent;
use crate::task::{NetworkMode, Origin, transport_name};
use berth_runtime::task::view::ContainerState;
use berth_wire::ecs::{AttachmentStateChange, ContainerStateChange, NetworkBinding, SubmitTaskStateChangeRequest};

/// The longest reason the API takes.
const MAX_REASON: usize = 1024;

/// What has been told of a task.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Told {
    /// Of the task.
    pub(super) sent: Sent,
    /// Of its containers, where that was in this agent's life.
    pub(super) containers: Vec<ContainerStateChange>,
}

/// What is to be told next, if anything: that it runs, that a container has changed while it runs, that it has stopped.
pub(super) fn next(state: &TaskState, told: &Told, cluster: &str) -> Option<(Told, SubmitTaskStateChangeRequest)> {
    if state.row.task.origin == Origin::Local {
        return None;
    }
    let (sent, status) = match state.status() {
        Status::Running => (Sent::Running, "RUNNING"),
        // On the way to its end it still counts as running: containers that have ended are told with it.
        Status::Stopping if told.sent == Sent::Running => (Sent::Running, "RUNNING"),
        Status::Stopped => (Sent::Stopped, "STOPPED"),
        _ => return None,
    };
    let containers = containers(state);
    let news = sent > told.sent || (sent == Sent::Running && told.sent == sent && containers != told.containers);
    // A restarted agent does not know what was told of containers: it tells again what may have been told.
    if !news {
        return None;
    }
    let interface = state.row.task.interface.as_ref().and_then(|i| i.attachment_arn.clone());
    let attachments = interface.filter(|_| told.sent == Sent::Nothing && sent == Sent::Running);
    let request = SubmitTaskStateChangeRequest {
        cluster: Some(cluster.to_owned()),
        task: Some(state.row.task.arn.clone()),
        status: Some(status.to_owned()),
        reason: if sent == Sent::Stopped { state.reason().map(|r| truncate(r, MAX_REASON)) } else { None },
        containers: containers.clone(),
        attachments: attachments
            .map(|attachment_arn| AttachmentStateChange { attachment_arn, status: "ATTACHED".into() })
            .into_iter()
            .collect(),
        pull_started_at: state.row.pull_started_at_ms.map(seconds),
        pull_stopped_at: state.row.pull_stopped_at_ms.map(seconds),
        execution_stopped_at: state.row.outcome.as_ref().map(|o| seconds(o.stopped_at_ms)),
        ..SubmitTaskStateChangeRequest::default()
    };
    Some((Told { sent, containers }, request))
}

fn containers(state: &TaskState) -> Vec<ContainerStateChange> {
    let task = &state.row.task;
    let change = |index: usize| {
        let (at, outcome) = state.container(index);
        let status = match at {
            ContainerState::Stopped => "STOPPED",
            ContainerState::Running | ContainerState::Stopping => "RUNNING",
            ContainerState::Waiting | ContainerState::Starting => "PENDING",
        };
        let reason = outcome.oom.as_ref().map(|(scope, bytes)| oom_reason(scope, *bytes)).or(outcome.reason);
        ContainerStateChange {
            container_name: task.containers[index].name.clone(),
            image_digest: state.row.digests.get(index).cloned().flatten(),
            runtime_id: Some(format!("{}.{}", task.id, task.containers[index].name)).map(|id| truncate(&id, 255)),
            exit_code: outcome.exit_code.map(i64::from),
            network_bindings: bindings(task.network, &state.ports(index)),
            reason: reason.map(|r| truncate(&r, MAX_REASON)),
            status: status.to_owned(),
        }
    };
    (0..task.containers.len()).map(change).collect()
}

/// In Amazon ECS's words, and with the limit.
fn oom_reason(scope: &str, bytes: u64) -> String {
    format!("OutOfMemoryError: Container killed due to memory usage ({scope} limit {} MiB)", bytes >> 20)
}

fn bindings(network: NetworkMode, ports: &[PortGrant]) -> Vec<NetworkBinding> {
    if !matches!(network, NetworkMode::Bridge | NetworkMode::Host) {
        return Vec::new();
    }
    let binding = |port: &PortGrant| {
        let mut binding = NetworkBinding {
            bind_ip: Some("0.0.0.0".into()),
            protocol: Some(transport_name::of(port.transport).into()),
            ..NetworkBinding::default()
        };
        if port.count == 1 {
            binding.container_port = Some(port.container_port.into());
            binding.host_port = Some(port.host_port.into());
        } else {
            let range = |first: u16| Some(format!("{first}-{}", u32::from(first) + u32::from(port.count) - 1));
            binding.container_port_range = range(port.container_port);
            binding.host_port_range = range(port.host_port);
        }
        binding
    };
    ports.iter().map(binding).collect()
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

fn truncate(text: &str, max: usize) -> String {
    text.chars().take(max).collect()
}

#[cfg(test)]
mod tests;
