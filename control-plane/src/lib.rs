//! The embedded control plane: what Amazon ECS is for its agents, for one node or a rack of them.
//!
//! It knows nodes only through the protocol that Amazon ECS speaks with its agents, and people drive it with the AWS CLI
//! and SDKs, or in process through [`ControlPlane`]. Both ways are the same functions.
//!
//! ```text
//!  AWS CLI, SDKs ──POST / (signed)──► http ─┐
//!  this process ───── method ───────────────┴─► plane ──► state: one decision, pure ──► store: one commit
//!                                                              │                          │ then
//!  agents ──POST / : register, report──► http ──► plane ───────┘                          ▼
//!  agents ◄──websocket: payloads, heartbeats, manifest── session ◄── wake ◄────────── effects ──► watchers
//! ```
//!
//! | module | what it decides |
//! |---|---|
//! | `validate` | whether a task definition can be run, and which members are wrong (pure) |
//! | `definition`, `payload` | defaults and needs of a definition; what an agent is sent (pure) |
//! | `schedule` | where a task goes (pure) |
//! | `state` | everything known, and every change to it (pure, but for the watch channels it owns) |
//! | `store` | what is durable, and when |
//! | `session` | one agent's websocket |
//! | `http` | who may ask, and what was asked |
//!
//! A file in its directory holds the keys that everyone signs with: whoever has them can start tasks, and whoever can
//! start tasks is root on the nodes.

#![forbid(unsafe_code)]

mod arn;
mod config;
mod credentials;
mod definition;
mod error;
mod http;
mod local;
mod payload;
mod plane;
mod schedule;
mod session;
mod state;
mod store;
pub mod validate;

pub use config::Config;
pub use credentials::Credentials;
pub use error::{ApiError, Code};
pub use local::local_task;
pub use plane::ControlPlane;

use std::path::PathBuf;

/// Why the control plane could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A file or directory could not be used.
    #[error("{op} `{}`", path.display())]
    Io {
        /// What was tried.
        op: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The file of credentials does not have both keys.
    #[error("read credentials from `{}`: a key is missing; {hint}", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// What to do.
        hint: &'static str,
    },
    /// The file of records could not be used. Another process may have it open.
    #[error("{op} the control plane's state `{}`", path.display())]
    Store {
        /// What was tried.
        op: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: Box<redb::Error>,
    },
    /// The kernel gave no random numbers.
    #[error("make credentials")]
    Random {
        /// Why it failed.
        source: getrandom::Error,
    },
    /// The thread that writes could not be started.
    #[error("start the thread that writes the control plane's state")]
    Thread {
        /// Why it failed.
        source: std::io::Error,
    },
}
