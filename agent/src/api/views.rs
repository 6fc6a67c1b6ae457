//! The node's own types, as the operators' socket says them.

use super::types::{
    Amount, ApiError, BindingView, ContainerStatus, ContainerView, ImageView, NodeView, OomView, Origin, PoolView,
    PortsView, PullEvent, PullLayer, PullStep, TaskCounts, TaskStatus, TaskView,
};
use crate::capacity::Book;
use crate::config::{Backend, Settings};
use crate::control::Connection;
use crate::engine::{Status, TaskState};
use crate::registry;
use crate::task::{self, transport_name};
use berth_runtime::image::ImageRecord;
use berth_runtime::net::plan::Transport;
use berth_runtime::task::view::ContainerState;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

pub(super) fn task(state: &TaskState) -> TaskView {
    let task = &state.row.task;
    TaskView {
        id: task.id.clone(),
        arn: task.arn.clone(),
        name: state.row.name.clone(),
        family: task.family.clone(),
        revision: task.revision.clone(),
        origin: match task.origin {
            task::Origin::ControlPlane => Origin::ControlPlane,
            task::Origin::Local => Origin::Local,
        },
        status: status(state.status()),
        reason: state.reason().map(str::to_owned),
        network_mode: task.network.as_str().to_owned(),
        addresses: state.addresses().iter().map(ToString::to_string).collect(),
        cpu: task.cpu_needed(),
        memory: task.memory_needed(),
        containers: (0..task.containers.len()).map(|index| container(state, index)).collect(),
        created_at_ms: task.created_at_ms,
        pull_started_at_ms: state.row.pull_started_at_ms,
        pull_stopped_at_ms: state.row.pull_stopped_at_ms,
        started_at_ms: started(state),
        stopped_at_ms: state.row.outcome.as_ref().map(|o| o.stopped_at_ms),
        shim_socket: state.shim_socket.clone(),
    }
}

/// When all containers had started: as it was seen, or by the outcome of a task that ended in another agent's time.
fn started(state: &TaskState) -> Option<u64> {
    let by_outcome = || {
        let outcome = state.row.outcome.as_ref()?;
        let starts: Option<Vec<u64>> = outcome.containers.iter().map(|c| c.started_at_ms).collect();
        starts?.into_iter().max()
    };
    state.started_at_ms.or_else(by_outcome)
}

fn status(status: Status) -> TaskStatus {
    match status {
        Status::Waiting => TaskStatus::Waiting,
        Status::Preparing => TaskStatus::Preparing,
        Status::Starting => TaskStatus::Starting,
        Status::Running => TaskStatus::Running,
        Status::Stopping => TaskStatus::Stopping,
        Status::Stopped => TaskStatus::Stopped,
    }
}

fn container(state: &TaskState, index: usize) -> ContainerView {
    let definition = &state.row.task.containers[index];
    let (at, outcome) = state.container(index);
    let bindings = state.ports(index);
    let binding = |port: &crate::capacity::PortGrant| BindingView {
        protocol: transport_name::of(port.transport).to_owned(),
        bind_ip: "0.0.0.0".to_owned(),
        host_port: port.host_port,
        container_port: port.container_port,
        count: port.count,
    };
    ContainerView {
        name: definition.name.clone(),
        image: definition.image.clone(),
        image_digest: state.row.digests.get(index).cloned().flatten(),
        essential: definition.essential,
        status: match at {
            ContainerState::Waiting => ContainerStatus::Waiting,
            ContainerState::Starting => ContainerStatus::Starting,
            ContainerState::Running => ContainerStatus::Running,
            ContainerState::Stopping => ContainerStatus::Stopping,
            ContainerState::Stopped => ContainerStatus::Stopped,
        },
        pid: if at == ContainerState::Stopped { None } else { state.pid(index) },
        exit_code: outcome.exit_code,
        signal: outcome.signal,
        oom: outcome.oom.map(|(scope, limit_bytes)| OomView { scope, limit_bytes }),
        reason: outcome.reason,
        started_at_ms: outcome.started_at_ms,
        finished_at_ms: outcome.finished_at_ms,
        addresses: state.container_addresses(index).iter().map(ToString::to_string).collect(),
        bindings: bindings.iter().map(binding).collect(),
    }
}

/// What the node view is made of, beside the book.
pub(super) struct NodeFacts<'a> {
    pub(super) settings: &'a Settings,
    pub(super) connection: &'a Connection,
    pub(super) backend: String,
    pub(super) runtime: PathBuf,
    pub(super) counts: TaskCounts,
    pub(super) warnings: Vec<String>,
}

pub(super) fn node(facts: NodeFacts<'_>, book: &Book) -> NodeView {
    let node = book.node();
    let amount = |total: u64, reserved: u64, used: u64| {
        let registered = total.saturating_sub(reserved);
        Amount { total, reserved, registered, used, remaining: registered.saturating_sub(used) }
    };
    let ports = |transport: Transport| {
        let mut used: Vec<u16> = book.used_ports(transport, false).into_iter().collect();
        used.sort_unstable();
        PortsView {
            reserved: node.reserved(transport).iter().copied().collect(),
            used,
            dynamic_range: (node.dynamic_ports.first, node.dynamic_ports.last),
        }
    };
    let used = book.used_addresses();
    let pools = [("bridge", &node.bridge), ("awsvpc", &node.awsvpc)];
    let pool_views = pools.iter().flat_map(|(name, pools)| {
        pools.iter().map(|pool| PoolView {
            pool: (*name).to_owned(),
            subnet: pool.subnet().to_string(),
            total: pool.size(),
            used: used.iter().filter(|a| pool.contains(**a)).count() as u64,
        })
    });
    NodeView {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cluster: facts.settings.cluster.clone(),
        backend: facts.backend,
        standalone: matches!(facts.settings.backend, Backend::Embedded(_)),
        connected: facts.connection.connected,
        last_contact_at_ms: facts.connection.last_contact_at_ms,
        container_instance_arn: facts.connection.container_instance_arn.clone(),
        run_dir: facts.settings.dirs.run.clone(),
        state_dir: facts.settings.dirs.state.clone(),
        runtime: facts.runtime,
        cpu: amount(node.cpu, node.reserved_cpu, book.used_cpu()),
        memory: amount(node.memory, node.reserved_memory, book.used_memory()),
        tcp_ports: ports(Transport::Tcp),
        udp_ports: ports(Transport::Udp),
        addresses: pool_views.collect(),
        tasks: facts.counts,
        warnings: facts.warnings,
    }
}

pub(super) fn counts<'a>(tasks: impl Iterator<Item = &'a TaskState>) -> TaskCounts {
    let mut counts = TaskCounts::default();
    for task in tasks {
        match task.status() {
            Status::Waiting | Status::Preparing => counts.pending += 1,
            Status::Starting | Status::Running => counts.running += 1,
            Status::Stopping => counts.stopping += 1,
            Status::Stopped => counts.stopped += 1,
        }
    }
    counts
}

pub(super) fn image(record: &ImageRecord, used_by: Vec<String>) -> ImageView {
    ImageView {
        reference: record.reference.clone(),
        digest: record.digest.to_string(),
        size_bytes: record.size(),
        layers: record.layers.len() as u64,
        pulled_at_ms: milliseconds(record.pulled_at),
        used_by,
    }
}

fn milliseconds(time: SystemTime) -> Option<u64> {
    u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
}

pub(super) fn pull_event(event: &registry::PullEvent, sizes: &[(String, u64)]) -> PullEvent {
    match event {
        registry::PullEvent::Resolved { digest, layers } => PullEvent::Manifest {
            digest: digest.to_string(),
            layers: layers.iter().map(|(d, size)| PullLayer { digest: d.to_string(), size: *size }).collect(),
        },
        registry::PullEvent::Layer { digest, state } => {
            let digest = digest.to_string();
            let size = sizes.iter().find(|(d, _)| *d == digest).map_or(0, |(_, size)| *size);
            let (step, current, total) = match state {
                registry::LayerState::Waiting => (PullStep::Waiting, 0, size),
                registry::LayerState::Downloading { bytes, total } => (PullStep::Downloading, *bytes, *total),
                registry::LayerState::Unpacking => (PullStep::Unpacking, size, size),
                registry::LayerState::Here | registry::LayerState::Done => (PullStep::Done, size, size),
            };
            PullEvent::Progress { digest, step, current, total }
        }
    }
}

pub(super) fn pull_error(error: &registry::PullError) -> ApiError {
    ApiError { message: error.text(), field: None, hint: error.hint() }
}
