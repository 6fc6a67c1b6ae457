//! `run`: create, start, and unless detached wait and delete, without the files that verbs of other processes need.

use super::create::{Create, Created, VerbError, create_in};
use super::delete;
use super::foreground::Foreground;
use super::launch::{Launched, read_plan, read_report};
use super::state::Table;
use crate::cgroup::Group;
use crate::errno::{OpContext, OpError};
use crate::sys::pidfd;
use std::os::fd::{AsFd, OwnedFd};

/// A container that runs.
#[derive(Debug)]
pub struct Running {
    launched: Launched,
    group: Group,
    foreground: Foreground,
}

/// Creates a container and starts it.
pub fn run(table: &Table, c: &Create<'_>) -> Result<Running, VerbError> {
    let bundle = std::fs::canonicalize(c.bundle).op("find bundle", c.bundle)?;
    let plan = read_plan(&bundle)?;
    let slot = table.claim(c.id)?;
    let prepared = Foreground::new().and_then(|foreground| Ok((foreground, pipe()?, pipe()?)));
    let (foreground, (gate, open_gate), (report, told)) = match prepared {
        Ok(prepared) => prepared,
        Err(e) => {
            let _ = slot.remove();
            return Err(e.into());
        }
    };
    let Created { slot, launched, group } = create_in(slot, &plan, &bundle, c, gate.as_fd(), told.as_fd())?;
    drop(told);
    let started = nix::unistd::write(&open_gate, b"g").op("open the gate of", c.id).map_err(VerbError::from);
    match started.and_then(|_| read_report(report).map_err(VerbError::from)) {
        Ok(()) => Ok(Running { launched, group, foreground }),
        Err(e) => {
            let _ = pidfd::signal(&launched.pidfd, libc::SIGKILL);
            let _ = pidfd::wait(&launched.pidfd);
            let _ = delete::remove(slot, &group);
            Err(e)
        }
    }
}

fn pipe() -> Result<(OwnedFd, OwnedFd), OpError> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).op("make", "a pipe")
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
        Ok(self.foreground.wait(&self.launched.pidfd)?)
    }

    /// Removes everything of the ended container.
    pub fn delete(self, table: &Table, id: &str) -> Result<(), VerbError> {
        delete::remove(table.open(id)?, &self.group)
    }
}
