//! What a container is doing, told by what there is of it: see the table in [`super::state`].

use super::state::Record;
use crate::cgroup::{Controller, Group};
use crate::errno::{OpContext, OpError};
use crate::sys::{pidfd, procfs};
use serde::Serialize;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Mode of a gate that may be opened, and the bit that says so.
pub(super) const GATE: u32 = 0o600;
pub(super) const GATE_OPENS: u32 = 0o200;

/// What a container is doing, by the runtime specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It is being made.
    Creating,
    /// Its init waits at the gate.
    Created,
    /// Its program runs.
    Running,
    /// All of its processes are stopped.
    Paused,
    /// Its init has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// Callers look for some of these texts, which are runc's.
pub(super) fn refusal(verb: &str, status: Status) -> String {
    match (verb, status) {
        ("start", Status::Running) => "cannot start an already running container".into(),
        ("start", Status::Stopped) => "cannot start a container that has stopped".into(),
        ("kill" | "pause", Status::Stopped) => "container not running".into(),
        ("resume", Status::Created | Status::Running | Status::Stopped) => "container not paused".into(),
        ("exec", Status::Paused) => "cannot exec in a paused container (use --ignore-paused to override)".into(),
        ("exec", _) => format!("cannot exec in a {status} container"),
        ("delete", _) => format!("cannot delete container that is not stopped: {status}"),
        _ => format!("cannot {verb} a container that is {status}"),
    }
}

/// What the container of `record`, which is in the directory `dir`, is doing.
pub(super) fn status(dir: &Path, record: &Record) -> Result<Status, OpError> {
    if record.pid == 0 {
        return Ok(Status::Stopped);
    }
    if start_time(record.pid).op("look for the init of", &record.id)? != Some(record.start_time) {
        return Ok(Status::Stopped);
    }
    let gate = dir.join("gate");
    if let Ok(found) = gate.metadata()
        && is_waited_at(&gate)?
    {
        return Ok(if found.mode() & GATE_OPENS == 0 { Status::Paused } else { Status::Created });
    }
    Ok(if frozen(&record.group()?) { Status::Paused } else { Status::Running })
}

/// Whether an init waits at the gate: it has the FIFO open until it becomes its program. The file alone stays where a
/// `start` was killed.
fn is_waited_at(gate: &Path) -> Result<bool, OpError> {
    use nix::fcntl::OFlag;
    let flags = OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match nix::fcntl::open(gate, flags, nix::sys::stat::Mode::empty()) {
        Ok(_) => Ok(true),
        Err(nix::Error::ENXIO | nix::Error::ENOENT) => Ok(false),
        // Barred, and we are not root.
        Err(nix::Error::EACCES) => Ok(true),
        Err(e) => Err(e).op("look at", gate),
    }
}

/// The group is frozen, or about to be.
pub(super) fn frozen(group: &Group) -> bool {
    let Some(dir) = group.controller_dir(Controller::Freezer) else { return false };
    let says = |name: &str, frozen: &str| {
        std::fs::read_to_string(dir.join(name)).is_ok_and(|text| text.trim_end().lines().any(|line| line == frozen))
    };
    says("freezer.state", "FROZEN") || says("freezer.state", "FREEZING") || says("cgroup.freeze", "1")
}

/// When a living process began; `None` when it is gone or only waits to be reaped.
pub fn start_time(pid: u32) -> io::Result<Option<u64>> {
    let gone = |e: &io::Error| matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ESRCH));
    let stat = match procfs::read(format!("/proc/{pid}/stat")) {
        Err(e) if gone(&e) => return Ok(None),
        other => other?,
    };
    let Some((state, began)) = state_and_start(&stat) else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "malformed stat"));
    };
    match state {
        "X" => return Ok(None),
        // Of a process whose first thread has ended, others may go on: the descriptor of a process tells of its last.
        "Z" => match pidfd::open(pid).and_then(|process| pidfd::wait_end(&process, Some(0))) {
            Ok(false) => {}
            Err(e) if !gone(&e) => return Err(e),
            _ => return Ok(None),
        },
        _ => {}
    }
    Ok(Some(began))
}

/// Fields 3 and 22 of proc_pid_stat(5).
fn state_and_start(stat: &str) -> Option<(&str, u64)> {
    let mut fields = procfs::stat_fields(stat)?;
    Some((fields.next()?, fields.nth(18)?.parse().ok()?))
}
