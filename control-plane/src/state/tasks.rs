//! Tasks that exist: stopping, describing, listing, protecting them.

use super::clusters::missing;
use super::page::page;
use super::{State, Task, Turn, moment};
use crate::arn::last;
use crate::error::ApiError;
use berth_wire::ecs::values::{connectivity, desired_status, last_status, task_stop_code};
use berth_wire::ecs::{
    DescribeTasksRequest, DescribeTasksResponse, GetTaskProtectionRequest, GetTaskProtectionResponse, ListTasksRequest,
    ListTasksResponse, ProtectedTask, StopTaskRequest, StopTaskResponse, UpdateTaskProtectionRequest,
    UpdateTaskProtectionResponse,
};

impl State {
    /// The task that a request means, in the cluster that it means.
    pub(super) fn task_of(&self, cluster: &str, reference: &str) -> Option<&Task> {
        self.tasks.get(last(reference)).filter(|task| task.record.cluster == cluster)
    }

    /// Wishes the task stopped; the agent does it and reports. Asking again changes nothing.
    pub(crate) fn stop_task(
        &mut self,
        request: StopTaskRequest,
        turn: &mut Turn<'_>,
    ) -> Result<StopTaskResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let task = self
            .task_of(&cluster, &request.task)
            .ok_or_else(|| ApiError::invalid(format!("The referenced task was not found: `{}`", request.task)))?;
        let id = task.record.id.clone();
        if !task.record.stopped() {
            let reason = request.reason.filter(|reason| !reason.is_empty());
            let reason = reason.unwrap_or_else(|| "Task stopped by user".to_owned());
            self.wish_stopped(&id, task_stop_code::USER_INITIATED, reason, turn);
        }
        Ok(StopTaskResponse { task: self.tasks.get(&id).map(|task| task.record.view.clone()) })
    }

    /// Sets the desired status to STOPPED, for the first reason given.
    pub(super) fn wish_stopped(&mut self, id: &str, code: &str, reason: String, turn: &mut Turn<'_>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let view = &mut task.record.view;
        if view.desired_status == desired_status::STOPPED {
            return;
        }
        view.desired_status = desired_status::STOPPED.to_owned();
        view.stopping_at = Some(turn.now);
        view.stop_code = Some(code.to_owned());
        view.stopped_reason = Some(reason);
        turn.effects.wake.insert(task.record.instance.clone());
        self.touch(id, turn);
    }

    /// Calls a task STOPPED of which nothing more will be heard.
    pub(super) fn give_up(&mut self, id: &str, reason: &str, turn: &mut Turn<'_>) {
        self.wish_stopped(id, task_stop_code::TERMINATION_NOTICE, reason.to_owned(), turn);
        self.mark_stopped(id, turn);
    }

    /// Moves the task to STOPPED and gives back what it held.
    pub(super) fn mark_stopped(&mut self, id: &str, turn: &mut Turn<'_>) {
        let Some(task) = self.tasks.get_mut(id) else { return };
        let view = &mut task.record.view;
        view.last_status = last_status::STOPPED.to_owned();
        // Also those that the last report did not name.
        for container in &mut view.containers {
            container.last_status = last_status::STOPPED.to_owned();
        }
        view.desired_status = desired_status::STOPPED.to_owned();
        view.stopped_at = Some(turn.now);
        view.execution_stopped_at.get_or_insert(turn.now);
        task.delivered = Some(desired_status::STOPPED.to_owned());
        self.stopped.insert((moment(turn.now), id.to_owned()));
        let instance = task.record.instance.clone();
        if let Some(entry) = self.instances.get_mut(&instance) {
            entry.tasks.remove(id);
        }
        self.recount(&instance);
        self.touch(id, turn);
    }

    pub(crate) fn describe_tasks(&self, request: &DescribeTasksRequest) -> Result<DescribeTasksResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        if request.tasks.is_empty() {
            return Err(ApiError::invalid("Tasks cannot be empty."));
        }
        let tags = request.include.iter().any(|include| include == "TAGS");
        let mut response = DescribeTasksResponse::default();
        for reference in &request.tasks {
            match self.task_of(&cluster, reference) {
                Some(task) => {
                    let mut view = task.record.view.clone();
                    let connected = self.instances.get(&task.record.instance).is_some_and(|i| i.connected);
                    let connectivity = if connected { connectivity::CONNECTED } else { connectivity::DISCONNECTED };
                    view.connectivity = Some(connectivity.to_owned());
                    if !tags {
                        view.tags.clear();
                    }
                    response.tasks.push(view);
                }
                None => response.failures.push(missing(self.names.task(&cluster, last(reference)))),
            }
        }
        Ok(response)
    }

    pub(crate) fn list_tasks(&self, request: &ListTasksRequest) -> Result<ListTasksResponse, ApiError> {
        let cluster = self.cluster(request.cluster.as_deref())?;
        let wanted = request.desired_status.as_deref().unwrap_or(desired_status::RUNNING);
        let same =
            |filter: &Option<String>, own: Option<&str>| filter.as_deref().is_none_or(|filter| own == Some(filter));
        let instance = request.container_instance.as_deref().map(last);
        let group = request.service_name.as_deref().map(|name| format!("service:{}", last(name)));
        let fits = |task: &&Task| {
            let (record, view) = (&task.record, &task.record.view);
            record.cluster == cluster
                && view.desired_status == wanted
                && same(&request.family, Some(&record.payload.family))
                && same(&request.started_by, view.started_by.as_deref())
                && same(&request.launch_type, view.launch_type.as_deref())
                && same(&group, view.group.as_deref())
                && instance.is_none_or(|instance| record.instance == instance)
        };
        let mut all: Vec<String> = self.tasks.values().filter(fits).map(|t| t.record.view.task_arn.clone()).collect();
        all.sort();
        let (task_arns, next_token) = page(all, request.next_token.as_deref(), request.max_results)?;
        Ok(ListTasksResponse { task_arns, next_token })
    }

    /// Protection keeps services from stopping a task; there are none here yet, so it is only remembered.
    pub(crate) fn update_task_protection(
        &mut self,
        request: UpdateTaskProtectionRequest,
        turn: &mut Turn<'_>,
    ) -> Result<UpdateTaskProtectionResponse, ApiError> {
        let cluster = self.cluster(Some(&request.cluster))?;
        // Two hours is ECS's default, two days its most.
        let minutes = request.expires_in_minutes.unwrap_or(120);
        if !(1..=2880).contains(&minutes) {
            return Err(ApiError::invalid(format!("expiresInMinutes: got {minutes}, must be 1 to 2880")));
        }
        let until = request.protection_enabled.then_some(turn.now + minutes as f64 * 60.0);
        let mut response = UpdateTaskProtectionResponse::default();
        for reference in &request.tasks {
            let id = last(reference);
            match self.task_of(&cluster, reference).filter(|task| !task.record.stopped()) {
                None => response.failures.push(missing(self.names.task(&cluster, id))),
                Some(_) => {
                    if let Some(task) = self.tasks.get_mut(id) {
                        task.record.protected_until = until;
                        response.protected_tasks.push(protection(task, turn.now));
                    }
                    self.touch(id, turn);
                }
            }
        }
        Ok(response)
    }

    pub(crate) fn task_protection(
        &self,
        request: &GetTaskProtectionRequest,
        now: f64,
    ) -> Result<GetTaskProtectionResponse, ApiError> {
        let cluster = self.cluster(Some(&request.cluster))?;
        let mut response = GetTaskProtectionResponse::default();
        for reference in &request.tasks {
            match self.task_of(&cluster, reference).filter(|task| !task.record.stopped()) {
                Some(task) => response.protected_tasks.push(protection(task, now)),
                None => response.failures.push(missing(self.names.task(&cluster, last(reference)))),
            }
        }
        Ok(response)
    }
}

fn protection(task: &Task, now: f64) -> ProtectedTask {
    let until = task.record.protected_until.filter(|until| *until > now);
    ProtectedTask {
        task_arn: Some(task.record.view.task_arn.clone()),
        protection_enabled: until.is_some(),
        expiration_date: until,
    }
}
