//! What is said on a shim's socket (`RUN/tasks/TASK/sock`, `SOCK_STREAM`, root only).
//!
//! Each message is a frame: `u32` length, then the message in [`crate::codec`]. The first message of each side is
//! [`ToShim::Hello`] and [`FromShim::Hello`]; an agent understands the shims of the release before, so a shim answers
//! with its own version and goes on. After its hello a client is sent a [`FromShim::View`], and another at every
//! change.
//!
//! `Exec` comes from the command line, which talks to the shim directly so that a restart of the agent cuts no
//! session: the frame is accompanied (`SCM_RIGHTS`, on its first byte) by the three standard streams, or, with `tty`,
//! by none, and then [`FromShim::ExecStarted`] carries the terminal's master descriptor.

use crate::task::view::TaskView;
use crate::{enum_codec, struct_codec};

/// The version of this protocol.
pub const PROTOCOL_VERSION: u32 = 1;

/// The longest frame either side takes, in bytes.
pub const MAX_FRAME: u32 = 1 << 20;

/// From the agent or the command line to a shim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToShim {
    /// The first message.
    Hello {
        /// [`PROTOCOL_VERSION`] of the sender.
        version: u32,
    },
    /// Asks that the task be stopped. Stop always wins; a second one with `now` kills at once.
    Stop {
        /// Grows with each wish; a lower one than the last taken is ignored.
        generation: u64,
        /// Overrides the containers' own stop time-outs, in milliseconds; 0 kills at once.
        timeout_ms: Option<u64>,
        /// Why, for the task's record.
        reason: String,
    },
    /// Runs one more process in a container; at most one per connection.
    Exec {
        /// The container's name.
        container: String,
        /// What to run.
        process: ExecProcess,
    },
    /// Asks for a [`FromShim::Stats`].
    Stats {
        /// Given back in the answer.
        id: u64,
    },
    /// The end has been recorded: the shim may go.
    Collect,
    /// Sends a signal to a container's init or, on the connection that started one, to the exec'd process.
    Signal {
        /// The container's name; empty for this connection's exec'd process.
        container: String,
        /// The signal's number.
        signal: i32,
    },
}
enum_codec!(ToShim {
    0 => Hello { version },
    1 => Stop { generation, timeout_ms, reason },
    2 => Exec { container, process },
    3 => Stats { id },
    4 => Collect,
    5 => Signal { container, signal },
});

/// From a shim to the agent or the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FromShim {
    /// The first message.
    Hello {
        /// [`PROTOCOL_VERSION`] of the shim.
        version: u32,
        /// The task's id.
        task: String,
        /// The shim's process id.
        pid: u32,
    },
    /// The task as it is now.
    View {
        /// All of it.
        view: TaskView,
    },
    /// The exec'd process runs.
    ExecStarted {
        /// Its process id in the host's pid namespace.
        pid: u32,
    },
    /// The exec'd process has ended.
    ExecExited {
        /// As shells tell it.
        code: i32,
    },
    /// What the task has used.
    Stats {
        /// The request's.
        id: u64,
        /// Per container, in the order of the plan.
        containers: Vec<ContainerStats>,
    },
    /// A request could not be carried out; the connection goes on.
    Refused {
        /// Why, as an operator should read it.
        message: String,
        /// The exit code that a command line should end with: 126 not runnable, 127 not found, else 125.
        code: i32,
    },
}
enum_codec!(FromShim {
    0 => Hello { version, task, pid },
    1 => View { view },
    2 => ExecStarted { pid },
    3 => ExecExited { code },
    4 => Stats { id, containers },
    5 => Refused { message, code },
});

/// A process to run in a container that runs already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecProcess {
    /// Program and arguments.
    pub args: Vec<String>,
    /// Added to the container's environment, `NAME=value`.
    pub env: Vec<String>,
    /// Working directory, or the container's.
    pub cwd: Option<String>,
    /// `user[:group]` by name or number, or the container's.
    pub user: Option<String>,
    /// Give it a terminal of its own.
    pub tty: bool,
}
struct_codec!(ExecProcess { args, env, cwd, user, tty });

/// What one container has used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerStats {
    /// The container's name.
    pub name: String,
    /// CPU time in nanoseconds since its start.
    pub cpu_ns: u64,
    /// Memory in use in bytes, file cache that can be dropped left out.
    pub memory_bytes: u64,
    /// Its memory limit in bytes (the lower of its own and the task's).
    pub memory_limit_bytes: Option<u64>,
    /// Processes and threads.
    pub pids: u64,
}
struct_codec!(ContainerStats { name, cpu_ns, memory_bytes, memory_limit_bytes, pids });
