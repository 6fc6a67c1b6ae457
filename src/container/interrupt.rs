//! A signal that ends the making of a container, or of a process of one.
//!
//! Who waits in the foreground hands signals on to the program, and has blocked them before there is one. Until it runs
//! nobody could take them: an interrupt then ends what is waited for, however stuck that is. It is only looked at, and
//! stays pending for the program where it comes too late.

use crate::errno::{OpContext, OpError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// Readable when interrupted. None by default: then signals do what they do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupt<'a>(Option<BorrowedFd<'a>>);

impl<'a> Interrupt<'a> {
    /// Comes when `signals` can be read.
    pub(super) fn by(signals: BorrowedFd<'a>) -> Self {
        Self(Some(signals))
    }

    /// What there is to wait for.
    pub(super) fn poll_fd(self) -> Option<PollFd<'a>> {
        self.0.map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Waits until `from` can be read, or has ended. Fails when interrupted before.
    pub(super) fn wait(self, from: impl AsFd) -> Result<(), OpError> {
        let Some(interrupt) = self.poll_fd() else { return Ok(()) };
        loop {
            let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN), interrupt.clone()];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) if fds[0].any() == Some(true) => return Ok(()),
                Ok(_) => return Err(interrupted()).op("wait for", "the container's process"),
                Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e).op("wait for", "the container's process"),
            }
        }
    }
}

/// What an interrupted wait ends with.
pub(super) fn interrupted() -> io::Error {
    io::Error::other("interrupted by a signal")
}
