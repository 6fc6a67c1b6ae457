//! What a task is told and what it wants done. Containers are named by their index in the plan.

use super::view::OomKill;

/// The time, as the caller read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// A clock that never goes back, in milliseconds.
    pub mono_ms: u64,
    /// Milliseconds since the epoch.
    pub wall_ms: u64,
}

/// What has happened. Containers are named by their index in the plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The task may begin.
    Begin,
    /// The network that all containers share is up.
    NetworkUp,
    /// It could not be made, and nothing of it is left.
    NetworkFailed {
        /// Why.
        reason: String,
    },
    /// A container has been made; its init waits at the gate.
    Created {
        /// Which.
        container: usize,
        /// Its init.
        pid: u32,
    },
    /// The user's process runs.
    Running {
        /// Which.
        container: usize,
    },
    /// A container could not be made, or its user's process not be run. Nothing of it is left.
    StartFailed {
        /// Which.
        container: usize,
        /// 127 or 126 where its program was not found or cannot be run, as shells tell it.
        code: Option<i32>,
        /// Why.
        reason: String,
    },
    /// A container's init has ended.
    Exited {
        /// Which.
        container: usize,
        /// Exit code as shells tell it.
        code: i32,
        /// The signal that ended it.
        signal: Option<i32>,
        /// The memory limit it was killed for.
        oom: Option<OomKill>,
    },
    /// Somebody wants the task stopped.
    Stop {
        /// Grows with each wish; lower than the last taken is ignored.
        generation: u64,
        /// Instead of the containers' own stop time-outs; 0 kills at once.
        timeout_ms: Option<u64>,
        /// Why.
        reason: String,
    },
    /// Time has passed; a deadline may have come.
    TimePassed,
    /// Network, groups and mounts of the task are gone.
    TornDown,
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Make the network that all containers share.
    BringUpNetwork,
    /// Make a container, its init stopping at the gate.
    Create {
        /// Which.
        container: usize,
    },
    /// Record which process is the init, then let it pass the gate.
    Release {
        /// Which.
        container: usize,
    },
    /// Send a container's init its stop signal.
    Signal {
        /// Which.
        container: usize,
        /// The signal's number.
        signal: i32,
    },
    /// Kill every process of a container, and the worker that makes it.
    Kill {
        /// Which.
        container: usize,
    },
    /// Make a container's exit record durable. Comes before anything is told.
    Record {
        /// Which.
        container: usize,
    },
    /// Remove network, groups and mounts of the task.
    TearDown,
    /// Make the end durable, and tell it.
    Finish,
}
