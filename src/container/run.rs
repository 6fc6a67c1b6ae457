//! `run`: create, start, and unless detached wait and delete, without the files that verbs of other processes need.

use super::create::{Create, Created, VerbError, create_in};
use super::delete;
use super::launch::{Launched, read_plan, read_report};
use super::state::Table;
use crate::cgroup::Group;
use crate::errno::{OpContext, OpError};
use crate::sys::pidfd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, OwnedFd};

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    launched: Launched,
    group: Group,
    signals: SignalFd,
}

/// Creates a container and starts it.
pub fn run(table: &Table, c: &Create<'_>) -> Result<Running, VerbError> {
    let bundle = std::fs::canonicalize(c.bundle).op("find bundle", c.bundle)?;
    let plan = read_plan(&bundle)?;
    let slot = table.claim(c.id)?;
    let ((gate, open_gate), (report, told)) =
        match (nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC), nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)) {
            (Ok(gate), Ok(report)) => (gate, report),
            (Err(e), _) | (_, Err(e)) => {
                let _ = slot.remove();
                return Err(OpError::new("make", "a pipe", e).into());
            }
        };
    let signals = signals()?;
    let Created { slot, launched, group } = create_in(slot, &plan, &bundle, c, gate.as_fd(), told.as_fd())?;
    drop(told);
    let started = nix::unistd::write(&open_gate, b"g").op("open the gate of", c.id).map_err(VerbError::from);
    match started.and_then(|_| read_report(report).map_err(VerbError::from)) {
        Ok(()) => Ok(Running { launched, group, signals }),
        Err(e) => {
            let _ = pidfd::signal(&launched.pidfd, libc::SIGKILL);
            let _ = pidfd::wait(&launched.pidfd);
            let _ = delete::remove(slot, &group);
            Err(e)
        }
    }
}

/// From here on signals come as data, so that one that arrives before the wait is not lost.
fn signals() -> Result<SignalFd, OpError> {
    let mut set = SigSet::all();
    for fault in [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGCHLD] {
        set.remove(fault);
    }
    set.thread_swap_mask(SigmaskHow::SIG_BLOCK).op("block", "signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).op("listen for", "signals")
}

impl Running {
    /// The master end of its terminal.
    pub fn terminal(&mut self) -> Option<OwnedFd> {
        self.launched.terminal.take()
    }

    /// Its init.
    pub fn pid(&self) -> u32 {
        self.launched.pid
    }

    /// Waits for the init, hands on the signals that come meanwhile, and gives the exit code as shells tell it.
    pub fn wait(&self) -> Result<i32, VerbError> {
        loop {
            let mut fds = [
                PollFd::new(self.launched.pidfd.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(OpError::new("wait for", "the container", e).into()),
            }
            while let Ok(Some(signal)) = self.signals.read_signal() {
                let _ = pidfd::signal(&self.launched.pidfd, signal.ssi_signo as i32);
            }
            if pidfd::wait_end(&self.launched.pidfd, Some(0)).op("wait for", "the container")? {
                let end = pidfd::wait(&self.launched.pidfd).op("wait for", "the container")?;
                return Ok(end.shell_code());
            }
        }
    }

    /// Removes everything of the ended container.
    pub fn delete(self, table: &Table, id: &str) -> Result<(), VerbError> {
        delete::remove(table.open(id)?, &self.group)
    }
}
