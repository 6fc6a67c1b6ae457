//! `events`: what a container uses, at intervals, and when it runs out of memory, until it ends.

use super::create::VerbError;
use super::state::{StateError, Table};
use super::status::Status;
use crate::cgroup::account::Account;
use crate::errno::OpError;
use crate::sys::pidfd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Something to tell.
#[derive(Debug)]
pub enum Event {
    /// What the container uses.
    Stats(Box<Account>),
    /// A process of it was killed for want of memory, or waits for some.
    Oom,
}

/// What a container that has not ended uses now.
pub fn stats(table: &Table, id: &str) -> Result<Account, VerbError> {
    let record = table.read(id)?;
    match table.status(&record)? {
        Status::Created | Status::Running | Status::Paused => Ok(record.group()?.account()?),
        status => Err(StateError::Wrong { verb: "watch", status }.into()),
    }
}

/// Tells `tell` of the container until its init ends or `tell` fails. The first account comes after one interval.
pub fn watch(
    table: &Table,
    id: &str,
    interval: Duration,
    tell: &mut dyn FnMut(Event) -> Result<(), OpError>,
) -> Result<(), VerbError> {
    let record = table.read(id)?;
    let init = pidfd::open(record.pid);
    // With the descriptor, which from here on means one process.
    let status = table.status(&record)?;
    let (Status::Created | Status::Running | Status::Paused, Ok(init)) = (status, init) else {
        return Err(StateError::Wrong { verb: "watch", status: Status::Stopped }.into());
    };
    let group = record.group()?;
    let mut oom = group.watch_oom()?;
    // None where no clock reaches that far.
    let mut next = Instant::now().checked_add(interval);
    loop {
        let ended = {
            let (fd, flags) = oom.fd();
            let mut fds = [PollFd::new(init.as_fd(), PollFlags::POLLIN), PollFd::new(fd, flags)];
            let left = next.map(|at| at.saturating_duration_since(Instant::now()).as_millis().saturating_add(1));
            match poll(&mut fds, left.map_or(PollTimeout::NONE, |ms| ms.try_into().unwrap_or(PollTimeout::MAX))) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(OpError::new("wait for", "events", e).into()),
            }
            fds[0].revents().is_some_and(|events| !events.is_empty())
        };
        let exists = group.exists();
        for _ in 0..oom.take()? {
            // The kernel's last word on v1 is that the group is gone.
            if exists {
                tell(Event::Oom)?;
            }
        }
        if ended {
            return Ok(());
        }
        if let Some(at) = next.filter(|at| Instant::now() >= *at) {
            tell(Event::Stats(Box::new(group.account()?)))?;
            next = at.checked_add(interval);
        }
    }
}
