//! A terminal of a container's own devpts for one of its processes.

use crate::errno::{OpContext, OpError};
use crate::sys::path::open_in;
use crate::sys::tty;
use nix::unistd::Uid;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

/// Both ends of a new terminal.
#[derive(Debug)]
pub(super) struct Terminal {
    /// The end that is handed to whoever shows the terminal.
    master: OwnedFd,
    /// The end that the process has.
    pub(super) peer: OwnedFd,
}

/// Makes a terminal in the devpts mounted at /dev/pts of the file system whose root is `root`.
pub(super) fn open(root: BorrowedFd<'_>) -> Result<Terminal, OpError> {
    let ptmx = Path::new("/dev/pts/ptmx");
    let master = open_in(root, ptmx, libc::O_RDWR | libc::O_NOCTTY, 0).op("open", ptmx)?;
    // Not by its path: what is at /dev/pts/N could be another file by then (CVE-2025-52565).
    let peer = tty::open_peer(&master).op("open the other end of", ptmx)?;
    Ok(Terminal { master, peer })
}

impl Terminal {
    /// Makes the terminal the controlling one of this session and its standard streams, and gives the master.
    pub(super) fn take(self, size: Option<(u16, u16)>, owner: u32) -> Result<OwnedFd, OpError> {
        if let Some((rows, columns)) = size {
            tty::set_window_size(&self.master, tty::WindowSize { rows, columns })
                .op("set the size of", "the terminal")?;
        }
        // The group stays what devpts gave it (`tty`), as login(1) leaves it.
        nix::unistd::fchown(&self.peer, Some(Uid::from_raw(owner)), None).op("give away", "the terminal")?;
        tty::control(&self.peer).op("take control of", "the terminal")?;
        nix::unistd::dup2_stdin(&self.peer).op("place", "standard input")?;
        nix::unistd::dup2_stdout(&self.peer).op("place", "standard output")?;
        nix::unistd::dup2_stderr(&self.peer).op("place", "standard error")?;
        Ok(self.master)
    }
}
