//! `POST /v1/tasks`: from a task definition to tasks.
//!
//! ```text
//!  check the definition ─► images are there ─► ports could be had ─┬─ standalone: register, RunTask; the payload brings it
//!        (nothing is created before all of it holds)               └─ remote: straight to the engine, as the operator's own
//! ```

use super::failure::Failure;
use super::types::{ApiError, RunRequest, RunResponse};
use super::{Api, views};
use crate::control::convert::{self, Border};
use crate::engine::{Images, Shortage, Status, SubmitError, now_ms};
use crate::task::{Origin, Task};
use berth_control_plane::validate::{FieldError, unknown_fields};
use berth_control_plane::{ControlPlane, local_task};
use berth_runtime::errno::chain;
use berth_wire::ecs::{RegisterTaskDefinitionRequest, RunTaskRequest};
use http::StatusCode;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most tasks of one request.
const MAX_COUNT: u32 = 200;

/// Most tasks of one `RunTask`.
const PER_CALL: u32 = 10;

/// How long a request waits for an agent and its own control plane to have met.
const MEETING: Duration = Duration::from_secs(5);

/// How long a task may take from the control plane to the engine.
const ARRIVAL: Duration = Duration::from_secs(30);

/// Revisions registered before, by the definition's text: a definition that is run again is not registered again.
#[derive(Debug, Default)]
pub(super) struct Registered(Mutex<HashMap<String, String>>);

pub(super) async fn launch(api: &Api, request: RunRequest) -> Result<RunResponse, Failure> {
    let count = request.count.unwrap_or(1);
    if count == 0 || count > MAX_COUNT {
        return Err(Failure::bad(format!("count `{count}`: must be between 1 and {MAX_COUNT}")).field("count"));
    }
    let definition = parse(request.definition)?;
    let preview = preview(api, &definition)?;
    obtain_images(api, &preview).await?;
    api.engine.could_admit(&preview).map_err(shortage)?;
    let names = Names::reserve(api, request.name.as_deref(), count)?;
    let ids = match &api.plane {
        Some(plane) => run_through(api, plane, definition, count).await?,
        None => run_locally(api, definition, count).await?,
    };
    let wanted = names.settle(&ids);
    let mut tasks = Vec::with_capacity(ids.len());
    for (index, id) in ids.iter().enumerate() {
        tasks.push(arrived(api, id, wanted.get(index).map(String::as_str), request.wait_running).await?);
    }
    Ok(RunResponse { tasks })
}

fn parse(mut definition: serde_json::Value) -> Result<RegisterTaskDefinitionRequest, Failure> {
    // What `describe-task-definition` prints is taken too.
    if let Some(inner) = definition.get_mut("taskDefinition").filter(|inner| inner.is_object()) {
        definition = inner.take();
    }
    let unknown = unknown_fields(&definition);
    if !unknown.is_empty() {
        return Err(fields(unknown));
    }
    serde_json::from_value(definition).map_err(|e| Failure::bad(format!("task definition: {e}")))
}

fn fields(faults: Vec<FieldError>) -> Failure {
    let message: Vec<String> = faults.iter().map(ToString::to_string).collect();
    let first = faults.into_iter().next().map(|f| f.field);
    Failure(StatusCode::BAD_REQUEST, ApiError { message: message.join("; "), field: first, hint: None })
}

/// The task as it would be, to check what can be checked before anything is begun.
fn preview(api: &Api, definition: &RegisterTaskDefinitionRequest) -> Result<Task, Failure> {
    convert_locally(api, definition.clone(), "preview")
}

fn convert_locally(api: &Api, definition: RegisterTaskDefinitionRequest, id: &str) -> Result<Task, Failure> {
    let cluster = format!("arn:aws:ecs:{}:000000000000:cluster/{}", api.settings.region, api.settings.cluster);
    let arn = format!("arn:aws:ecs:{}:000000000000:task/{}/{id}", api.settings.region, api.settings.cluster);
    let payload = local_task(definition, &arn, &cluster).map_err(fields)?;
    let border = Border {
        origin: Origin::Local,
        disable_privileged: api.settings.disable_privileged,
        remap: api.settings.userns_remap,
        now_ms: now_ms(),
    };
    convert::task(&payload, border).map_err(|refusal| Failure::bad(refusal.to_string()).field(refusal.field.clone()))
}

async fn obtain_images(api: &Api, task: &Task) -> Result<(), Failure> {
    for (index, container) in task.containers.iter().enumerate() {
        let obtained = api.images.obtain(&container.image).await;
        obtained.map_err(|e| {
            let message = format!("image `{}`: {}", container.image, e.text);
            let failure = Failure::bad(message).field(format!("containerDefinitions[{index}].image"));
            match e.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
    }
    Ok(())
}

fn shortage(shortage: Shortage) -> Failure {
    let is_port = shortage.field.ends_with("hostPort");
    let hint = if is_port { "choose another hostPort, or 0 for one that is free" } else { "see `berth node`" };
    Failure::conflict(format!("{}: {}", shortage.field, shortage.problem)).field(shortage.field).hint(hint)
}

/// Names that were asked for, promised until the tasks are known.
struct Names<'a> {
    api: &'a Api,
    names: Vec<String>,
}

impl<'a> Names<'a> {
    fn reserve(api: &'a Api, name: Option<&str>, count: u32) -> Result<Self, Failure> {
        let mut reserved = Self { api, names: Vec::new() };
        let Some(name) = name else { return Ok(reserved) };
        let good = !name.is_empty()
            && name.len() <= 64
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !good {
            let problem = "1 to 64 letters, digits, `-`, `_` and `.`";
            return Err(Failure::bad(format!("name `{name}`: {problem}")).field("name"));
        }
        for n in 1..=count {
            let name = if count == 1 { name.to_owned() } else { format!("{name}-{n}") };
            api.engine.reserve_name(&name).map_err(|e| {
                Failure::conflict(chain(&e)).field("name").hint(format!("remove the task that has it: berth rm {name}"))
            })?;
            reserved.names.push(name);
        }
        Ok(reserved)
    }

    /// Gives the names to the tasks; the names, in the order of the tasks.
    fn settle(mut self, ids: &[String]) -> Vec<String> {
        let names = std::mem::take(&mut self.names);
        for (name, id) in names.iter().zip(ids) {
            self.api.engine.settle_name(name, Some(id));
        }
        names
    }
}

impl Drop for Names<'_> {
    fn drop(&mut self) {
        for name in &self.names {
            self.api.engine.settle_name(name, None);
        }
    }
}

async fn run_through(
    api: &Api,
    plane: &Arc<ControlPlane>,
    definition: RegisterTaskDefinitionRequest,
    count: u32,
) -> Result<Vec<String>, Failure> {
    // An agent that has only just started has met its control plane in a moment.
    let met = tokio::time::Instant::now() + MEETING;
    let _ = tokio::time::timeout_at(met, api.connection.clone().wait_for(|c| c.connected)).await;
    let revision = register(api, plane, definition).await?;
    let mut ids = Vec::new();
    while ids.len() < count as usize {
        let left = count - ids.len() as u32;
        let request = RunTaskRequest {
            cluster: Some(api.settings.cluster.clone()),
            task_definition: revision.clone(),
            count: Some(left.min(PER_CALL).into()),
            started_by: Some("berth run".into()),
            ..RunTaskRequest::default()
        };
        let answer = plane.run_task(request).await.map_err(|e| Failure::bad(e.message))?;
        ids.extend(answer.tasks.iter().map(|t| t.task_arn.rsplit('/').next().unwrap_or_default().to_owned()));
        let not_met = answer.failures.iter().any(|f| f.reason.as_deref() == Some("AGENT"));
        if not_met && answer.tasks.is_empty() && tokio::time::Instant::now() < met {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        if let Some(failure) = answer.failures.first() {
            for id in &ids {
                api.engine.stop(id, None, "not all tasks of its request could be placed").await;
            }
            return Err(not_placed(failure.reason.as_deref(), failure.detail.as_deref()));
        }
        if answer.tasks.is_empty() {
            return Err(Failure::internal("the control plane gave neither tasks nor failures"));
        }
    }
    Ok(ids)
}

/// In the words of `RunTask`: `RESOURCE:MEMORY`, `ATTRIBUTE`, `AGENT`.
fn not_placed(reason: Option<&str>, detail: Option<&str>) -> Failure {
    let reason = reason.unwrap_or("unknown");
    let text = match detail {
        Some(detail) => format!("task not placed: {reason}: {detail}"),
        None => format!("task not placed: {reason}"),
    };
    let hint = match reason {
        "RESOURCE:CPU" | "RESOURCE:MEMORY" | "RESOURCE:PORTS" => "see `berth node` for what is left",
        "AGENT" => "the agent has lost its control plane: see `berth node`",
        _ => "see `berth node`",
    };
    Failure::conflict(text).hint(hint)
}

async fn register(
    api: &Api,
    plane: &ControlPlane,
    definition: RegisterTaskDefinitionRequest,
) -> Result<String, Failure> {
    let text = serde_json::to_string(&definition).unwrap_or_default();
    let known = api.registered.0.lock().unwrap_or_else(PoisonError::into_inner).get(&text).cloned();
    if let Some(arn) = known {
        let request = berth_wire::ecs::DescribeTaskDefinitionRequest {
            task_definition: arn.clone(),
            ..berth_wire::ecs::DescribeTaskDefinitionRequest::default()
        };
        let described = plane.describe_task_definition(request).await;
        let active = |d: &berth_wire::ecs::TaskDefinition| d.status == "ACTIVE";
        if described.is_ok_and(|d| d.task_definition.as_ref().is_some_and(active)) {
            return Ok(arn);
        }
    }
    let answer = plane
        .register_task_definition(definition)
        .await
        .map_err(|e| if e.fields.is_empty() { Failure::bad(e.message) } else { fields(e.fields) })?;
    let arn = answer.task_definition.unwrap_or_default().task_definition_arn;
    api.registered.0.lock().unwrap_or_else(PoisonError::into_inner).insert(text, arn.clone());
    Ok(arn)
}

async fn run_locally(api: &Api, definition: RegisterTaskDefinitionRequest, count: u32) -> Result<Vec<String>, Failure> {
    let mut ids = Vec::new();
    for _ in 0..count {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| Failure::internal(format!("make an id: {e}")))?;
        let id: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        let task = convert_locally(api, definition.clone(), &id)?;
        api.engine.submit(task, None).await.map_err(|e: SubmitError| Failure::internal(chain(&e)))?;
        ids.push(id);
    }
    Ok(ids)
}

/// The task once the engine has it under the name that was asked for; with `running`, once it runs, waits for
/// something, or has stopped.
async fn arrived(api: &Api, id: &str, name: Option<&str>, running: bool) -> Result<super::types::TaskView, Failure> {
    let mut changes = api.engine.changes();
    let mut watch = loop {
        if let Some(watch) = api.engine.watch(id) {
            break watch;
        }
        let waited = tokio::time::timeout(ARRIVAL, changes.recv()).await;
        if waited.is_err() {
            let message = format!("task {id} is placed on this node and has not come in {} s", ARRIVAL.as_secs());
            return Err(Failure::internal(message).hint("see `berth node` and the agent's log"));
        }
    };
    // A task that came before its name did is renamed a moment later.
    let is_named = |state: &Arc<crate::engine::TaskState>| name.is_none_or(|name| state.row.name == name);
    let is_here = |state: &Arc<crate::engine::TaskState>| match state.status() {
        Status::Running | Status::Stopped => true,
        Status::Waiting => state.waits_for.is_some(),
        _ => !running,
    };
    let state = watch
        .wait_for(|state| is_named(state) && is_here(state))
        .await
        .map_err(|_| Failure::missing(format!("task {id} has been removed")))?;
    Ok(views::task(&state))
}
