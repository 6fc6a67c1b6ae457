//! The shim's side of its workers: started with their order waiting, heard once, reaped.

use super::job::{Answer, Job, LOCK_FD, MAX_MESSAGE, Order, SOCKET_FD};
use crate::codec::Codec;
use crate::rundir::TaskDirs;
use crate::sys::fd::{message_pair, receive_with, send_with};
use crate::sys::pidfd::{self, Ended};
use crate::sys::spawn;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A worker that takes longer hangs, and is killed: two minutes are long on the slowest machine that tests run on.
const LIMIT_MS: u64 = 120_000;

/// What a shim has for all of its workers.
#[derive(Debug)]
pub(super) struct Own {
    /// The shim's own executable, on a mount that nobody can write through: a worker's child is seen from inside its
    /// container before it is the user's program.
    pub(super) program: OwnedFd,
    /// The task's lock.
    pub(super) lock: OwnedFd,
}

/// What a worker works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// The network that all containers share.
    Network,
    /// Making the container of this index.
    Container(usize),
    /// Starting the exec'd process of this number.
    Exec(u64),
    /// Removing everything.
    TearDown,
}

/// A worker that has not been reaped.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) works_for: For,
    pub(super) pid: u32,
    pub(super) pidfd: OwnedFd,
    /// Until it has been heard.
    pub(super) socket: Option<OwnedFd>,
    pub(super) answered: bool,
    /// When it is killed, on the monotonic clock.
    pub(super) deadline_ms: u64,
}

impl Worker {
    /// Starts a worker on `job` with `fds`.
    pub(super) fn start(
        works_for: For,
        job: Job,
        fds: &[BorrowedFd<'_>],
        dirs: &TaskDirs,
        own: &Own,
        now_ms: u64,
    ) -> io::Result<Self> {
        let order = Order { run: dirs.run().to_owned(), state: dirs.state().to_owned(), shim: std::process::id(), job };
        let bytes = order.to_bytes();
        if bytes.len() > MAX_MESSAGE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("arguments and environment of {} bytes, limit {MAX_MESSAGE}", bytes.len()),
            ));
        }
        let (socket, far) = message_pair()?;
        send_with(&socket, &bytes, fds)?;
        let (pid, pidfd) = spawn::respawn(
            own.program.as_fd(),
            "berth-runtime",
            &["worker"],
            &[(far.as_fd(), SOCKET_FD), (own.lock.as_fd(), LOCK_FD)],
        )?;
        Ok(Self {
            works_for,
            pid,
            pidfd,
            socket: Some(socket),
            answered: false,
            deadline_ms: now_ms.saturating_add(LIMIT_MS),
        })
    }

    /// Takes the answer, which is waiting or will not come. `None` when the worker ended without one.
    pub(super) fn hear(&mut self) -> Option<(Answer, Vec<OwnedFd>)> {
        let socket = self.socket.take()?;
        let (mut buffer, mut fds) = (vec![0; MAX_MESSAGE], Vec::new());
        let n = receive_with(&socket, &mut buffer, &mut fds).ok()?;
        let answer = Answer::from_bytes(&buffer[..n]).ok()?;
        self.answered = true;
        Some((answer, fds))
    }

    /// Kills it; its end is told by its pidfd.
    pub(super) fn kill(&self) {
        // It has ended already when this fails.
        let _ = pidfd::signal(&self.pidfd, libc::SIGKILL);
    }

    /// Reaps it, when it has ended.
    pub(super) fn reap(&self) -> Option<Ended> {
        match pidfd::ended(&self.pidfd) {
            Ok(ended) => ended,
            Err(_) => Some(Ended::Signal(libc::SIGKILL)),
        }
    }
}
