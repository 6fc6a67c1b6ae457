//! An OCI container: its state, one file per verb, and its init as ordered stages.
//!
//! ```text
//!               worker of the shim            OCI verbs (`cli`)
//!                       │            create start run kill pause delete exec ── state: the table under --root
//!                       └──────┬───────────────┘
//!          launch (host's namespaces) / exec (joins a container's)
//!                       clone3 │      ↑ InitError: stage, act, object, errno
//!                     init: stages in a fixed order ─→ program: identity, filter, directory, execve
//! ```
//! `hooks` run between these: see there for which, where.
//!
//! Failure arrows: what the init cannot do is an [`report::InitError`] to whoever launched it; whoever launched takes
//! back what it made (group, record) and tells the first error. The init's mounts and namespaces die with it.

pub mod ahead;
mod between;
pub mod console;
pub mod create;
pub mod delete;
pub mod events;
pub mod exec;
pub mod foreground;
mod hooks;
mod init;
pub mod kill;
pub mod launch;
mod listener;
mod mark;
mod namespaces;
pub mod notify;
mod program;
pub mod report;
pub mod resources;
pub mod run;
mod scope;
pub mod start;
pub mod state;
pub mod status;
mod talk;
mod terminal;
pub mod update;
pub mod user;

pub use hooks::HookError;
