//! What is said on the operators' socket (`RUN/agent.sock`, HTTP/1.1 and JSON, root only).
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/node` | [`NodeView`] |
//! | `GET /v1/tasks?all=true` | list of [`TaskView`]; without `all` those that have not stopped |
//! | `GET /v1/tasks/REF` | [`TaskView`]; `REF` is an id, the unique start of one, or a name |
//! | `POST /v1/tasks` | [`RunRequest`] → [`RunResponse`] |
//! | `POST /v1/tasks/REF/stop` | [`StopRequest`] → [`TaskView`], at once |
//! | `GET /v1/tasks/REF/wait` | [`TaskView`], once the task has stopped |
//! | `DELETE /v1/tasks/REF` | [`Removed`]; only of a stopped task |
//! | `GET /v1/tasks/REF/logs?container=&follow=&tail=&since=` | lines of [`LogLine`]; `since` in milliseconds since the epoch |
//! | `GET /v1/events` | lines of [`TaskView`]: each task as it is now, then at every change |
//! | `POST /v1/images/pull` | [`PullRequest`] → lines of [`PullEvent`]; the last is `done` or `failed` |
//! | `GET /v1/images` | list of [`ImageView`] |
//! | `DELETE /v1/images/REFERENCE` | [`Removed`]; `REFERENCE` percent-encoded |
//!
//! An error is any status from 400 up, with an [`ApiError`] as its body. "Lines" are newline-delimited JSON, sent as
//! they come. Times are milliseconds since the epoch, memory is in MiB, CPU in units (1024 are one vCPU). Fields may be
//! added; readers ignore those they do not know.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where operators' paths begin.
pub const PREFIX: &str = "/v1";

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "camelCase")]
#[error("{message}")]
pub struct ApiError {
    /// What is wrong, in words.
    pub message: String,
    /// The field of the request that is at fault, such as `containerDefinitions[0].memory`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// An error in words alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), field: None, hint: None }
    }

    /// Names the field at fault.
    pub fn with_field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// Says what to do about it.
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The node: who it is, and what it has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// The agent's version.
    pub version: String,
    /// Name of the cluster.
    pub cluster: String,
    /// Address of the control plane.
    pub backend: String,
    /// The control plane is the one inside the agent.
    pub standalone: bool,
    /// The control plane's session is open.
    pub connected: bool,
    /// The last message from the control plane.
    #[serde(default)]
    pub last_contact_at_ms: Option<u64>,
    /// Given at registration.
    #[serde(default)]
    pub container_instance_arn: Option<String>,
    /// The agent's run directory.
    pub run_dir: PathBuf,
    /// The agent's state directory.
    pub state_dir: PathBuf,
    /// The `berth-runtime` in use.
    pub runtime: PathBuf,
    /// CPU units.
    pub cpu: Amount,
    /// Memory in MiB.
    pub memory: Amount,
    /// TCP ports of the host.
    pub tcp_ports: PortsView,
    /// UDP ports of the host.
    pub udp_ports: PortsView,
    /// Pools of task addresses.
    pub addresses: Vec<PoolView>,
    /// Tasks by where they are.
    pub tasks: TaskCounts,
    /// Degraded features and odd findings, in words.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Amount {
    /// The host has this much.
    pub total: u64,
    /// Kept for the host: not for tasks.
    pub reserved: u64,
    /// Registered with the control plane: total less reserved.
    pub registered: u64,
    /// Held by tasks, from admission until their last process is gone.
    pub used: u64,
    /// Registered less used.
    pub remaining: u64,
}

/// Ports of the host, of one transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortsView {
    /// Never given to tasks.
    pub reserved: Vec<u16>,
    /// Held by tasks.
    pub used: Vec<u16>,
    /// From where ports are taken when a definition names none: first and last.
    pub dynamic_range: (u16, u16),
}

/// A pool of addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolView {
    /// `bridge` or `awsvpc`.
    pub pool: String,
    /// The subnet, such as `10.88.0.0/16`.
    pub subnet: String,
    /// Addresses that can be given out, `None` for more than can be counted.
    pub total: Option<u64>,
    /// Addresses held by tasks.
    pub used: u64,
}

/// Tasks by where they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskCounts {
    /// Not yet with a shim.
    pub pending: u64,
    /// Alive.
    pub running: u64,
    /// Being stopped or removed.
    pub stopping: u64,
    /// Stopped, with their records kept.
    pub stopped: u64,
}

/// A task as the node knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskView {
    /// The last part of its ARN.
    pub id: String,
    /// Its whole ARN.
    pub arn: String,
    /// The name given to `berth run`, or made from the family: unique among tasks that have not been removed.
    pub name: String,
    /// Family of its task definition.
    pub family: String,
    /// Revision of its task definition.
    pub revision: String,
    /// Who wanted it.
    pub origin: Origin,
    /// Where it is in its life.
    pub status: TaskStatus,
    /// What it waits for (in `WAITING`), or why it is stopping or has stopped.
    #[serde(default)]
    pub reason: Option<String>,
    /// `awsvpc`, `bridge`, `host` or `none`.
    pub network_mode: String,
    /// The task's own addresses (awsvpc).
    #[serde(default)]
    pub addresses: Vec<String>,
    /// CPU units held.
    pub cpu: u64,
    /// Memory held, in MiB.
    pub memory: u64,
    /// Containers in the order of the task definition.
    pub containers: Vec<ContainerView>,
    /// When the node learned of it.
    pub created_at_ms: u64,
    /// When its images were first asked for.
    #[serde(default)]
    pub pull_started_at_ms: Option<u64>,
    /// When the last of its images was there.
    #[serde(default)]
    pub pull_stopped_at_ms: Option<u64>,
    /// When all of its containers had started.
    #[serde(default)]
    pub started_at_ms: Option<u64>,
    /// When the last of its containers ended.
    #[serde(default)]
    pub stopped_at_ms: Option<u64>,
    /// The shim's socket while there is one: `exec` speaks with it directly.
    #[serde(default)]
    pub shim_socket: Option<PathBuf>,
}

/// Who wanted a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The control plane, by a payload.
    ControlPlane,
    /// An operator of this node, while a remote control plane is in charge of the rest: never reported to it.
    Local,
}

/// Where a task is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
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

impl TaskStatus {
    /// The word as people read it, the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Preparing => "PREPARING",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A container as the node knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerView {
    /// Its name in the task definition.
    pub name: String,
    /// The image as the definition names it.
    pub image: String,
    /// Digest of the manifest that was used.
    #[serde(default)]
    pub image_digest: Option<String>,
    /// The task is stopped when this container ends.
    pub essential: bool,
    /// Where it is in its life.
    pub status: ContainerStatus,
    /// Process id of its init in the host's pid namespace while it lives.
    #[serde(default)]
    pub pid: Option<u32>,
    /// As shells tell it: its own, or 128 plus the signal's number.
    #[serde(default)]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(default)]
    pub signal: Option<i32>,
    /// The memory limit that was hit, where the kernel killed it for that.
    #[serde(default)]
    pub oom: Option<OomView>,
    /// Why it ended or could not start, in words.
    #[serde(default)]
    pub reason: Option<String>,
    /// When the user's process began.
    #[serde(default)]
    pub started_at_ms: Option<u64>,
    /// When it ended.
    #[serde(default)]
    pub finished_at_ms: Option<u64>,
    /// Its own addresses (bridge).
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Ports of the host that lead to it.
    #[serde(default)]
    pub bindings: Vec<BindingView>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ContainerStatus {
    /// For its image, its task, or a container that it depends on.
    Waiting,
    /// Being made.
    Starting,
    /// The user's process runs.
    Running,
    /// Was asked to stop.
    Stopping,
    /// Has ended, or never began and never will.
    Stopped,
}

impl ContainerStatus {
    /// The word as people read it, the same as in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "WAITING",
            Self::Starting => "STARTING",
            Self::Running => "RUNNING",
            Self::Stopping => "STOPPING",
            Self::Stopped => "STOPPED",
        }
    }
}

/// A kill by the kernel for want of memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OomView {
    /// Whose limit was hit: `container`, `task` or `node`.
    pub scope: String,
    /// That limit in bytes.
    pub limit_bytes: u64,
}

/// A published port, or a range of as many.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BindingView {
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The host's address, `0.0.0.0` for all of them.
    pub bind_ip: String,
    /// First port of the host.
    pub host_port: u16,
    /// First port of the container.
    pub container_port: u16,
    /// How many ports, one after the other.
    pub count: u16,
}

/// Asks for tasks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRequest {
    /// A task definition as `RegisterTaskDefinition` takes it (lists and text as there; nothing of berth's own).
    pub definition: serde_json::Value,
    /// What to call the task; must be free. With a `count` above one, `-1`, `-2`, ... are added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How many, 1 where not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// Answer only once each task runs, or has stopped (with its reason); otherwise at once.
    #[serde(default)]
    pub wait_running: bool,
}

/// The tasks that were begun.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunResponse {
    /// As many as were asked for.
    pub tasks: Vec<TaskView>,
}

/// Asks that a task be stopped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopRequest {
    /// Instead of the containers' own stop time-outs, in milliseconds; 0 kills at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_ms: Option<u64>,
    /// Why, for the task's record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Removed {
    /// Its id or reference.
    pub removed: String,
}

/// One line (or part of an overlong one) of a container's output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// The container's name.
    pub container: String,
    /// `stdout` or `stderr`.
    pub stream: String,
    /// When it was written, RFC 3339 with nanoseconds.
    pub time: String,
    /// The text, with its newline where it had one.
    pub log: String,
}

/// Asks for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullRequest {
    /// Such as `127.0.0.1:5000/nginx:latest`.
    pub reference: String,
}

/// What happens during a pull.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum PullEvent {
    /// The manifest is known, and with it the layers.
    Manifest {
        /// The manifest's digest.
        digest: String,
        /// The layers, lowest first.
        layers: Vec<PullLayer>,
    },
    /// A layer has come further.
    Progress {
        /// The layer's digest.
        digest: String,
        /// What is being done with it.
        step: PullStep,
        /// Bytes done in this step.
        current: u64,
        /// Bytes in all, 0 where that is not known.
        total: u64,
    },
    /// The image is there.
    Done {
        /// The image.
        image: ImageView,
    },
    /// It could not be had.
    Failed {
        /// Why, with the ECS name of the error in front.
        error: ApiError,
    },
}

/// A layer of an image being pulled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PullLayer {
    /// Digest of the layer as the registry has it.
    pub digest: String,
    /// Its size in bytes, as the registry has it.
    pub size: u64,
}

/// What is being done with a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PullStep {
    /// Waits for its turn.
    Waiting,
    /// Is read from the registry (and unpacked as it comes, where that is so).
    Downloading,
    /// Is unpacked.
    Unpacking,
    /// Is there.
    Done,
}

/// An image in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// As it was pulled.
    pub reference: String,
    /// Digest of its manifest.
    pub digest: String,
    /// Size of its layers as the registry has them, in bytes.
    pub size_bytes: u64,
    /// How many layers it has.
    pub layers: u64,
    /// When it was pulled.
    #[serde(default)]
    pub pulled_at_ms: Option<u64>,
    /// Containers that use it.
    #[serde(default)]
    pub used_by: Vec<String>,
}
