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
pub enum Ended {
    /// It exited with this code.
    Code(i32),
    /// This signal ended it (by number: real-time signals have no names).
    Signal(i32),
}

impl Ended {
    /// The code as shells tell it: the process's own, or 128 plus the signal's number.
    pub fn shell_code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
        }
    }
}

/// Waits until our child ends, and reaps it.
///
/// # Errors
/// `ECHILD` when it is not (or no longer) a child of ours.
pub fn wait(pidfd: impl AsFd) -> io::Result<Ended> {
    loop {
        if let Some((_, ended)) = wait_id(libc::P_PIDFD, id_of(&pidfd)?, libc::WEXITED)? {
            return Ok(ended);
        }
    }
}

/// As [`wait`], `None` while it still runs.
pub fn ended(pidfd: impl AsFd) -> io::Result<Option<Ended>> {
    Ok(wait_id(libc::P_PIDFD, id_of(&pidfd)?, libc::WEXITED | libc::WNOHANG)?.map(|(_, ended)| ended))
}

fn id_of(pidfd: &impl AsFd) -> io::Result<libc::id_t> {
    libc::id_t::try_from(pidfd.as_fd().as_raw_fd()).map_err(io::Error::other)
}

/// waitid(2): the process id of a child that has ended, and how; with `WNOHANG` `None` while there is none.
pub(super) fn wait_id(kind: libc::idtype_t, id: libc::id_t, flags: libc::c_int) -> io::Result<Option<(u32, Ended)>> {
    loop {
        // SAFETY: an all-zero siginfo_t is a valid value, and is how "no child has ended" is told from an end.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: the kernel writes one siginfo_t to `info`, which lives until the call returns.
        let done = unsafe { libc::waitid(kind, id, &raw mut info, flags) };
        if done < 0 {
            let e = io::Error::last_os_error();
            if e.kind() == io::ErrorKind::Interrupted {
                continue;
            }
            return Err(e);
        }
        // SAFETY: waitid filled in the SIGCHLD member of the union, or left all zero.
        let pid = unsafe { info.si_pid() };
        if pid == 0 {
            return Ok(None);
        }
        // SAFETY: as above, and a child was found, so the status is set.
        let status = unsafe { info.si_status() };
        let ended = if info.si_code == libc::CLD_EXITED { Ended::Code(status) } else { Ended::Signal(status) };
        return Ok(Some((pid.unsigned_abs(), ended)));
    }
}

/// How long the end of a process that has been killed or told to end is waited for.
const END_MS: u16 = 2000;

/// Kills our child, and reaps it by [`reap`].
pub fn end(pidfd: impl AsFd) {
    let _ = signal(&pidfd, libc::SIGKILL);
    reap(pidfd);
}

/// Reaps our child, which has been killed or told to end. Not at any price: in a frozen group of version 1 it does not
/// end before that is thawed, and is left to whoever reaps what this process leaves.
pub fn reap(pidfd: impl AsFd) {
    if matches!(wait_end(&pidfd, Some(END_MS)), Ok(true)) {
        let _ = wait(pidfd);
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
