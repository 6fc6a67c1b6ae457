//! A signal that ends the making of a container, or of a process of one.
//!
//! Who waits in the foreground hands signals on to the program, and has blocked them before there is one. Until it runs
//! nobody could take them: an interrupt then ends what is waited for, however stuck that is. It is only looked at, and
//! stays pending for the program where it comes too late.

use crate::errno::{OpContext, OpError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

/// Readable when interrupted. None by default: then signals do what they do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interrupt<'a>(Option<BorrowedFd<'a>>);

impl<'a> Interrupt<'a> {
    /// Comes when `signals` can be read.
    pub fn by(signals: BorrowedFd<'a>) -> Self {
        Self(Some(signals))
    }

    /// What there is to wait for.
    pub fn poll_fd(self) -> Option<PollFd<'a>> {
        self.0.map(|fd| PollFd::new(fd, PollFlags::POLLIN))
    }

    /// Waits until `from`, which says what a process of a container tells, can be read or has ended. Fails when
    /// interrupted before.
    pub fn wait(self, from: impl AsFd) -> Result<(), OpError> {
        if self.0.is_none() {
            return Ok(());
        }
        let from = PollFd::new(from.as_fd(), PollFlags::POLLIN);
        self.wait_until(Some(from), None).op("wait for", "the container's process").map(drop)
    }

    /// Waits until there is something of what `from` asks for; false when that is not so by `deadline`. Fails when
    /// interrupted before.
    pub fn wait_until(self, from: Option<PollFd<'_>>, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let mut fds: Vec<PollFd<'_>> = from.iter().cloned().chain(self.poll_fd()).collect();
            match poll(&mut fds, until(deadline)) {
                Ok(0) if deadline.is_some_and(|at| Instant::now() >= at) => return Ok(false),
                Ok(0) | Err(nix::Error::EINTR) => {}
                Ok(_) if from.is_some() && fds[0].any() == Some(true) => return Ok(true),
                Ok(_) => return Err(interrupted()),
                Err(e) => return Err(e.into()),
            }
        }
    }
}

/// How long poll(2) may wait, by `deadline`.
pub fn until(deadline: Option<Instant>) -> PollTimeout {
    deadline.map_or(PollTimeout::NONE, |at| {
        let left = at.saturating_duration_since(Instant::now());
        // Up to a millisecond more, rather than a turn without waiting.
        PollTimeout::try_from(left.as_millis().min(1 << 30) as i32 + 1).unwrap_or(PollTimeout::MAX)
    })
}

/// What an interrupted wait ends with.
pub fn interrupted() -> io::Error {
    io::Error::other("interrupted by a signal")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::time::Duration;

    #[test]
    fn what_is_there_comes_before_an_interrupt_and_both_before_the_deadline() {
        let ((wanted, mut say), (signals, mut interrupt)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let wanted = || Some(PollFd::new(wanted.as_fd(), PollFlags::POLLIN));
        let by = Interrupt::by(signals.as_fd());
        let soon = || Some(Instant::now() + Duration::from_millis(5));
        assert!(!by.wait_until(wanted(), soon()).unwrap());
        assert!(!by.wait_until(None, soon()).unwrap());
        interrupt.write_all(b"i").unwrap();
        assert_eq!(by.wait_until(wanted(), None).unwrap_err().to_string(), "interrupted by a signal");
        assert!(by.wait_until(None, soon()).is_err());
        say.write_all(b"x").unwrap();
        assert!(by.wait_until(wanted(), None).unwrap());
    }
}
