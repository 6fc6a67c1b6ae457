//! pidfd_open(2), pidfd_send_signal(2), and waiting on a pidfd.

use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// Opens a descriptor that means the process `pid` of now.
pub fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor, close-on-exec.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that pidfd_open just returned has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Sends a signal, by number, to the process; 0 only asks whether it is there.
pub fn signal(pidfd: impl AsFd, signal: i32) -> io::Result<()> {
    let fd = pidfd.as_fd().as_raw_fd();
    let no_info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: a null siginfo is allowed and means what kill(2) sends; nothing of ours is read or written.
    match unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, no_info, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A descriptor of our own for what the process has at `number` of its table (Linux 5.6). Takes the right to trace it.
pub fn descriptor(pidfd: impl AsFd, number: i32) -> io::Result<OwnedFd> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: pidfd_getfd takes three integers and returns a new descriptor, close-on-exec.
    let ours = unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, number, 0) };
    if ours < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that pidfd_getfd just returned has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(ours as i32) })
}

/// Has the ends of our children kept for us: a caller that ignores SIGCHLD hands that on over execve(2), and the kernel
/// then reaps them by itself, so that nobody hears of them.
pub fn keep_ended_children() -> io::Result<()> {
    // SAFETY: sets a signal to its default, which runs no code of ours, and asks for no handler that was there before.
    match unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) } {
        libc::SIG_ERR => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It exited with this code.
    Exited(i32),
    /// This signal ended it.
    Signaled(i32),
}

impl End {
    /// The end as shells tell it: the exit code, or 128 plus the signal's number.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Exited(code) => code,
            Self::Signaled(signal) => 128 + signal,
        }
    }
}

/// Waits until our child ends, and reaps it.
///
/// # Errors
/// `ECHILD` when it is not (or no longer) a child of ours.
pub fn wait(pidfd: impl AsFd) -> io::Result<End> {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
    loop {
        match waitid(Id::PIDFd(pidfd.as_fd()), WaitPidFlag::WEXITED) {
            Ok(WaitStatus::Exited(_, code)) => return Ok(End::Exited(code)),
            Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(End::Signaled(signal as i32)),
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Waits until the process, anyone's child, has ended; for at most `timeout_ms`, for ever when that is `None`.
/// Says whether it has ended.
pub fn wait_end(pidfd: impl AsFd, timeout_ms: Option<u16>) -> io::Result<bool> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    let timeout = timeout_ms.map_or(PollTimeout::NONE, PollTimeout::from);
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, timeout) {
            Ok(n) => return Ok(n > 0),
            Err(nix::Error::EINTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}
