//! A container's root file system: put together from a snapshot or a directory, entered by pivot_root.
//!
//! ```text
//! worker (host's mounts)                      init (mount namespace of its own)
//! overlay::assemble ─┐                        isolate ─→ Rootfs::attach ─→ mount (each, in order) ─→ devices
//! bind              ─┴→ detached root ──fd──────────────────┘                  ─→ sysctl ─→ mask ─→ protect ─→ enter
//! Sources::open ─→ detached binds, cgroup ──fds──────────────────────────↗
//! ```
//!
//! Nothing is mounted where the host can see it: what comes from the host's tree is cloned into detached mounts by the
//! worker, and becomes attached only in the container's namespace. Every path inside the root is looked up with
//! [`crate::sys::path`], kept as a descriptor, and mounted on by that descriptor, so that neither a link in an image
//! nor a rename by a process that shares a volume can move a mount elsewhere.
//!
//! Failures leave nothing: the mounts die with the namespace, that is, with the init.

mod devices;
mod hide;
pub mod overlay;
mod tree;

pub use tree::{CgroupSource, Sources};

use crate::errno::{OpContext, OpError};
use crate::sys::mount::{self, Change, attr};
use crate::sys::path::{c_path, open_in};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// Clones the tree of mounts at the directory `path` into a detached root, through which nothing propagates back.
pub fn bind(path: &Path) -> Result<OwnedFd, OpError> {
    let root = clone_host_path(path, true).op("take as root file system", path)?;
    // Private: nothing mounted on the host afterwards appears inside, and pivot_root refuses a shared root.
    let private = Change { propagation: libc::MS_PRIVATE, recursive: true, ..Change::default() };
    mount::set_attributes(&root, private).op("make private the mounts at", path)?;
    if !is_directory(&root)? {
        return Err(io::Error::from_raw_os_error(libc::ENOTDIR)).op("take as root file system", path);
    }
    Ok(root)
}

fn clone_host_path(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    mount::clone_tree(nix::fcntl::AT_FDCWD, &c_path(path)?, recursive)
}

fn is_directory(fd: impl AsFd) -> Result<bool, OpError> {
    let stat = nix::sys::stat::fstat(fd).op("look at", "a mount")?;
    Ok(stat.st_mode & libc::S_IFMT == libc::S_IFDIR)
}

/// Cuts the mount namespace this process has just got off from the host's: what is mounted here stays here.
///
/// What the host mounts and unmounts still arrives until [`Rootfs::enter`] lets go of the host's tree, so that a
/// container in the making keeps no host file system busy.
pub fn isolate() -> Result<(), OpError> {
    use nix::mount::{MsFlags, mount};
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_SLAVE | MsFlags::MS_REC, None::<&str>)
        .op("cut off from the host the mounts at", "/")
}

/// A root file system attached in the container's mount namespace and not entered yet.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
}

impl Rootfs {
    /// Attaches a detached root at the directory `at`, which is hidden by it in this namespace only.
    pub fn attach(root: OwnedFd, at: &Path) -> Result<Self, OpError> {
        let target = nix::fcntl::open(
            at,
            nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC,
            nix::sys::stat::Mode::empty(),
        )
        .op("open", at)?;
        mount::attach(&root, target.as_fd()).op("attach the root file system at", at)?;
        Ok(Self { root })
    }

    /// Opens `path` inside, with `O_*` flags.
    pub fn open(&self, path: &Path, flags: i32) -> io::Result<OwnedFd> {
        open_in(&self.root, path, flags, 0)
    }

    /// Sets kernel parameters of the namespaces this process is in.
    pub fn set_sysctl(&self, values: &[(String, String)]) -> Result<(), OpError> {
        for (name, value) in values {
            let path = Path::new("/proc/sys").join(sysctl_path(name));
            let file = self.open(&path, libc::O_WRONLY).op("open kernel parameter", &path)?;
            check_procfs(&file, &path)?;
            io::Write::write_all(&mut std::fs::File::from(file), value.as_bytes())
                .op("set kernel parameter", format!("{name}={value}"))?;
        }
        Ok(())
    }

    /// Makes the root mount itself read-only.
    pub fn make_readonly(&self) -> Result<(), OpError> {
        let change = Change { set: attr::RDONLY, ..Change::default() };
        mount::set_attributes(&self.root, change).op("make read-only", "/")
    }

    /// Makes the root the root of this process's namespace, lets go of the host's tree, and gives the root mount its
    /// propagation (`MS_*`, 0 leaves it private).
    pub fn enter(self, propagation: u64) -> Result<(), OpError> {
        nix::unistd::fchdir(&self.root).op("enter", "the root file system")?;
        // The same directory twice: the old root ends up on top of the new one, and is what `.` means afterwards.
        nix::unistd::pivot_root(".", ".").op("pivot_root to", "the root file system")?;
        mount::detach_here().op("let go of", "the host's mounts")?;
        nix::unistd::chdir("/").op("change directory to", "/")?;
        self.propagate(propagation)
    }

    /// As [`Rootfs::enter`], for a host whose root is the initial ramdisk, which pivot_root(2) cannot leave: the root is
    /// moved over it. The ramdisk stays below, for whoever can leave a chroot; everything else mounted on the host, most
    /// of all its /proc and /sys, is taken away first.
    pub fn enter_by_chroot(self, propagation: u64) -> Result<(), OpError> {
        nix::unistd::fchdir(&self.root).op("enter", "the root file system")?;
        let own = nix::unistd::getcwd().op("find", "the root file system")?;
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").op("read", "/proc/self/mountinfo")?;
        for at in beside(&mounts, &own) {
            // One that cannot be taken away is below another that was, or locked to a user namespace above.
            let _ = nix::mount::umount2(&at, nix::mount::MntFlags::MNT_DETACH);
        }
        mount::move_here(c"/").op("move to /", "the root file system")?;
        nix::unistd::chroot(".").op("change the root to", "the root file system")?;
        nix::unistd::chdir("/").op("change directory to", "/")?;
        self.propagate(propagation)
    }

    fn propagate(&self, propagation: u64) -> Result<(), OpError> {
        if propagation == 0 {
            return Ok(());
        }
        let change = Change {
            propagation: propagation & !libc::MS_REC,
            recursive: propagation & libc::MS_REC != 0,
            ..Change::default()
        };
        mount::set_attributes(&self.root, change).op("set the propagation of", "/")
    }
}

impl AsFd for Rootfs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

/// Where the mounts of a mountinfo table are that are neither on the way to `own` nor below it; the last made first.
fn beside(mountinfo: &str, own: &Path) -> Vec<PathBuf> {
    let at = mountinfo.lines().filter_map(|line| Some(PathBuf::from(unescape(line.split(' ').nth(4)?))));
    let mut found: Vec<PathBuf> = at.filter(|at| !own.starts_with(at) && !at.starts_with(own)).collect();
    found.reverse();
    found
}

/// A path of a mount table: blanks and backslashes are three octal digits there.
fn unescape(text: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Dots separate, as in sysctl(8), unless the name holds slashes: then dots are part of a name (of a link).
fn sysctl_path(name: &str) -> String {
    if name.contains('/') { name.to_owned() } else { name.replace('.', "/") }
}

/// Refuses a file that is not the kernel's: an image or a volume may have put another where /proc should be.
fn check_procfs(file: impl AsFd, path: &Path) -> Result<(), OpError> {
    let fs = nix::sys::statfs::fstatfs(file).op("look at the file system of", path)?;
    if fs.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC {
        return Ok(());
    }
    Err(io::Error::other("it is not on a proc file system")).op("trust", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_beside_the_root_are_neither_on_the_way_to_it_nor_below() {
        let line = |at: &str| format!("1 2 0:1 / {at} rw - tmpfs x rw\n");
        let table: String = ["/", "/proc", "/b", "/b/c", "/b/c/dev", "/b/cd", "/a\\040b"].map(line).concat();
        let found = beside(&table, Path::new("/b/c"));
        assert_eq!(found, ["/a b", "/b/cd", "/proc"].map(PathBuf::from));
    }

    #[test]
    fn a_parameter_is_named_with_dots_or_with_slashes() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), "net/ipv4/conf/eth0.1/forwarding");
    }

    #[test]
    fn a_file_of_another_file_system_is_not_taken_for_the_kernels() {
        assert!(check_procfs(std::fs::File::open("/proc/version").unwrap(), Path::new("/proc/version")).is_ok());
        assert!(check_procfs(tempfile::tempfile().unwrap(), Path::new("/proc/version")).is_err());
    }
}
