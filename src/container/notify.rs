//! sd_notify(3) for a program in a container: what it says of its readiness reaches the service manager of the host.
//!
//! ```text
//! program ─ /run/notify/notify.sock ─(bind mount)─ ROOT/ID/notify/notify.sock ─→ this process ─→ $NOTIFY_SOCKET
//! ```
//! As runc does it. The container cannot write the directory. Only `READY=` lines go over, with the main process as the host knows it: a container tells the
//! manager neither which process to watch nor anything else. Who starts the container and goes away listens until the
//! program is ready; who stays hands it on while waiting for the end. Without NOTIFY_SOCKET nothing of this happens.

use crate::errno::{OpContext, OpError};
use crate::interrupt::{self, Interrupt};
use crate::spec::{Plan, bind_mount};
use crate::sys::pidfd;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

const INSIDE: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// How many messages are heard at a time, of one that never stops talking not all.
const HEARD: usize = 64;

/// The service manager's socket, where one waits to hear from this process.
pub fn asked() -> Option<OsString> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty())
}

/// Makes the directory that the container shares, and lets the plan mount it and tell the program of it.
pub(super) fn prepare(plan: &mut Plan, dir: &Path) -> Result<(), OpError> {
    std::fs::create_dir(dir).op("make", dir)?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).op("open to the container", dir)?;
    let mount = bind_mount(dir, Path::new(INSIDE), &["bind", "nosuid", "nodev", "noexec", "ro"]);
    plan.mounts.push(mount.map_err(io::Error::other).op("mount inside", dir)?);
    if let Some(process) = &mut plan.process {
        process.env.retain(|entry| !entry.to_bytes().starts_with(b"NOTIFY_SOCKET="));
        process.env.push(CString::new(format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}")).expect("a path without NUL"));
    }
    Ok(())
}

/// Listens to a container's program.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
    manager: OsString,
}

impl Listener {
    /// Listens in the directory made by [`prepare`]; `None` where there is none, or nobody to tell.
    pub(super) fn open(dir: &Path) -> Result<Option<Self>, OpError> {
        let Some(manager) = asked().filter(|_| dir.is_dir()) else { return Ok(None) };
        let path = dir.join(SOCKET);
        // Of one who listened before and was killed.
        let _ = std::fs::remove_file(&path);
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = nix::fcntl::open(dir, flags, Mode::empty()).op("open", dir)?;
        // The address of a socket has room for 108 bytes, which root and id may be longer than.
        let short = format!("/proc/self/fd/{}/{SOCKET}", open.as_raw_fd());
        let socket = UnixDatagram::bind(short).op("listen on", &path)?;
        // Whoever the program runs as. A link in its place would lead to a file of the host's.
        fchmodat(&open, SOCKET, Mode::from_bits_truncate(0o777), FchmodatFlags::NoFollowSymlink)
            .op("open to the container", &path)?;
        socket.set_nonblocking(true).op("prepare", &path)?;
        Ok(Some(Self { socket, path, manager }))
    }

    /// Hands on what has been said; true once the program has said that it is ready.
    pub(super) fn hand_on(&self, main: u32) -> Result<bool, OpError> {
        let mut buffer = [0; 4096];
        for _ in 0..HEARD {
            let n = match self.socket.recv(&mut buffer) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).op("hear from", &self.path),
            };
            if let Some(ready) = ready_lines(&buffer[..n]) {
                let message = format!("MAINPID={main}\n{ready}");
                self.tell(message.as_bytes()).op("tell", &self.manager)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Waits until the program is ready or has ended. Fails when interrupted before.
    pub(super) fn wait(self, main: u32, process: &OwnedFd, interrupt: Interrupt<'_>) -> Result<(), OpError> {
        loop {
            let mut fds = vec![
                PollFd::new(self.socket.as_fd(), PollFlags::POLLIN),
                PollFd::new(process.as_fd(), PollFlags::POLLIN),
            ];
            fds.extend(interrupt.poll_fd());
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(nix::Error::EINTR) => {}
                Err(e) => return Err(e).op("hear from", &self.path),
            }
            let [_, ended, interrupted] = std::array::from_fn(|i| fds.get(i).and_then(PollFd::any) == Some(true));
            if self.hand_on(main)? || ended {
                return Ok(());
            }
            if interrupted {
                return Err(interrupt::interrupted()).op("wait for", "the readiness of the container's process");
            }
        }
    }

    /// As [`Listener::wait`], of a process that is not a child of ours.
    pub(super) fn wait_for(self, main: u32) -> Result<(), OpError> {
        match pidfd::open(main) {
            Ok(process) => self.wait(main, &process, Interrupt::default()),
            // It has ended already.
            Err(_) => self.hand_on(main).map(drop),
        }
    }

    fn tell(&self, message: &[u8]) -> io::Result<()> {
        let address = match self.manager.as_bytes() {
            [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
            path => SocketAddr::from_pathname(Path::new(std::ffi::OsStr::from_bytes(path)))?,
        };
        UnixDatagram::unbound()?.send_to_addr(message, &address).map(drop)
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The `READY=` lines of a message, each with its end; `None` when there is none.
fn ready_lines(message: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let ready: String = text.lines().filter(|l| l.starts_with("READY=")).map(|l| format!("{l}\n")).collect();
    (!ready.is_empty()).then_some(ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_never_stops_talking_is_heard_in_parts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(SOCKET);
        let socket = UnixDatagram::bind(&path).unwrap();
        // Waits for the next message: here one that never stops is not too slow either.
        let listener = Listener { socket, path: path.clone(), manager: "@nobody".into() };
        std::thread::scope(|threads| {
            threads.spawn(|| {
                let talker = UnixDatagram::unbound().unwrap();
                talker.connect(&path).unwrap();
                // Each waits for room, until nobody listens.
                std::iter::repeat_with(|| talker.send(b"STATUS=x")).find(Result::is_err)
            });
            assert!(!listener.hand_on(1).unwrap());
            drop(listener);
        });
    }

    #[test]
    fn only_readiness_goes_over() {
        assert_eq!(ready_lines(b"STATUS=x\nREADY=1\nMAINPID=7"), Some("READY=1\n".into()));
        assert_eq!(ready_lines(b"STATUS=x\nMAINPID=7\n"), None);
    }
}
