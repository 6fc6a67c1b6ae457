//! Waiting for a container's process in its stead: signals that come meanwhile are handed on to it.

use crate::errno::{OpContext, OpError};
use crate::sys::pidfd;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, OwnedFd};

/// The signals of this process as data. Made before the process is, so that none is lost.
#[derive(Debug)]
pub struct Foreground {
    signals: SignalFd,
}

impl Foreground {
    /// Blocks the signals of this process and listens for them.
    pub fn new() -> Result<Self, OpError> {
        let mut set = SigSet::all();
        // Faults are our own; a child's end is seen at its pidfd.
        let own = [Signal::SIGSEGV, Signal::SIGBUS, Signal::SIGILL, Signal::SIGFPE, Signal::SIGABRT, Signal::SIGCHLD];
        own.into_iter().for_each(|signal| set.remove(signal));
        set.thread_swap_mask(SigmaskHow::SIG_BLOCK).op("block", "signals")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        Ok(Self { signals: SignalFd::with_flags(&set, flags).op("listen for", "signals")? })
    }

    /// Waits for the process, a child of ours, and gives its exit code as shells tell it.
    pub fn wait(&self, process: &OwnedFd) -> Result<i32, OpError> {
        loop {
            let mut fds =
                [PollFd::new(process.as_fd(), PollFlags::POLLIN), PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e).op("wait for", "the container's process"),
            }
            let ended = fds[0].revents().is_some_and(|events| !events.is_empty());
            while let Ok(Some(signal)) = self.signals.read_signal() {
                // It may have ended; then there is nobody to tell.
                let _ = pidfd::signal(process, signal.ssi_signo as i32);
            }
            if ended {
                return pidfd::wait(process).map(pidfd::End::shell_code).op("wait for", "the container's process");
            }
        }
    }
}
