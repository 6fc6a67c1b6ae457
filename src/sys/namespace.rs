//! Namespaces by descriptor: of what kind one is, whose it is, and user namespaces with the maps of their identities. And
//! a way out of a mount namespace and back.

use super::clone::{CloneArgs, clone, enter_namespace};
use super::pidfd;
use nix::fcntl::{OFlag, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use nix::unistd::{chroot, fchdir};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

const NS_GET_USERNS: libc::Ioctl = 0xb701;
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// `CLONE_NEW*` of the namespace that a descriptor is of. `ENOTTY` when it is of something else.
pub fn kind(namespace: impl AsFd) -> io::Result<i32> {
    // SAFETY: this ioctl has no argument and gives a number; a descriptor of anything else answers with an error.
    match unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_NSTYPE) } {
        kind if kind < 0 => Err(io::Error::last_os_error()),
        kind => Ok(kind),
    }
}

/// The user namespace that a namespace belongs to.
pub fn owner(namespace: impl AsFd) -> io::Result<OwnedFd> {
    // SAFETY: this ioctl has no argument and gives a new descriptor, close-on-exec.
    let fd = unsafe { libc::ioctl(namespace.as_fd().as_raw_fd(), NS_GET_USERNS) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows its number.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether two descriptors, or files, are of the same namespace.
pub fn same(one: impl AsFd, other: impl AsFd) -> io::Result<bool> {
    let (one, other) = (nix::sys::stat::fstat(one)?, nix::sys::stat::fstat(other)?);
    Ok((one.st_dev, one.st_ino) == (other.st_dev, other.st_ino))
}

/// Which identities a map is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identities {
    /// Users.
    Users,
    /// Groups.
    Groups,
}

/// Where the map of a process's user namespace is.
pub fn map_path(pid: u32, of: Identities) -> String {
    let name = if of == Identities::Users { "uid_map" } else { "gid_map" };
    format!("/proc/{pid}/{name}")
}

/// Maps the identities of the user namespace of `pid`, a child of ours that has not been reaped: lines of first number
/// inside, first number outside, how many. Once only.
///
/// Who may not map groups as it likes has to forbid its processes to leave groups first (user_namespaces(7)).
pub fn map(pid: u32, of: Identities, lines: &str) -> io::Result<()> {
    use std::io::Write;
    if of == Identities::Groups && !nix::unistd::geteuid().is_root() {
        std::fs::write(format!("/proc/{pid}/setgroups"), "deny")?;
    }
    // In one write: the kernel takes no second one.
    File::options().write(true).open(map_path(pid, of))?.write_all(lines.as_bytes())
}

/// Makes a user namespace that no process is in, for as long as its descriptor is open. Only for single-threaded
/// processes, see [`super::clone`].
pub fn make_user(users: &str, groups: &str) -> io::Result<OwnedFd> {
    let args = CloneArgs { namespaces: libc::CLONE_NEWUSER as u64, ..CloneArgs::default() };
    let child = clone(&args, || 0)?;
    // Ended and not reaped yet it has its namespaces, and its number is nobody else's.
    let made = pidfd::wait_end(&child.pidfd, None).and_then(|_| {
        map(child.pid, Identities::Users, users)?;
        map(child.pid, Identities::Groups, groups)?;
        File::open(format!("/proc/{}/ns/user", child.pid))
    });
    let reaped = pidfd::wait(&child.pidfd);
    let made = made?;
    reaped?;
    Ok(made.into())
}

/// The maps of users and groups of a user namespace, as our own sees their outside. Only for single-threaded processes.
pub fn ids_of(user: impl AsFd) -> io::Result<(String, String)> {
    let child = clone(&CloneArgs::default(), || match enter_namespace(&user, libc::CLONE_NEWUSER) {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(libc::EIO),
    })?;
    let read = |of| std::fs::read_to_string(map_path(child.pid, of));
    let found =
        pidfd::wait_end(&child.pidfd, None).and_then(|_| Ok((read(Identities::Users)?, read(Identities::Groups)?)));
    match pidfd::wait(&child.pidfd)? {
        pidfd::Ended::Code(0) => found,
        pidfd::Ended::Code(errno) => Err(io::Error::from_raw_os_error(errno)),
        pidfd::Ended::Signal(_) => Err(io::ErrorKind::Interrupted.into()),
    }
}

/// The mount namespace that this process was in, and its directories there.
#[derive(Debug)]
pub struct MountHome {
    namespace: File,
    root: OwnedFd,
    cwd: OwnedFd,
}

impl MountHome {
    /// Goes into a new copy of the mount namespace. For single-threaded processes.
    pub fn leave() -> io::Result<Self> {
        let namespace = File::open("/proc/self/ns/mnt")?;
        let directory = |path| open(path, OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty());
        let (root, cwd) = (directory("/")?, directory(".")?);
        unshare(CloneFlags::CLONE_NEWNS)?;
        Ok(Self { namespace, root, cwd })
    }

    /// Goes back to where it was.
    pub fn come_back(self) -> io::Result<()> {
        enter_namespace(&self.namespace, libc::CLONE_NEWNS)?;
        // Not the namespace's own root for a process in a chroot.
        fchdir(&self.root)?;
        chroot(".")?;
        Ok(fchdir(&self.cwd)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_tells_its_kind_and_another_file_that_it_is_none() {
        for (name, flag) in [("net", libc::CLONE_NEWNET), ("user", libc::CLONE_NEWUSER), ("mnt", libc::CLONE_NEWNS)] {
            let file = File::open(format!("/proc/self/ns/{name}")).unwrap();
            assert_eq!(kind(&file).unwrap(), flag);
        }
        let none = kind(tempfile::tempfile().unwrap()).unwrap_err();
        assert_eq!(none.raw_os_error(), Some(libc::ENOTTY));
    }

    #[test]
    fn namespaces_are_told_apart() {
        let open = |name: &str| File::open(format!("/proc/self/ns/{name}")).unwrap();
        assert!(same(open("net"), open("net")).unwrap());
        assert!(!same(open("net"), open("ipc")).unwrap());
    }
}
