//! A container's root file system: put together from a snapshot or a directory, entered by pivot_root.
//!
//! ```text
//! worker (host's mounts)                      init (mount namespace of its own)
//! overlay::assemble ─┐                        isolate ─→ Rootfs::attach ─→ mount (each, in order) ─→ devices
//! bind              ─┴→ detached root ──fd──────────────────┘                  ─→ sysctl ─→ mask ─→ protect ─→ enter
//! Sources::open ─→ detached binds, cgroup ──fds──────────────────────────↗
//!                            (all of them by way of a `stage` where there is a user namespace)
//! ```
//!
//! Nothing is mounted where the host can see it: what comes from the host's tree is cloned into detached mounts by the
//! worker, and becomes attached only in the container's namespace. Every path inside the root is looked up with
//! [`crate::sys::path`], kept as a descriptor, and mounted on by that descriptor, so that neither a link in an image
//! nor a rename by a process that shares a volume can move a mount elsewhere.
//!
//! Failures leave nothing: the mounts die with the namespace, that is, with the init.

mod copy_up;
mod devices;
mod filesystem;
mod hide;
mod made;
pub mod overlay;
mod owners;
mod sources;
pub mod stage;
mod tree;

pub use sources::{CgroupSource, Sources};

use crate::errno::{OpContext, OpError};
use crate::sys::mount::{self, Change, attr};
use crate::sys::path::{c_path, open_in, open_plain};
use crate::sys::procfs;
use made::Made;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// An option of a file system: its name, and its value where it has one.
type FsOption = (CString, Option<CString>);

/// Clones the tree of mounts at the directory `path` into a detached root, through which nothing propagates back.
/// `propagation` is what the root is to have in the end (`MS_*`): of a slave, what the host mounts there later appears
/// inside.
pub fn bind(path: &Path, propagation: u64) -> Result<OwnedFd, OpError> {
    let root = clone_host_path(path, true).op("take as root file system", path)?;
    // Not shared yet in any case: pivot_root refuses that.
    let wanted = if propagation & libc::MS_SLAVE != 0 { libc::MS_SLAVE } else { libc::MS_PRIVATE };
    let change = Change { propagation: wanted, recursive: true, ..Change::default() };
    mount::set_attributes(&root, change).op("cut off from the host the mounts at", path)?;
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
    made: Vec<Made>,
}

impl Rootfs {
    /// Attaches a detached root at the directory `at`, which is hidden by it in this namespace only.
    pub fn attach(root: OwnedFd, at: &Path) -> Result<Self, OpError> {
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
        let open = |at: &Path| nix::fcntl::open(at, flags, nix::sys::stat::Mode::empty());
        let target = match open(at) {
            // Root of a user namespace is a stranger to the host's directories, and a mount namespace that is joined may
            // not have them. Over the root nobody finds it by a path, which is only asked for by hooks.
            Err(nix::Error::EACCES | nix::Error::ENOENT) => open(Path::new("/")),
            other => other,
        }
        .op("open", at)?;
        Self::attach_on(root, target.as_fd()).op("attach the root file system at", at)
    }

    /// As [`Rootfs::attach`], at a directory that is open.
    pub fn attach_on(root: OwnedFd, target: BorrowedFd<'_>) -> io::Result<Self> {
        mount::attach(&root, target)?;
        Ok(Self { root, made: Vec::new() })
    }

    /// Opens `path` inside, with `O_*` flags.
    pub fn open(&self, path: &Path, flags: i32) -> io::Result<OwnedFd> {
        open_in(&self.root, path, flags, 0)
    }

    /// Sets kernel parameters of the namespaces this process is in. While the host's tree is in sight.
    pub fn set_sysctl(&self, values: &[(String, String)]) -> Result<(), OpError> {
        for (name, value) in values {
            let path = sysctl_path(name);
            let file = self.kernel_file(&path).op("open kernel parameter", Path::new("/proc").join(&path))?;
            io::Write::write_all(&mut std::fs::File::from(file), value.as_bytes())
                .op("set kernel parameter", format!("{name}={value}"))?;
        }
        Ok(())
    }

    /// Opens a file of the kernel's for writing: through the host's /proc, where nothing of the container's can stand in
    /// its place (CVE-2019-16884, CVE-2025-52881). Which namespace a parameter belongs to is told by the process that
    /// opens it.
    ///
    /// Where the host's may not be written, as in a container in a container, it is that of a proc file system at the
    /// container's /proc, not through any link and not where something is mounted.
    fn kernel_file(&self, path: &Path) -> io::Result<OwnedFd> {
        match open_in_proc(std::fs::File::open("/proc")?, path) {
            Err(e) if matches!(e.raw_os_error(), Some(libc::EXDEV | libc::EROFS | libc::EACCES)) => {}
            other => return other,
        }
        open_in_proc(self.open(Path::new("/proc"), libc::O_PATH | libc::O_DIRECTORY)?, path)
    }

    /// Makes read-only what was kept writable until now, and the root mount itself when `root` says so.
    pub fn make_readonly(&self, root: bool) -> Result<(), OpError> {
        let change = Change { set: attr::RDONLY, ..Change::default() };
        for mount in self.made.iter().filter(|made| made.readonly_last) {
            mount::set_attributes(&mount.tree, change).op("make read-only", "a mount")?;
        }
        if root { mount::set_attributes(&self.root, change).op("make read-only", "/") } else { Ok(()) }
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
        let mounts = procfs::read_bytes("/proc/self/mountinfo").op("read", "/proc/self/mountinfo")?;
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
fn beside(mountinfo: &[u8], own: &Path) -> Vec<PathBuf> {
    let lines = mountinfo.split(|b| *b == b'\n');
    let at = lines.filter_map(|line| Some(PathBuf::from(procfs::unescape(line.split(|b| *b == b' ').nth(4)?))));
    let mut found: Vec<PathBuf> = at.filter(|at| !own.starts_with(at) && !at.starts_with(own)).collect();
    found.reverse();
    found
}

/// Dots separate, as in sysctl(8), unless the name holds slashes: then dots are part of a name (of a link).
fn sysctl_path(name: &str) -> PathBuf {
    Path::new("sys").join(if name.contains('/') { name.to_owned() } else { name.replace('.', "/") })
}

/// Opens a file below `proc`, which is refused when it is not the kernel's: an image or a volume may have put another
/// where /proc should be.
fn open_in_proc(proc: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let file = open_plain(proc, path, libc::O_WRONLY | libc::O_NOCTTY)?;
    let found = nix::sys::statfs::fstatfs(&file)?;
    if found.filesystem_type() == nix::sys::statfs::PROC_SUPER_MAGIC {
        return Ok(file);
    }
    Err(io::Error::other("it is not on a proc file system"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_beside_the_root_are_neither_on_the_way_to_it_nor_below() {
        let line = |at: &str| format!("1 2 0:1 / {at} rw - tmpfs x rw\n");
        let table: String = ["/", "/proc", "/b", "/b/c", "/b/c/dev", "/b/cd", "/a\\040b"].map(line).concat();
        let found = beside(table.as_bytes(), Path::new("/b/c"));
        assert_eq!(found, ["/a b", "/b/cd", "/proc"].map(PathBuf::from));
    }

    #[test]
    fn a_parameter_is_named_with_dots_or_with_slashes() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), Path::new("sys/net/ipv4/ip_forward"));
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/forwarding"), Path::new("sys/net/ipv4/conf/eth0.1/forwarding"));
    }

    #[test]
    fn a_file_of_another_file_system_is_not_taken_for_the_kernels() {
        let file = Path::new("self/comm");
        assert!(open_in_proc(std::fs::File::open("/proc/self").unwrap(), Path::new("comm")).is_ok());
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("self")).unwrap();
        std::fs::write(dir.path().join(file), "").unwrap();
        assert!(open_in_proc(std::fs::File::open(dir.path()).unwrap(), file).is_err());
        // `self` is a link, which parameters never need.
        assert!(open_in_proc(std::fs::File::open("/proc").unwrap(), file).is_err());
    }
}
