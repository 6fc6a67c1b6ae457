//! Requests about tasks.

use super::failure::Failure;
use super::logs::{self, Query as LogQuery};
use super::types::{Removed, RunRequest, RunResponse, StopRequest, TaskView};
use super::{Api, find, launch, lines, unreadable, views};
use crate::engine::{ForgetError, Status, TaskState};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use berth_runtime::errno::chain;
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ListQuery {
    all: bool,
}

pub(super) async fn list(State(api): State<Api>, Query(query): Query<ListQuery>) -> Json<Vec<TaskView>> {
    let mut tasks = api.engine.tasks();
    tasks.retain(|t| query.all || t.status() != Status::Stopped);
    tasks.sort_by_key(|t| t.row.task.created_at_ms);
    Json(tasks.iter().map(|t| views::task(t)).collect())
}

pub(super) async fn run(
    State(api): State<Api>,
    request: Result<Json<RunRequest>, JsonRejection>,
) -> Result<Json<RunResponse>, Failure> {
    let Json(request) = request.map_err(|e| unreadable(&e))?;
    launch::launch(&api, request).await.map(Json)
}

pub(super) async fn show(State(api): State<Api>, Path(task): Path<String>) -> Result<Json<TaskView>, Failure> {
    find(&api.engine.tasks(), &task).map(|t| Json(views::task(&t)))
}

pub(super) async fn stop(
    State(api): State<Api>,
    Path(task): Path<String>,
    request: Result<Json<StopRequest>, JsonRejection>,
) -> Result<Json<TaskView>, Failure> {
    let request = match request {
        Ok(Json(request)) => request,
        Err(JsonRejection::MissingJsonContentType(_)) => StopRequest::default(),
        Err(e) => return Err(unreadable(&e)),
    };
    let id = find(&api.engine.tasks(), &task)?.row.task.id.clone();
    let reason = request.reason.as_deref().unwrap_or("stopped by an operator");
    tell_plane(&api, &id, reason);
    api.engine.stop(&id, request.timeout_ms, reason).await;
    let state = api.engine.task(&id).ok_or_else(|| Failure::missing(format!("task `{task}` has been removed")))?;
    Ok(Json(views::task(&state)))
}

/// The control plane inside the agent is told that its task is to stop, so that what it wishes and what is agree. The node
/// does not wait for that.
fn tell_plane(api: &Api, id: &str, reason: &str) {
    let Some(plane) = api.plane.clone() else { return };
    let request = berth_wire::ecs::StopTaskRequest {
        cluster: Some(api.settings.cluster.clone()),
        task: id.to_owned(),
        reason: Some(reason.to_owned()),
    };
    tokio::spawn(async move {
        if let Err(e) = plane.stop_task(request).await {
            tracing::debug!(err = chain(&e), "the control plane does not know a task that is stopped");
        }
    });
}

pub(super) async fn wait(State(api): State<Api>, Path(task): Path<String>) -> Result<Json<TaskView>, Failure> {
    let id = find(&api.engine.tasks(), &task)?.row.task.id.clone();
    let removed = || Failure::missing(format!("task `{task}` has been removed"));
    let mut watch = api.engine.watch(&id).ok_or_else(removed)?;
    let state = watch.wait_for(|t| t.status() == Status::Stopped).await.map_err(|_| removed())?;
    Ok(Json(views::task(&state)))
}

pub(super) async fn remove(State(api): State<Api>, Path(task): Path<String>) -> Result<Json<Removed>, Failure> {
    let state = find(&api.engine.tasks(), &task)?;
    let id = state.row.task.id.clone();
    if state.status() == Status::Stopped
        && let Some(mut watch) = api.engine.watch(&id)
    {
        // Its shim may be on the way out still.
        let _ = watch.wait_for(|t| t.life.is_ended()).await;
    }
    match api.engine.forget(&id).await {
        Ok(()) => Ok(Json(Removed { removed: id })),
        Err(ForgetError::Unknown) => Err(Failure::missing(format!("task `{task}` has been removed already"))),
        Err(ForgetError::Refused(why)) => Err(Failure::conflict(format!("task `{task}`: {why}"))
            .hint(format!("stop it first: berth stop {}", state.row.name))),
    }
}

pub(super) async fn logs(
    State(api): State<Api>,
    Path(task): Path<String>,
    Query(query): Query<LogQuery>,
) -> Result<Response, Failure> {
    let state = find(&api.engine.tasks(), &task)?;
    let watch = api.engine.watch(&state.row.task.id);
    let watch = watch.ok_or_else(|| Failure::missing(format!("task `{task}` has been removed")))?;
    let wanted = query.container.clone().unwrap_or_default();
    let names: Vec<&str> = state.row.task.containers.iter().map(|c| c.name.as_str()).collect();
    let missing = || {
        Failure::missing(format!("task `{task}` has no container `{wanted}`"))
            .hint(format!("it has: {}", names.join(", ")))
    };
    let mut found = logs::stream(api.engine.dirs(), watch, query).ok_or_else(missing)?;
    let (out, body) = mpsc::channel(64);
    tokio::spawn(async move {
        while let Some(line) = found.recv().await {
            let sent = match line {
                Ok(line) => out.send(line).await.is_ok(),
                Err(e) => {
                    tracing::error!(err = %e, "log of a container not readable");
                    false
                }
            };
            if !sent {
                return;
            }
        }
    });
    Ok(lines(body))
}

/// Each task as it is now, then every change. Who is too slow misses states in between, never the last.
pub(super) async fn events(State(api): State<Api>) -> Response {
    let mut changes = api.engine.changes();
    let (out, body) = mpsc::channel::<TaskView>(64);
    tokio::spawn(async move {
        let mut backlog: Vec<Arc<TaskState>> = api.engine.tasks();
        loop {
            for state in std::mem::take(&mut backlog) {
                if out.send(views::task(&state)).await.is_err() {
                    return;
                }
            }
            let change = tokio::select! {
                change = changes.recv() => change,
                () = out.closed() => return,
            };
            match change {
                Ok(state) => backlog.push(state),
                Err(RecvError::Lagged(_)) => backlog = api.engine.tasks(),
                Err(RecvError::Closed) => return,
            }
        }
    });
    lines(body)
}
