//! A go-between: a process of ours that enters what a process of a container is to be born in, and makes it there.
//!
//! ```text
//! worker: clone ─→ go-between: enters (its right to leave again may end here)
//!         hears ←─ MADE, pid, pidfd ─── clone3(CLONE_PARENT) ───→ the process, which has the go-between's parent
//!         release ───────────────────→ ends
//!         or dies: end of file ──────→ kills the process, ends
//! ```
//! A pid namespace takes effect for children only: the go-between enters one and cannot be seen from inside it. What it
//! makes can, from its first moment on, may be stopped in it, and has nothing of the host's left then but what the
//! go-between has. Until the worker has heard of it nobody but the go-between can end it: what runs in it must not go on
//! for good without a word of the worker's.
//!
//! Whose parent is the worker's is reaped by that.

use super::launch::LaunchError;
use super::report::{AtStage, InitError, Stage};
use super::talk::announce;
use crate::codec::Codec;
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::sys::clone::{Child, CloneArgs, clone, close_all_but};
use crate::sys::{fd, pidfd};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getpid, getppid};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// First byte of the go-between's message about a child that was made.
const MADE: u8 = 0;

/// Worker to go-between: the process needs no guard any more.
const RELEASE: u8 = 1;

/// A go-between that kills the process it has made when its worker ends before [`Guard::release`].
#[derive(Debug)]
pub(super) struct Guard {
    socket: OwnedFd,
    between: Child,
    /// It is to be reaped here.
    ours: bool,
}

/// Makes a process as `last` says, through a go-between that is made as `first` says. `enter` runs in the go-between,
/// which needs the socket that it is given until the end, and gives what runs in the process.
pub(super) fn clone_through<C: FnOnce() -> i32>(
    first: &CloneArgs<'_>,
    last: &CloneArgs<'_>,
    interrupt: Interrupt<'_>,
    enter: impl FnOnce(&OwnedFd) -> Result<C, InitError>,
) -> Result<(Child, Guard), LaunchError> {
    let (socket, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let parent = if first.sibling { getppid() } else { getpid() };
    let between = clone(first, || match make(last, parent, || enter(&theirs)) {
        Ok(made) => guard(&theirs, &made),
        Err(e) => {
            announce(&theirs, &e);
            1
        }
    })
    .op("clone", "a process to enter namespaces first")?;
    drop(theirs);
    let guard = Guard { socket, between, ours: !first.sibling };
    match hear(&guard.socket, interrupt) {
        Ok(made) => Ok((made, guard)),
        Err(e) => {
            // It may be stuck, and is in the container's group.
            let _ = pidfd::signal(&guard.between.pidfd, libc::SIGKILL);
            guard.release();
            Err(e)
        }
    }
}

impl Guard {
    /// The process is left to itself, and the go-between ends.
    pub(super) fn release(self) {
        // One that has gone already need not be told.
        let _ = fd::send_with(&self.socket, &[RELEASE], &[]);
        if self.ours {
            pidfd::reap(&self.between.pidfd);
        }
    }
}

/// Go-between: enters, and makes the process.
fn make<C: FnOnce() -> i32>(
    last: &CloneArgs<'_>,
    parent: Pid,
    enter: impl FnOnce() -> Result<C, InitError>,
) -> Result<Child, InitError> {
    settle(parent).at(Stage::Isolate)?;
    let child = enter()?;
    // From here on it has to outlive the worker.
    prctl::set_pdeathsig(None).op("ask not to die with", "the worker").at(Stage::Isolate)?;
    clone(last, child).op("clone", "the container's process").at(Stage::Isolate)
}

fn settle(parent: Pid) -> Result<(), OpError> {
    prctl::set_pdeathsig(Signal::SIGKILL).op("ask to die with", "the worker")?;
    if getppid() != parent {
        // It died before.
        return Err(io::Error::from_raw_os_error(libc::ECANCELED)).op("work for", "the worker");
    }
    // Who kills the worker's process group does not mean this one.
    nix::unistd::setsid().op("start", "a session").map(drop)
}

/// Go-between: tells of the process that it has made, and watches over it. Gives its own exit code.
fn guard(worker: &OwnedFd, made: &Child) -> i32 {
    let pid = made.pid.to_le_bytes();
    let told = fd::send_with(worker, &[&[MADE], pid.as_slice()].concat(), &[made.pidfd.as_fd()]);
    // The worker waits for the ends of some.
    let closed = close_all_but(0, &[worker.as_fd(), made.pidfd.as_fd()]);
    let released = told.and(closed).and_then(|()| fd::receive_with(worker, &mut [0], &mut Vec::new()));
    if matches!(released, Ok(1)) {
        return 0;
    }
    let _ = pidfd::signal(&made.pidfd, libc::SIGKILL);
    1
}

fn hear(socket: &OwnedFd, interrupt: Interrupt<'_>) -> Result<Child, LaunchError> {
    interrupt.wait(socket)?;
    let (mut answer, mut passed) = ([0; 4096], Vec::new());
    let heard = fd::receive_with(socket, &mut answer, &mut passed).op("hear from", "the go-between")?;
    match (&answer[..heard], passed.pop()) {
        ([MADE, pid @ ..], Some(pidfd)) => {
            let pid = pid.try_into().map(u32::from_le_bytes).map_err(|_| LaunchError::Died)?;
            Ok(Child { pid, pidfd })
        }
        ([_, error @ ..], _) => Err(InitError::from_bytes(error).map_or(LaunchError::Died, LaunchError::Init)),
        ([], _) => Err(LaunchError::Died),
    }
}
