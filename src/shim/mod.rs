//! The per-task process that owns a task: an event loop that runs `task`'s decisions.
//!
//! ```text
//! agent ──spawn: lock, socket, held ports──▶ shim ──spawn: one order each──▶ worker ──clone3(CLONE_PARENT)──▶ init
//!   ▲                                         │ ▲                              │                        │
//!   └── socket: views, ends ──────────────────┘ └── answer, then gone ─────────┘                        │
//!                                             ▲                                                         │
//!                                             └──── pidfd, report, output, as a child of the shim ──────┘
//! ```
//! | module | what |
//! |---|---|
//! | [`run`] | the event loop: descriptors to events |
//! | `act` `exec` `requests` | actions carried out; exec'd processes; what clients ask for |
//! | `live` `workers` `clients` | what is held of a container, a worker, a connection |
//! | [`log`] [`facts`] | output as json-file lines; facts as files |
//! | [`job`] [`worker`] | what a worker is told, and its doing |
//! | [`sweep`] | ends the task of a shim that was killed |
//! | [`protocol`] [`frame`] [`client`] | the socket, see `docs/shim-protocol.md` |
//!
//! The shim parses no JSON and mounts nothing: a process that did keeps memory for it, and there is a shim per task.

mod act;
pub mod client;
mod clients;
mod clock;
mod exec;
pub mod facts;
pub mod frame;
pub mod job;
mod live;
pub mod log;
pub mod protocol;
mod report;
mod requests;
pub mod run;
pub mod sweep;
pub mod worker;
mod workers;

use crate::cgroup::Group;
use crate::id::TaskId;

/// The group of a task; its containers' are below.
fn task_group(parent: &Group, task: &TaskId) -> Group {
    parent.child("tasks").child(task.as_str())
}
