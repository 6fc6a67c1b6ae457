//! What the agent makes of its host before it takes tasks: directories and lock, control groups, network; and what it
//! tells systemd.

use crate::config::Settings;
use crate::engine::run_runtime;
use berth_runtime::cgroup::Hierarchies;
use berth_runtime::cgroup::limits::Limits;
use berth_runtime::cli::node_net;
use berth_runtime::errno::{OpContext, OpError, chain};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::ffi::OsString;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

/// The agent cannot have its directories.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("lock `{0}`: another agent runs with this directory; choose with --run and --state")]
    Held(String),
}

/// Makes run and state directory and keeps other agents out of both for as long as the files live.
pub(super) fn lock_directories(settings: &Settings) -> Result<[File; 2], LockError> {
    let dirs = &settings.dirs;
    for dir in [&dirs.run, &dirs.state, &dirs.run_tasks(), &dirs.state_tasks()] {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).op("create directory", dir)?;
    }
    Ok([lock(&dirs.agent_lock())?, lock(&dirs.state.join("agent.lock"))?])
}

fn lock(path: &Path) -> Result<File, LockError> {
    let mut open = OpenOptions::new();
    let file = open.create(true).truncate(false).write(true).mode(0o600).open(path).op("open", path)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LockError::Held(path.display().to_string())),
        Err(TryLockError::Error(e)) => {
            Err(Err::<File, _>(e).op("lock", path).expect_err("was made of an error").into())
        }
    }
}

/// Each published port is a descriptor for a moment, and each task a few for long.
pub(super) fn raise_file_limit() {
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(e) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::warn!(soft, hard, err = %e, "limit of open files not raised");
    }
}

/// Makes the tree of control groups, with the limits of what is kept for the host. What is missing is said, not fatal:
/// each task that needs it fails by name.
pub(super) fn make_groups(settings: &Settings) -> Result<Vec<String>, OpError> {
    let hierarchies = Hierarchies::detect(Path::new("/sys/fs/cgroup"))?;
    let mut warnings = Vec::new();
    match hierarchies.missing() {
        Ok(missing) => {
            warnings.extend(missing.iter().map(|c| format!("control groups lack the controller {}", c.name())))
        }
        Err(e) => warnings.push(chain(&e)),
    }
    let parent = hierarchies.delegate(&settings.cgroup_parent)?;
    if let Err(e) = parent.apply(&reserve_limits(settings)) {
        warnings.push(format!("what is kept for the host is not enforced: {}", chain(&e)));
    }
    parent.child("shims").create()?;
    hierarchies.delegate(Path::new(&settings.cgroup_parent).join("tasks"))?;
    for warning in &warnings {
        tracing::warn!(warning, "host");
    }
    Ok(warnings)
}

/// All tasks together get what is not reserved; with nothing reserved there is no limit.
fn reserve_limits(settings: &Settings) -> Limits {
    const PERIOD_US: u64 = 100_000;
    let node = &settings.node;
    let quota = node.task_cpu().saturating_mul(PERIOD_US) / 1024;
    Limits {
        cpu_quota_us: (node.reserved_cpu > 0).then_some(quota),
        cpu_period_us: (node.reserved_cpu > 0).then_some(PERIOD_US),
        memory_bytes: (node.reserved_memory > 0).then(|| node.task_memory() << 20),
        ..Limits::default()
    }
}

/// Has the node's network made by a short process: the agent changes nothing in the kernel itself.
pub(super) async fn make_network(settings: &Settings, program: &Path) -> Option<String> {
    let arguments = ["node-net".to_owned(), "up".to_owned()].into_iter().chain(node_net::arguments(&settings.net));
    let result = run_runtime(program.to_owned(), arguments.map(OsString::from).collect()).await;
    let problem = result.err()?;
    tracing::error!(problem, "the node's network is not made: tasks with bridge and awsvpc will fail");
    Some(format!("the node's network is not made ({problem}): see `berth doctor`"))
}

/// Takes away what was made of the host, when no task needs it any more. What stays is said and does no harm: the next
/// start finds it.
pub(super) async fn leave(settings: &Settings, program: &Path) {
    let arguments = ["node-net".to_owned(), "down".to_owned()].into_iter().chain(node_net::arguments(&settings.net));
    if let Err(problem) = run_runtime(program.to_owned(), arguments.map(OsString::from).collect()).await {
        tracing::warn!(problem, "the node's network is not taken away");
    }
    let removed = Hierarchies::detect(Path::new("/sys/fs/cgroup")).and_then(|h| {
        let parent = h.group(&settings.cgroup_parent);
        // From the leaves up; a group that somebody else has put processes into stays, and those above it.
        parent.child("tasks").remove()?;
        parent.child("shims").remove()?;
        parent.remove()
    });
    if let Err(e) = removed {
        tracing::warn!(err = chain(&e), "control groups are not taken away");
    }
}

/// Tells systemd, if it started us, that operators and tasks are served.
pub(super) fn notify_ready() {
    notify("READY=1");
}

/// Tells systemd that we end by ourselves.
pub(super) fn notify_stopping() {
    notify("STOPPING=1");
}

fn notify(text: &str) {
    let Some(path) = std::env::var_os("NOTIFY_SOCKET").filter(|p| !p.is_empty()) else { return };
    if let Err(e) = send(&path, text) {
        tracing::warn!(socket = %path.display(), err = %e, "systemd is not told");
    }
}

fn send(path: &OsString, text: &str) -> io::Result<()> {
    let bytes = path.as_encoded_bytes();
    let address = match bytes.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(path)?,
    };
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::PortRange;
    use crate::config::{HostFacts, Partial};

    fn settings(partial: Partial) -> Settings {
        let ephemeral_ports = PortRange { first: 32768, last: 60999 };
        Settings::resolve(partial, &HostFacts { cpus: 2, memory_mib: 1000, ephemeral_ports }).unwrap()
    }

    #[test]
    fn what_is_kept_for_the_host_limits_all_tasks_together() {
        assert_eq!(reserve_limits(&settings(Partial::default())), Limits::default());
        let partial = Partial { reserved_cpu: Some(512), reserved_memory: Some(200), ..Partial::default() };
        let limits = reserve_limits(&settings(partial));
        assert_eq!((limits.cpu_quota_us, limits.memory_bytes), (Some(150_000), Some(800 << 20)));
    }

    #[test]
    fn a_second_agent_is_kept_out_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let settings = settings(Partial {
            run_dir: Some(dir.path().join("run")),
            state_dir: Some(dir.path().join("state")),
            ..Partial::default()
        });
        let first = lock_directories(&settings).unwrap();
        let text = lock_directories(&settings).unwrap_err().to_string();
        assert!(text.contains("another agent runs with this directory"), "{text}");
        drop(first);
        lock_directories(&settings).unwrap();
    }

    #[test]
    fn systemd_is_told_by_path_or_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        send(&path.into_os_string(), "READY=1").unwrap();
        let mut buffer = [0; 16];
        let n = socket.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..n], b"READY=1");
    }
}
