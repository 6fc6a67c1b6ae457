//! What agents report of their tasks. Reports may be late, repeated or incomplete; they move a task forwards only.

use super::{State, TaskRecord, Turn, run};
use crate::arn::last;
use crate::error::ApiError;
use berth_wire::ecs::values::{desired_status, last_status, task_stop_code};
use berth_wire::ecs::{
    Container, ContainerStateChange, NetworkBinding, NetworkInterface, SubmitAttachmentStateChangesRequest,
    SubmitAttachmentStateChangesResponse, SubmitContainerStateChangeRequest, SubmitContainerStateChangeResponse,
    SubmitTaskStateChangeRequest, SubmitTaskStateChangeResponse,
};

/// The text that ECS has for the end of an essential container.
const ESSENTIAL_EXITED: &str = "Essential container in task exited";

fn acknowledgment() -> Option<String> {
    Some("ACK".to_owned())
}

/// How far along a status is. Anything unknown is the beginning: the stock agent says PENDING for most of its states.
fn order(status: &str) -> u8 {
    match status {
        last_status::RUNNING => 1,
        last_status::STOPPED => 2,
        _ => 0,
    }
}

fn advance(own: &mut String, reported: &str) -> bool {
    let further = order(reported) > order(own);
    if further {
        *own = reported.to_owned();
    }
    further
}

impl State {
    pub(crate) fn submit_task_state_change(
        &mut self,
        request: SubmitTaskStateChangeRequest,
        turn: &mut Turn<'_>,
    ) -> Result<SubmitTaskStateChangeResponse, ApiError> {
        let id = self.reported(request.cluster.as_deref(), request.task.as_deref())?;
        let Some(task) = self.tasks.get_mut(&id) else { return Err(not_found(&id)) };
        if task.record.stopped() {
            return Ok(SubmitTaskStateChangeResponse { acknowledgment: acknowledgment() });
        }
        for change in &request.containers {
            container(&mut task.record, change);
        }
        let view = &mut task.record.view;
        view.pull_started_at = view.pull_started_at.or(request.pull_started_at);
        view.pull_stopped_at = view.pull_stopped_at.or(request.pull_stopped_at);
        view.execution_stopped_at = view.execution_stopped_at.or(request.execution_stopped_at);
        let status = request.status.as_deref().unwrap_or_default();
        if status == last_status::RUNNING && advance(&mut view.last_status, status) {
            view.started_at = Some(turn.now);
        }
        let reason = request.reason.filter(|reason| !reason.is_empty());
        let stopped = status == last_status::STOPPED;
        let ended = essential_ended(&task.record);
        if stopped || ended {
            // When the agent says why, that is better than our general words; a stop that was asked for keeps its own.
            let (code, reason) = why(&task.record, reason);
            self.wish_stopped(&id, code, reason, turn);
        }
        if stopped {
            self.mark_stopped(&id, turn);
        } else {
            self.changed(&id, turn);
        }
        Ok(SubmitTaskStateChangeResponse { acknowledgment: acknowledgment() })
    }

    pub(crate) fn submit_container_state_change(
        &mut self,
        request: SubmitContainerStateChangeRequest,
        turn: &mut Turn<'_>,
    ) -> Result<SubmitContainerStateChangeResponse, ApiError> {
        let id = self.reported(request.cluster.as_deref(), request.task.as_deref())?;
        let Some(task) = self.tasks.get_mut(&id) else { return Err(not_found(&id)) };
        if !task.record.stopped() {
            let change = ContainerStateChange {
                container_name: request.container_name.unwrap_or_default(),
                runtime_id: request.runtime_id,
                status: request.status.unwrap_or_default(),
                exit_code: request.exit_code,
                reason: request.reason,
                network_bindings: request.network_bindings,
                ..ContainerStateChange::default()
            };
            container(&mut task.record, &change);
            if essential_ended(&task.record) {
                let (code, reason) = why(&task.record, None);
                self.wish_stopped(&id, code, reason, turn);
            }
            self.changed(&id, turn);
        }
        Ok(SubmitContainerStateChangeResponse { acknowledgment: acknowledgment() })
    }

    /// We attach nothing, so there is nothing that could change; an agent that reports must still be answered.
    pub(crate) fn submit_attachment_state_changes(
        &self,
        _request: &SubmitAttachmentStateChangesRequest,
    ) -> SubmitAttachmentStateChangesResponse {
        SubmitAttachmentStateChangesResponse { acknowledgment: acknowledgment() }
    }

    /// The id of the task that a report is about. A report on a task that we do not know is refused with an error that
    /// agents do not repeat.
    fn reported(&self, cluster: Option<&str>, task: Option<&str>) -> Result<String, ApiError> {
        let cluster = self.cluster(cluster)?;
        let reference = task.unwrap_or_default();
        match self.task_of(&cluster, reference) {
            Some(task) => Ok(task.record.id.clone()),
            None => Err(not_found(last(reference))),
        }
    }

    /// Notes a change that may also have changed which ports are taken.
    fn changed(&mut self, id: &str, turn: &mut Turn<'_>) {
        if let Some(instance) = self.tasks.get(id).map(|task| task.record.instance.clone()) {
            self.recount(&instance);
        }
        self.touch(id, turn);
    }
}

fn not_found(id: &str) -> ApiError {
    ApiError::invalid(format!("The referenced task was not found: `{id}`"))
}

/// Takes in the report on one container.
fn container(record: &mut TaskRecord, change: &ContainerStateChange) {
    let mode = record.payload.network_mode.as_str();
    let Some(own) = record.view.containers.iter_mut().find(|own| own.name == change.container_name) else { return };
    advance(&mut own.last_status, &change.status);
    let text = |own: &mut Option<String>, new: &Option<String>| {
        if new.as_deref().is_some_and(|new| !new.is_empty()) {
            own.clone_from(new);
        }
    };
    text(&mut own.runtime_id, &change.runtime_id);
    text(&mut own.image_digest, &change.image_digest);
    text(&mut own.reason, &change.reason);
    own.exit_code = change.exit_code.or(own.exit_code);
    if run::has_own_address(mode) {
        addresses(own, &change.network_bindings);
    } else if !change.network_bindings.is_empty() {
        own.network_bindings.clone_from(&change.network_bindings);
    }
}

/// With awsvpc and no attachment of ours, the address comes from the node's pool: the agent says it as the bind address
/// of a network binding, and it is shown where ECS shows a task's address.
fn addresses(own: &mut Container, bindings: &[NetworkBinding]) {
    let parsed = bindings.iter().filter_map(|binding| binding.bind_ip.as_deref()?.parse::<std::net::IpAddr>().ok());
    let known: Vec<_> = parsed.filter(|address| !address.is_unspecified()).collect();
    if known.is_empty() {
        return;
    }
    let v4 = known.iter().find(|address| address.is_ipv4()).map(ToString::to_string);
    let v6 = known.iter().find(|address| address.is_ipv6()).map(ToString::to_string);
    own.network_interfaces = vec![NetworkInterface { attachment_id: None, private_ipv4_address: v4, ipv6_address: v6 }];
}

fn essential_ended(record: &TaskRecord) -> bool {
    let essential = |name: &str| record.payload.containers.iter().any(|one| one.name == name && one.essential);
    record.view.containers.iter().any(|own| own.last_status == last_status::STOPPED && essential(&own.name))
}

/// Code and reason of a stop that nobody asked for.
fn why(record: &TaskRecord, reported: Option<String>) -> (&'static str, String) {
    let ran = record.view.started_at.is_some() || record.view.containers.iter().any(|own| own.exit_code.is_some());
    let of_container = || record.view.containers.iter().find_map(|own| own.reason.clone());
    if !ran {
        let reason = reported.or_else(of_container).unwrap_or_else(|| "Task failed to start".to_owned());
        return (task_stop_code::TASK_FAILED_TO_START, reason);
    }
    let reason = reported.unwrap_or_else(|| ESSENTIAL_EXITED.to_owned());
    (task_stop_code::ESSENTIAL_CONTAINER_EXITED, reason)
}

/// Whether a task is wished to run, as agents are told.
pub(super) fn wished_running(record: &TaskRecord) -> bool {
    record.view.desired_status != desired_status::STOPPED
}
