//! The listener of a filter that hands calls on (`SCMP_ACT_NOTIFY`), on its way to the agent that answers them.
//!
//! ```text
//! process of the container                          worker (host's namespaces)
//! seccomp(NEW_LISTENER)
//! write: LISTENER, number ────────────────────────→ pidfd_getfd
//!                                                   connect to listenerPath, send the state and the descriptor, close
//! read  ←─────────────────────────────────────────── one byte
//! goes on; what it calls from here on the agent may have to answer
//! ```
//! Only `write` may not be handed on, which the compiler of filters sees to: until the worker knows of the listener,
//! nobody could answer. Everything after it can be, as the agent has the listener before the process needs it to answer.
//! What the worker cannot send ends the process, before it has run anything of the user's.

use super::launch::LaunchError;
use super::talk::LISTENER;
use crate::errno::{OpContext, OpError};
use crate::security::seccomp::{Filter, Listener};
use crate::spec::{OCI_VERSION, Plan};
use crate::sys::clone::Child;
use crate::sys::{fd, pidfd};
use serde_json::json;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// Of which process the agent is told.
#[derive(Debug)]
pub(super) struct Told<'a> {
    /// The container's configuration.
    pub(super) plan: &'a Plan,
    /// Its id.
    pub(super) id: &'a str,
    /// Its bundle.
    pub(super) bundle: &'a Path,
    /// Its state: `creating` or `running`.
    pub(super) status: &'static str,
    /// Its init, where that is another process than the one that is told of.
    pub(super) init: Option<u32>,
}

/// Process side: puts a filter in force; with a listener, says so to `worker` and waits until the agent has it.
pub(super) fn load(filter: &Filter, worker: &OwnedFd) -> Result<(), OpError> {
    let listener =
        crate::sys::seccomp::load(&filter.program, filter.flags).op("load seccomp filter of", "linux.seccomp")?;
    let Some(listener) = listener else { return Ok(()) };
    let number = listener.as_raw_fd().to_le_bytes();
    let message = [&[LISTENER], number.as_slice()].concat();
    nix::unistd::write(worker, &message).op("tell the worker of", "the seccomp listener")?;
    loop {
        match nix::unistd::read(worker, &mut [0]) {
            Err(nix::Error::EINTR) => {}
            Ok(1) => return Ok(()),
            Ok(_) => return Err(io::Error::from_raw_os_error(libc::ECANCELED)).op("hand on", "the seccomp listener"),
            Err(e) => return Err(e).op("hand on", "the seccomp listener"),
        }
    }
}

/// Worker side: takes the listener that `child` has at `number` and sends it where the profile says, then lets the
/// child go on.
pub(super) fn hand_on(
    listener: Option<&Listener>,
    number: &[u8],
    child: &Child,
    told: &Told<'_>,
    socket: &OwnedFd,
) -> Result<(), LaunchError> {
    // Neither can be: the child says so of a filter that we have given it.
    let (Some(listener), Ok(number)) = (listener, number.try_into()) else { return Err(LaunchError::Died) };
    let descriptor = pidfd::descriptor(&child.pidfd, i32::from_le_bytes(number))
        .op("take from the container's process", "the seccomp listener")?;
    send(&listener.path, &state(told, child.pid, listener.metadata.as_deref()), &descriptor)
        .op("send the seccomp listener to", &listener.path)?;
    nix::unistd::write(socket, &[0]).op("let go on", "the container's process")?;
    Ok(())
}

/// One state for each connection, which then ends.
fn send(path: &Path, state: &str, descriptor: &OwnedFd) -> io::Result<()> {
    let mut socket = UnixStream::connect(path)?;
    let sent = fd::send_with(&socket, state.as_bytes(), &[descriptor.as_fd()])?;
    socket.write_all(&state.as_bytes()[sent..])
}

/// The container process state of the OCI runtime specification.
fn state(told: &Told<'_>, pid: u32, metadata: Option<&str>) -> String {
    let mut state = json!({
        "ociVersion": OCI_VERSION,
        "fds": ["seccompFd"],
        "pid": pid,
        "state": {
            "ociVersion": OCI_VERSION,
            "id": told.id,
            "status": told.status,
            "pid": told.init.unwrap_or(pid),
            "bundle": told.bundle,
        },
    });
    if let Some(metadata) = metadata {
        state["metadata"] = json!(metadata);
    }
    if !told.plan.annotations.is_empty() {
        state["state"]["annotations"] = json!(told.plan.annotations);
    }
    state.to_string()
}
