//! What the agent offers to those on its own node: the operators' socket.
//!
//! HTTP/1.1 and JSON on a unix socket that only root can open; the requests are listed in [`types`]. Later: the endpoints
//! for containers (metadata, credentials), introspection and metrics, each a module here.

mod failure;
mod images;
mod launch;
mod logs;
mod tasks;
pub mod types;
mod views;

use crate::config::Settings;
use crate::control::Connection;
use crate::engine::{Engine, NodeImages, TaskState};
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use berth_control_plane::ControlPlane;
use berth_runtime::errno::{OpContext, OpError};
use failure::Failure;
use futures_util::stream;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use types::{ApiError, NodeView};

/// What requests are answered with.
#[derive(Clone)]
pub struct Api(Arc<Inner>);

/// See [`Api::new`].
pub struct Inner {
    /// All tasks.
    pub engine: Engine,
    /// Images.
    pub images: NodeImages,
    /// What the agent was told.
    pub settings: Arc<Settings>,
    /// The `berth-runtime` in use.
    pub runtime: PathBuf,
    /// Address of the control plane.
    pub backend: String,
    /// The control plane inside the agent, where there is one.
    pub plane: Option<Arc<ControlPlane>>,
    /// How the node stands with its control plane.
    pub connection: watch::Receiver<Connection>,
    /// What was found wrong at start, in words.
    pub warnings: Vec<String>,
    registered: launch::Registered,
}

impl std::ops::Deref for Api {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}

/// What an [`Api`] is made of.
pub struct Parts {
    /// All tasks.
    pub engine: Engine,
    /// Images.
    pub images: NodeImages,
    /// What the agent was told.
    pub settings: Arc<Settings>,
    /// The `berth-runtime` in use.
    pub runtime: PathBuf,
    /// Address of the control plane.
    pub backend: String,
    /// The control plane inside the agent, where there is one.
    pub plane: Option<Arc<ControlPlane>>,
    /// How the node stands with its control plane.
    pub connection: watch::Receiver<Connection>,
    /// What was found wrong at start, in words.
    pub warnings: Vec<String>,
}

impl Api {
    /// Nothing is served yet.
    pub fn new(parts: Parts) -> Self {
        let Parts { engine, images, settings, runtime, backend, plane, connection, warnings } = parts;
        Self(Arc::new(Inner {
            engine,
            images,
            settings,
            runtime,
            backend,
            plane,
            connection,
            warnings,
            registered: launch::Registered::default(),
        }))
    }

    /// Serves requests until `shutdown` is ready; those under way are given up then.
    pub async fn serve(self, listener: UnixListener, shutdown: impl Future<Output = ()>) {
        let serving = axum::serve(listener, self.router()).into_future();
        tokio::select! {
            result = serving => if let Err(e) = result {
                tracing::error!(err = %e, "the operators' socket is closed");
            },
            () = shutdown => {}
        }
    }

    fn router(self) -> Router {
        Router::new()
            .route("/v1/node", get(node))
            .route("/v1/tasks", get(tasks::list).post(tasks::run))
            .route("/v1/tasks/{task}", get(tasks::show).delete(tasks::remove))
            .route("/v1/tasks/{task}/stop", post(tasks::stop))
            .route("/v1/tasks/{task}/wait", get(tasks::wait))
            .route("/v1/tasks/{task}/logs", get(tasks::logs))
            .route("/v1/events", get(tasks::events))
            .route("/v1/images", get(images::list))
            .route("/v1/images/pull", post(images::pull))
            .route("/v1/images/{*reference}", delete(images::remove))
            .fallback(async || Failure::missing("no such request"))
            .with_state(self)
    }
}

/// Binds the operators' socket: root's alone. One that an agent left behind is replaced; the agent's lock says that there
/// is no other.
pub fn bind(path: &Path) -> Result<UnixListener, OpError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).op("remove", path),
        _ => {}
    }
    let listener = UnixListener::bind(path).op("bind", path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).op("set mode of", path)?;
    Ok(listener)
}

async fn node(State(api): State<Api>) -> Json<NodeView> {
    let tasks = api.engine.tasks();
    let connection = api.connection.borrow().clone();
    let mut warnings = api.warnings.clone();
    warnings.extend(connection.problem.iter().map(|problem| format!("control plane: {problem}")));
    let facts = views::NodeFacts {
        settings: &api.settings,
        connection: &connection,
        backend: api.backend.clone(),
        runtime: api.runtime.clone(),
        counts: views::counts(tasks.iter().map(AsRef::as_ref)),
        warnings,
    };
    Json(api.engine.with_book(|book| views::node(facts, book)))
}

/// A body of JSON lines, as they come.
fn lines<T: serde::Serialize + Send + 'static>(items: mpsc::Receiver<T>) -> Response {
    let body = stream::unfold(items, |mut items| async move {
        let item = items.recv().await?;
        let mut line = match serde_json::to_vec(&item) {
            Ok(line) => line,
            Err(e) => return Some((Err(io::Error::other(e)), items)),
        };
        line.push(b'\n');
        Some((Ok::<Bytes, io::Error>(line.into()), items))
    });
    let mut response = Response::new(Body::from_stream(body));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-ndjson"));
    response
}

/// The task that `reference` names: an id, a name, or the unique start of an id.
fn find(tasks: &[Arc<TaskState>], reference: &str) -> Result<Arc<TaskState>, Failure> {
    let exact = |t: &&Arc<TaskState>| t.row.task.id == reference || t.row.task.arn == reference;
    let named = |t: &&Arc<TaskState>| t.row.name == reference;
    if let Some(found) = tasks.iter().find(exact).or_else(|| tasks.iter().find(named)) {
        return Ok(found.clone());
    }
    let mut starting = tasks.iter().filter(|t| !reference.is_empty() && t.row.task.id.starts_with(reference));
    match (starting.next(), starting.next()) {
        (Some(found), None) => Ok(found.clone()),
        (Some(_), Some(_)) => Err(Failure::conflict(format!("task `{reference}`: more than one id begins like this"))
            .hint("write more of the id, or the name")),
        (None, _) => Err(Failure::missing(format!("task `{reference}`: there is none with this id or name"))
            .hint("`berth ps -a` lists all tasks")),
    }
}

/// What stands in a path, for people.
fn unreadable(error: &dyn std::fmt::Display) -> Failure {
    Failure(http::StatusCode::BAD_REQUEST, ApiError::new(format!("request: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing;
    use crate::store::Row;
    use crate::task::{NetworkMode, fixtures};

    fn tasks(pairs: &[(&str, &str)]) -> Vec<Arc<TaskState>> {
        let state = |(id, name): &(&str, &str)| {
            Arc::new(testing::supervised(Row::new(fixtures::task(id, NetworkMode::None), (*name).into()), None))
        };
        pairs.iter().map(state).collect()
    }

    #[test]
    fn a_task_is_found_by_id_name_or_the_unique_start_of_an_id() {
        let tasks = tasks(&[("aa11", "web"), ("aa22", "db"), ("bb33", "aa")]);
        let id = |reference: &str| find(&tasks, reference).map(|t| t.row.task.id.clone());
        assert_eq!(id("aa11").unwrap(), "aa11");
        assert_eq!(id("db").unwrap(), "aa22");
        assert_eq!(id("bb").unwrap(), "bb33");
        assert_eq!(id("aa").unwrap(), "bb33", "a name comes before the start of an id");
        assert_eq!(id("aa1").unwrap(), "aa11");
        assert_eq!(find(&tasks, "a").unwrap_err().0, http::StatusCode::CONFLICT);
        assert_eq!(find(&tasks, "zz").unwrap_err().0, http::StatusCode::NOT_FOUND);
        assert_eq!(find(&tasks, "").unwrap_err().0, http::StatusCode::NOT_FOUND);
    }
}
