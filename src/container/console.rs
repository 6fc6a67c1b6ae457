//! The terminal of a container's process for somebody to use: the caller's own, or one that is handed away.
//!
//! ```text
//! caller's terminal, raw ──stdin──→ master ══ terminal of the process
//!                        ←─stdout──
//! ```
//! A caller that waits in the foreground lends its terminal: what is typed goes over as it is typed, its size is the
//! terminal's size, and it gets back the way it was. Standard streams that are no terminal are just copied.

use crate::errno::{OpContext, OpError};
use crate::sys::tty;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags};
use nix::sys::termios::{SetArg, Termios, cfmakeraw, tcgetattr, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// How much is shown at a time: more than a terminal holds, so that all that was written before an end is shown after it,
/// and not all of one that never stops writing.
const SHOWN_BYTES: usize = 128 << 10;

/// Where the terminal of a process goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalTo {
    /// The caller waits for the process, and shares its own.
    Caller,
    /// To whoever listens on a socket.
    Socket,
    /// The caller leaves the process to itself, and nobody listens.
    Nobody,
}

impl TerminalTo {
    /// Whether that fits a process with a terminal or without. To be asked before anything is made.
    pub fn fits(self, terminal: bool) -> Result<(), OpError> {
        let problem = match (self, terminal) {
            (Self::Nobody, true) => "cannot allocate tty if it will be detached without setting console socket",
            (Self::Socket, false) => "cannot use console socket if it will not be detached or allocate tty",
            _ => return Ok(()),
        };
        Err(OpError::new("use the terminal of", "process", io::Error::other(problem)))
    }
}

/// Rows and columns of the terminal that the caller types at.
pub fn callers_size() -> Option<(u16, u16)> {
    let size = tty::window_size(io::stdin()).ok()?;
    Some((size.rows, size.columns)).filter(|size| *size != (0, 0))
}

/// A process's terminal while it is the caller's.
#[derive(Debug)]
pub struct Console {
    master: OwnedFd,
    /// How the caller's terminal was; `None` when standard input is none.
    was: Option<Termios>,
    input: bool,
    output: bool,
    /// Typed, and not taken by the process's terminal yet.
    pending: Vec<u8>,
}

impl Console {
    /// Joins the caller's standard streams and the terminal whose master this is.
    pub fn attach(master: OwnedFd) -> Result<Self, OpError> {
        fcntl(&master, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK)).op("prepare", "the terminal")?;
        let stdin = io::stdin();
        let mut was = None;
        if let Ok(mut mode) = tcgetattr(&stdin) {
            was = Some(mode.clone());
            cfmakeraw(&mut mode);
            tcsetattr(&stdin, SetArg::TCSANOW, &mode).op("make raw", "the caller's terminal")?;
        }
        let console = Self { master, was, input: true, output: true, pending: Vec::new() };
        console.resize();
        Ok(console)
    }

    /// Gives the terminal the size of the caller's, where that has one.
    pub(super) fn resize(&self) {
        if let Some((rows, columns)) = callers_size() {
            // The process may have ended.
            let _ = tty::set_window_size(&self.master, tty::WindowSize { rows, columns });
        }
    }

    /// What there is to wait for: the caller's input, and the terminal.
    pub(super) fn poll_fds<'a>(&'a self, stdin: &'a io::Stdin) -> [Option<PollFd<'a>>; 2] {
        let typed = (self.input && self.pending.is_empty()).then(|| PollFd::new(stdin.as_fd(), PollFlags::POLLIN));
        let mut events = PollFlags::empty();
        events.set(PollFlags::POLLIN, self.output);
        events.set(PollFlags::POLLOUT, !self.pending.is_empty());
        [typed, (!events.is_empty()).then(|| PollFd::new(self.master.as_fd(), events))]
    }

    /// Takes what the caller has typed.
    pub(super) fn take_input(&mut self) {
        let mut buffer = [0; 4096];
        match nix::unistd::read(io::stdin(), &mut buffer) {
            Ok(n) if n > 0 => self.pending.extend_from_slice(&buffer[..n]),
            Err(nix::Error::EINTR | nix::Error::EAGAIN) => {}
            // The end of what is no terminal; or we are in the background of one.
            _ => self.input = false,
        }
        self.give_input();
    }

    /// Gives the process's terminal as much as it takes.
    pub(super) fn give_input(&mut self) {
        while !self.pending.is_empty() {
            match nix::unistd::write(&self.master, &self.pending) {
                Ok(n) => drop(self.pending.drain(..n)),
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                Err(_) => self.pending.clear(),
            }
        }
    }

    /// Shows what the process has written so far, or the first of it.
    pub(super) fn show_output(&mut self) {
        // Where nobody looks any more the process may still write.
        self.take_output(&mut |bytes| {
            let _ = write_all(bytes);
        });
    }

    fn take_output(&mut self, show: &mut dyn FnMut(&[u8])) {
        let mut buffer = [0; 16384];
        let mut shown = 0;
        while self.output && shown < SHOWN_BYTES {
            match nix::unistd::read(&self.master, &mut buffer) {
                Ok(n) if n > 0 => {
                    show(&buffer[..n]);
                    shown += n;
                }
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return,
                // EIO: nobody has the terminal open any more.
                _ => self.output = false,
            }
        }
    }
}

/// Standard output may have been made non-blocking by those who share it.
fn write_all(mut bytes: &[u8]) -> nix::Result<()> {
    let stdout = io::stdout();
    while !bytes.is_empty() {
        match nix::unistd::write(&stdout, bytes) {
            Ok(n) => bytes = &bytes[n..],
            Err(nix::Error::EINTR) => {}
            Err(nix::Error::EAGAIN) => {
                let mut fds = [PollFd::new(stdout.as_fd(), PollFlags::POLLOUT)];
                let _ = nix::poll::poll(&mut fds, nix::poll::PollTimeout::NONE);
            }
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(was) = &self.was {
            // It may have been hung up meanwhile.
            let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, was);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_that_never_ends_is_taken_in_parts() {
        let master = std::fs::File::open("/dev/zero").unwrap().into();
        let mut console = Console { master, was: None, input: true, output: true, pending: Vec::new() };
        let mut shown = 0;
        console.take_output(&mut |bytes| shown += bytes.len());
        assert_eq!(shown, SHOWN_BYTES);
        assert!(console.output);
    }

    #[test]
    fn a_terminal_is_the_callers_or_goes_to_a_socket() {
        assert!(TerminalTo::Caller.fits(true).is_ok() && TerminalTo::Caller.fits(false).is_ok());
        assert!(TerminalTo::Nobody.fits(false).is_ok() && TerminalTo::Socket.fits(true).is_ok());
        assert!(TerminalTo::Nobody.fits(true).is_err());
        assert!(TerminalTo::Socket.fits(false).is_err());
    }
}
