//! Every path that berth creates on a node, by name.
//!
//! Two roots: the *run directory* (tmpfs, dies with the boot, default `/run/berth`) and the *state directory* (a disk,
//! outlives the boot, default `/var/lib/berth`). Nothing else in the code joins paths under them.
//!
//! ```text
//! RUN/agent.sock                      commands of operators, root only
//! RUN/agent.lock                      one agent per run directory (flock)
//! RUN/tasks/TASK/lock                 flock held by the task's shim for life: the one proof that it is alive
//! RUN/tasks/TASK/sock                 the shim's socket
//! RUN/tasks/TASK/plan                 TaskPlan, binary; read by shim and workers
//! RUN/tasks/TASK/netns                pin (bind mount) of the task's network namespace (awsvpc)
//! RUN/tasks/TASK/c/NAME/bundle/       OCI bundle: config.json, snapshot (lower, upper and work directories)
//! RUN/tasks/TASK/c/NAME/netns         pin of the container's network namespace (bridge, none)
//! RUN/tasks/TASK/c/NAME/{stdout,stderr}   FIFOs, opened read-write by the shim
//! RUN/tasks/TASK/c/NAME/{hosts,resolv.conf,hostname}   files mounted into the container
//! RUN/tasks/TASK/c/NAME/init          fact: pid, start time, boot id of the container's init
//! STATE/agent.redb                    the agent's intent
//! STATE/node.json                     who the node is to its control plane, should agent.redb be lost
//! STATE/control-plane/                the embedded control plane's own
//! STATE/images/                       the image store (its layout is documented in `image`)
//! STATE/tasks/TASK/task.json          redacted definition, leases, ports, origin, generation
//! STATE/tasks/TASK/c/NAME/exit        durable ExitRecord of the container's last end
//! STATE/tasks/TASK/c/NAME/log         the container's output, json-file lines
//! STATE/tasks/TASK/shim.log           what the shim and its workers had to complain of; empty as a rule
//! STATE/tasks/TASK/end                durable: the task has ended and everything of it is torn down
//! ```

use crate::id::{ContainerName, TaskId};
use std::path::{Path, PathBuf};

/// The two roots under which everything of one berth node lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dirs {
    /// Dies with the boot.
    pub run: PathBuf,
    /// Outlives the boot.
    pub state: PathBuf,
}

impl Default for Dirs {
    fn default() -> Self {
        Self { run: "/run/berth".into(), state: "/var/lib/berth".into() }
    }
}

impl Dirs {
    /// The directories of a node under `run` and `state`.
    pub fn new(run: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { run: run.into(), state: state.into() }
    }

    /// The operators' socket.
    pub fn agent_socket(&self) -> PathBuf {
        self.run.join("agent.sock")
    }

    /// Lock that keeps a second agent away.
    pub fn agent_lock(&self) -> PathBuf {
        self.run.join("agent.lock")
    }

    /// The agent's store of intent.
    pub fn agent_store(&self) -> PathBuf {
        self.state.join("agent.redb")
    }

    /// Who the node is to its control plane: a copy outside of the store.
    pub fn node_record(&self) -> PathBuf {
        self.state.join("node.json")
    }

    /// The embedded control plane's directory.
    pub fn control_plane(&self) -> PathBuf {
        self.state.join("control-plane")
    }

    /// The image store.
    pub fn images(&self) -> PathBuf {
        self.state.join("images")
    }

    /// The directory that holds a run directory per task.
    pub fn run_tasks(&self) -> PathBuf {
        self.run.join("tasks")
    }

    /// The directory that holds a state directory per task.
    pub fn state_tasks(&self) -> PathBuf {
        self.state.join("tasks")
    }

    /// The paths of one task.
    pub fn task(&self, task: &TaskId) -> TaskDirs {
        TaskDirs { run: self.run_tasks().join(task.as_str()), state: self.state_tasks().join(task.as_str()) }
    }
}

/// The paths of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDirs {
    run: PathBuf,
    state: PathBuf,
}

impl TaskDirs {
    /// The paths of the task whose two directories are known, as a shim's are.
    pub fn new(run: impl Into<PathBuf>, state: impl Into<PathBuf>) -> Self {
        Self { run: run.into(), state: state.into() }
    }

    /// The task's run directory.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The task's state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The lock that the shim holds for life.
    pub fn lock(&self) -> PathBuf {
        self.run.join("lock")
    }

    /// The shim's socket.
    pub fn socket(&self) -> PathBuf {
        self.run.join("sock")
    }

    /// The task's plan.
    pub fn plan(&self) -> PathBuf {
        self.run.join("plan")
    }

    /// Pin of the task's network namespace.
    pub fn netns(&self) -> PathBuf {
        self.run.join("netns")
    }

    /// The redacted record that the agent writes before it starts the shim.
    pub fn record(&self) -> PathBuf {
        self.state.join("task.json")
    }

    /// Standard error of the shim and its workers.
    pub fn shim_log(&self) -> PathBuf {
        self.state.join("shim.log")
    }

    /// The durable fact that the task has ended and is torn down.
    pub fn end(&self) -> PathBuf {
        self.state.join("end")
    }

    /// The paths of one container of the task.
    pub fn container(&self, name: &ContainerName) -> ContainerDirs {
        ContainerDirs { run: self.run.join("c").join(name.as_str()), state: self.state.join("c").join(name.as_str()) }
    }
}

/// The paths of one container of a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerDirs {
    run: PathBuf,
    state: PathBuf,
}

impl ContainerDirs {
    /// The container's run directory.
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The container's state directory.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// The container's OCI bundle.
    pub fn bundle(&self) -> PathBuf {
        self.run.join("bundle")
    }

    /// Pin of the container's own network namespace.
    pub fn netns(&self) -> PathBuf {
        self.run.join("netns")
    }

    /// FIFO that the container's standard output goes through.
    pub fn stdout(&self) -> PathBuf {
        self.run.join("stdout")
    }

    /// FIFO that the container's standard error goes through.
    pub fn stderr(&self) -> PathBuf {
        self.run.join("stderr")
    }

    /// The `/etc/hosts` that is mounted into the container.
    pub fn hosts(&self) -> PathBuf {
        self.run.join("hosts")
    }

    /// The `/etc/resolv.conf` that is mounted into the container.
    pub fn resolv_conf(&self) -> PathBuf {
        self.run.join("resolv.conf")
    }

    /// The `/etc/hostname` that is mounted into the container.
    pub fn hostname(&self) -> PathBuf {
        self.run.join("hostname")
    }

    /// Fact: which process is the container's init.
    pub fn init(&self) -> PathBuf {
        self.run.join("init")
    }

    /// Durable fact: how the container last ended.
    pub fn exit(&self) -> PathBuf {
        self.state.join("exit")
    }

    /// The container's output.
    pub fn log(&self) -> PathBuf {
        self.state.join("log")
    }
}
