//! What a shim asks of a worker, and what the worker answers.
//!
//! Each worker carries out one job and exits. The job waits in the worker's socket (descriptor 3) before the worker is
//! started; both sides keep message boundaries, so descriptors belong to their message. Shim and worker are the same
//! executable at all times (`/proc/self/exe`), so no version is told.

use super::protocol::ExecProcess;
use crate::{enum_codec, struct_codec};
use std::path::PathBuf;

/// The most bytes of a job or an answer: half of what a socket takes by default.
pub const MAX_MESSAGE: usize = 96 * 1024;

/// The worker's socket.
pub const SOCKET_FD: i32 = 3;

/// The task's lock: held until the last worker is gone, so that nobody sweeps beside one.
pub const LOCK_FD: i32 = 4;

/// A job with what every job needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// The task's run directory.
    pub run: PathBuf,
    /// The task's state directory.
    pub state: PathBuf,
    /// The shim: a worker whose parent is another has outlived its shim and does nothing.
    pub shim: u32,
    /// What is to be done.
    pub job: Job,
}
struct_codec!(Order { run, state, shim, job });

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Bring up the network that all containers share. Answered by [`Answer::NetworkUp`].
    Network,
    /// Make a container; its init stops at the gate. With the descriptors `gate` (read end), `report` (write end) and,
    /// where containers share one, the network namespace. Answered by [`Answer::Launched`].
    Create {
        /// Its index in the plan.
        container: u32,
    },
    /// Run one more process in a container. With the descriptors init's pidfd and, without a terminal, the three
    /// standard streams. Answered by [`Answer::Launched`] when its program runs.
    Exec {
        /// The container's index in the plan.
        container: u32,
        /// Its init.
        init: u32,
        /// What to run.
        process: ExecProcess,
    },
    /// Remove all that the task's workers made. Answered by [`Answer::TornDown`].
    TearDown,
}
enum_codec!(Job {
    0 => Network,
    1 => Create { container },
    2 => Exec { container, init, process },
    3 => TearDown,
});

/// How a job went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The network is up; with the namespace's descriptor unless it is the host's.
    NetworkUp,
    /// The process exists, as the shim's child; with its pidfd and, where a terminal was asked for, the master.
    Launched {
        /// Its process id.
        pid: u32,
    },
    /// Nothing is left, but for what is named.
    TornDown {
        /// What could not be removed, and why.
        problems: Vec<String>,
    },
    /// It could not be done, and nothing of it is left.
    Failed {
        /// Why, with the name that Amazon ECS gives to it in front.
        reason: String,
        /// The exit code that a command line should end with: 126 not runnable, 127 not found, else 125.
        code: i32,
    },
}
enum_codec!(Answer {
    0 => NetworkUp,
    1 => Launched { pid },
    2 => TornDown { problems },
    3 => Failed { reason, code },
});
