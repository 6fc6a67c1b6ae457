//! What has been mounted, by the descriptors that it was mounted with.
//!
//! Whoever can write the root file system or a volume from elsewhere may rename its directories, mount points of this
//! container's too: they are ordinary directories there. So nothing that was mounted is looked up by its name again.

use super::Rootfs;
use crate::errno::{OpContext, OpError};
use crate::spec::{Mount, MountKind, Plan};
use crate::sys::mount::mount_id;
use crate::sys::path::{c_path, open_real};
use nix::sys::statfs::{PROC_SUPER_MAGIC, SYSFS_MAGIC, fstatfs};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

/// A mount that was just attached.
pub(super) struct Attached {
    pub(super) tree: OwnedFd,
    /// Where, with every link resolved.
    pub(super) at: PathBuf,
}

/// One entry of the document that has been mounted.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) tree: OwnedFd,
    at: PathBuf,
    /// As the document has it.
    destination: PathBuf,
    /// It becomes read-only when everything is in place.
    pub(super) readonly_last: bool,
    /// It is a proc file system or a sysfs, and no later mount covers it.
    kernels: bool,
}

impl Rootfs {
    pub(super) fn keep(&mut self, plan: &Plan, mount: &Mount, attached: Attached) -> Result<(), OpError> {
        let Attached { tree, at } = attached;
        for covered in self.made.iter_mut().filter(|made| made.at.starts_with(&at)) {
            covered.kernels = false;
        }
        let kernels = match &mount.kind {
            MountKind::FileSystem { fs_type, .. } => matches!(fs_type.to_bytes(), b"proc" | b"sysfs"),
            MountKind::Bind(_) if hidden(plan).any(|path| path.starts_with(&at)) => {
                let found = fstatfs(&tree).op("look at the mount at", &at)?.filesystem_type();
                found == PROC_SUPER_MAGIC || found == SYSFS_MAGIC
            }
            _ => false,
        };
        let (destination, readonly_last) = (mount.destination.clone(), mount.readonly_last);
        self.made.push(Made { tree, at, destination, readonly_last, kernels });
        Ok(())
    }

    /// What is mounted at a destination of the document, or the root.
    pub(super) fn mounted(&self, destination: &Path) -> Option<BorrowedFd<'_>> {
        let made = self.made.iter().rev().find(|made| made.destination == destination);
        let root = (destination == Path::new("/")).then_some(&self.root);
        made.map(|made| &made.tree).or(root).map(AsFd::as_fd)
    }

    /// The file system of the kernel's that `path` is on, and the way from its root. None for a path with `..`, which may
    /// lead out again.
    pub(super) fn kernels<'a>(&self, path: &'a Path) -> Option<(BorrowedFd<'_>, &'a Path)> {
        let plain = path.components().all(|part| part != Component::ParentDir);
        let mut kernels = self.made.iter().rev().filter(|made| plain && made.kernels);
        kernels.find_map(|made| Some((made.tree.as_fd(), path.strip_prefix(&made.at).ok()?)))
    }

    /// Fails unless the file systems of the kernel's are where they were mounted: programs that confine themselves write
    /// to what is at `/proc`. What the container has covered itself is left out.
    pub fn check_kernels(&self, plan: &Plan) -> Result<(), OpError> {
        let in_sight = |made: &&Made| made.kernels && !hidden(plan).any(|path| made.at.starts_with(path));
        self.made.iter().filter(in_sight).try_for_each(|made| {
            let at = &made.at;
            let there = self.mount_id_at(at).op("look at the mount at", at)?;
            if there == mount_id(&made.tree, c"").op("look at the mount at", at)? {
                return Ok(());
            }
            Err(io::Error::other("it has been moved away meanwhile")).op("find the file system that was mounted at", at)
        })
    }

    fn mount_id_at(&self, at: &Path) -> io::Result<u64> {
        let name = c_path(at.file_name().unwrap_or_default())?;
        match at.parent() {
            Some(parent) if parent != Path::new("/") => mount_id(open_real(&self.root, parent)?, &name),
            _ => mount_id(&self.root, &name),
        }
    }
}

/// All paths that are masked or made read-only.
fn hidden(plan: &Plan) -> impl Iterator<Item = &PathBuf> {
    plan.masked_paths.iter().chain(&plan.readonly_paths)
}
