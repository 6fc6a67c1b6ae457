//! Shims as processes of `berth-runtime`.

use super::seams::{Inheritance, Later, Shims};
use berth_runtime::rundir::TaskDirs;
use berth_runtime::sys::pidfd::{self, Ended};
use berth_runtime::sys::spawn;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Number of the lock in a shim.
const LOCK: i32 = 3;
/// Number of the listening socket in a shim; the sockets that hold ports follow.
const LISTENER: i32 = 4;

/// Starts shims and sweeps from one executable.
#[derive(Debug, Clone)]
pub struct RuntimeShims {
    program: PathBuf,
    runtime: tokio::runtime::Handle,
}

impl RuntimeShims {
    /// From the executable `program`. Needs a tokio runtime, in which children are waited for.
    pub fn new(program: PathBuf) -> Self {
        Self { program, runtime: tokio::runtime::Handle::current() }
    }
}

fn arguments(verb: &str, dirs: &TaskDirs) -> [OsString; 5] {
    [verb.into(), "--run".into(), dirs.run().into(), "--state".into(), dirs.state().into()]
}

impl Shims for RuntimeShims {
    fn spawn(&self, dirs: &TaskDirs, inheritance: Inheritance) -> io::Result<()> {
        let Inheritance { lock, listener, ports } = &inheritance;
        let null = std::fs::OpenOptions::new().read(true).open("/dev/null")?;
        let mut fds: Vec<(BorrowedFd<'_>, i32)> =
            vec![(null.as_fd(), 0), (lock.as_fd(), LOCK), (listener.as_fd(), LISTENER)];
        fds.extend(ports.iter().map(AsFd::as_fd).zip(LISTENER + 1..));
        let (pid, pidfd) = spawn::spawn(&self.program, &arguments("shim", dirs), &fds)?;
        tracing::debug!(shim = %dirs.run().display(), pid, "shim started");
        let _entered = self.runtime.enter();
        self.runtime.spawn(async move {
            // Its end is told by the lock; here it is only kept from staying as a zombie.
            if let Err(e) = ended(pidfd).await {
                tracing::warn!(pid, err = %e, "shim not waited for");
            }
        });
        Ok(())
    }

    fn sweep(&self, dirs: &TaskDirs) -> Later<Result<(), String>> {
        let (program, dirs) = (self.program.clone(), dirs.clone());
        Box::pin(async move {
            // The host was restarted: what was made is gone with it, and so is the plan that says what there was.
            if !dirs.plan().exists() {
                return Ok(());
            }
            run(program, arguments("sweep", &dirs).to_vec()).await
        })
    }
}

/// Runs `program` to its end; its standard error is the agent's.
pub async fn run(program: PathBuf, arguments: Vec<OsString>) -> Result<(), String> {
    let verb = arguments.first().map(|v| v.to_string_lossy().into_owned()).unwrap_or_default();
    let name = move |problem: String| format!("berth-runtime {verb}: {problem}");
    let spawned = tokio::task::spawn_blocking(move || spawn_quietly(&program, &arguments)).await;
    let pidfd = spawned.map_err(|e| name(e.to_string()))?.map_err(|e| name(e.to_string()))?;
    match ended(pidfd).await {
        Ok(Ended::Code(0)) => Ok(()),
        Ok(Ended::Code(code)) => Err(name(format!("ended with {code}"))),
        Ok(Ended::Signal(signal)) => Err(name(format!("killed by signal {signal}"))),
        Err(e) => Err(name(e.to_string())),
    }
}

fn spawn_quietly(program: &Path, arguments: &[OsString]) -> io::Result<OwnedFd> {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let fds = [(null.as_fd(), 0), (null.as_fd(), 1)];
    spawn::spawn(program, arguments, &fds).map(|(_, pidfd)| pidfd)
}

/// Waits for a child and reaps it.
#[allow(
    deprecated,
    reason = "what replaces it is unsafe to call; the OwnedFd inside keeps its descriptor open as long"
)]
async fn ended(pidfd: OwnedFd) -> io::Result<Ended> {
    let pidfd = AsyncFd::try_with_interest(pidfd, Interest::READABLE)?;
    loop {
        let mut ready = pidfd.readable().await?;
        if let Some(ended) = pidfd::ended(pidfd.get_ref())? {
            return Ok(ended);
        }
        ready.clear_ready();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_program_is_waited_for_and_its_failure_is_named() {
        assert_eq!(run("/bin/true".into(), vec!["up".into()]).await, Ok(()));
        assert_eq!(run("/bin/false".into(), vec!["up".into()]).await, Err("berth-runtime up: ended with 1".into()));
        assert!(run("/nonexistent".into(), vec!["up".into()]).await.unwrap_err().contains("No such file"));
    }
}
