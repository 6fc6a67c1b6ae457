//! What a container must not see, and what it must not write.

use super::{Rootfs, clone_host_path, is_directory};
use crate::errno::{OpContext, OpError};
use crate::sys::mount::{self, Change, FsContext, attr};
use crate::sys::path::open_in;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

impl Rootfs {
    /// Hides each path that exists: a file behind the null device, a directory behind an empty read-only one.
    pub fn mask(&self, paths: &[PathBuf]) -> Result<(), OpError> {
        let (mut null, mut empty) = (None, None);
        for path in paths {
            let Some(target) = self.existing(path).op("open to mask", path)? else { continue };
            // One of each serves all: what is attached can be cloned.
            let (kept, make): (&mut Option<OwnedFd>, fn() -> _) = match is_directory(&target)? {
                true => (&mut empty, empty_directory),
                false => (&mut null, null_device),
            };
            let cover = match kept {
                Some(first) => mount::clone_tree(first.as_fd(), c"", false).op("clone what masks", path)?,
                None => make().op("make what masks", path)?,
            };
            mount::attach(&cover, target.as_fd()).op("mask", path)?;
            kept.get_or_insert(cover);
        }
        Ok(())
    }

    /// Opens a path that is to be hidden or protected, one below /proc or /sys in the file system that was mounted there.
    /// Kernels differ in what they have; a path through a file (ENOTDIR) is not there either.
    fn existing(&self, path: &Path) -> io::Result<Option<OwnedFd>> {
        let found = match self.kernels(path) {
            // Its root for an empty way.
            Some((root, below)) => open_in(root, &Path::new("/").join(below), libc::O_PATH, 0),
            None => self.open(path, libc::O_PATH),
        };
        match found {
            Ok(target) => Ok(Some(target)),
            Err(e) if matches!(e.raw_os_error(), Some(libc::ENOENT | libc::ENOTDIR)) => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes each path that exists read-only, with everything below it.
    pub fn protect(&self, paths: &[PathBuf]) -> Result<(), OpError> {
        for path in paths {
            let Some(target) = self.existing(path).op("open to make read-only", path)? else { continue };
            let tree = mount::clone_tree(target.as_fd(), c"", true).op("clone to make read-only", path)?;
            let change = Change { set: attr::RDONLY, recursive: true, ..Change::default() };
            mount::set_attributes(&tree, change).op("make read-only", path)?;
            mount::attach(&tree, target.as_fd()).op("make read-only", path)?;
        }
        Ok(())
    }
}

fn empty_directory() -> io::Result<OwnedFd> {
    let context = FsContext::open(c"tmpfs")?;
    context.set(c"size", c"0")?;
    context.set(c"nr_inodes", c"1")?;
    context.set(c"mode", c"755")?;
    context.mount(attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC)
}

/// The host's null device, which is looked at first: never the container's, which an image could have replaced by a
/// link to a file of the host (CVE-2025-31133).
fn null_device() -> io::Result<OwnedFd> {
    let tree = clone_host_path(Path::new("/dev/null"), false)?;
    let found = nix::sys::stat::fstat(&tree)?;
    if found.st_mode & libc::S_IFMT == libc::S_IFCHR && found.st_rdev == nix::sys::stat::makedev(1, 3) {
        return Ok(tree);
    }
    Err(io::Error::other("/dev/null of the host is not the null device"))
}
