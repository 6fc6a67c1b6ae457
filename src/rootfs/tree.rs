//! Mounts of the configuration, from descriptors onto descriptors.

use super::made::Attached;
use super::{FsOption, Rootfs, Sources, filesystem, is_directory};
use crate::errno::{OpContext, OpError};
use crate::spec::{Mount, MountKind, Plan, refused_in_proc};
use crate::sys::mount::{self, Change, FsContext, attr};
use crate::sys::path::{Kind, Place, c_path, make_place};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// The inode of the root directory of every proc file system.
const PROC_ROOT: u64 = 1;

impl Rootfs {
    /// Mounts everything of the plan, in its order, on places made where they are missing.
    pub fn mount_all(&mut self, plan: &Plan, sources: Sources) -> Result<(), OpError> {
        let mut binds = sources.binds.into_iter();
        let mut cgroup = Some(sources.cgroup);
        for mount in &plan.mounts {
            let bind = binds.next().flatten();
            let attached = match (&mount.kind, bind) {
                (MountKind::Bind(_), Some(tree)) => self.mount_bind(mount, tree, plan.root_propagation)?,
                (MountKind::Bind(bind), None) => {
                    return Err(io::Error::from_raw_os_error(libc::ENOENT))
                        .op("find the opened source of", &bind.source);
                }
                (MountKind::Cgroup, _) => self.mount_cgroup(mount, cgroup.take().unwrap_or_default())?,
                (MountKind::FileSystem { .. }, _) => self.mount_file_system(mount)?,
                (MountKind::Remount { options }, _) => {
                    self.remount(mount, options.as_deref())?;
                    continue;
                }
            };
            self.keep(plan, mount, attached)?;
        }
        Ok(())
    }

    /// Where a mount goes. A link on the way may not lead it into /proc, and not at all what others take for the kernel's
    /// own place: one who can swap a link meanwhile would choose what is covered (CVE-2025-52881).
    pub(super) fn place(&self, mount: &Mount, kind: Kind) -> Result<Place, OpError> {
        let mode = if kind == Kind::Directory { 0o755 } else { 0o644 };
        let place =
            make_place(&self.root, &mount.destination, kind, mode).op("make the mount point", &mount.destination)?;
        if !place.linked {
            return Ok(place);
        }
        let refused = match &mount.kind {
            MountKind::FileSystem { fs_type, .. } if matches!(fs_type.to_bytes(), b"proc" | b"sysfs") => {
                Some(format!("filesystem {fs_type:?} must be mounted on ordinary directory"))
            }
            kind => refused_in_proc(&place.path, kind).map(|why| format!("{:?} {why}", place.path.display())),
        };
        match refused {
            Some(why) => Err(io::Error::other(why)).op("mount at", &mount.destination),
            None => Ok(place),
        }
    }

    fn mount_bind(&self, mount: &Mount, tree: OwnedFd, root_propagation: u64) -> Result<Attached, OpError> {
        let at = &mount.destination;
        let kind = if is_directory(&tree)? { Kind::Directory } else { Kind::File };
        let place = self.place(mount, kind)?;
        if place.path == Path::new("/proc") {
            is_proc_root(&tree).op("mount at", at)?;
        }
        for change in changes_of_bind(mount, root_propagation) {
            change_attributes(&tree, change, at)?;
        }
        mount::attach(&tree, place.handle.as_fd()).op("bind mount at", at)?;
        Ok(Attached { tree, at: place.path })
    }

    fn remount(&self, mount: &Mount, options: Option<&[FsOption]>) -> Result<(), OpError> {
        let at = &mount.destination;
        let gone = || io::Error::from_raw_os_error(libc::ENOENT);
        let target = self.mounted(at).ok_or_else(gone).op("find the mount to change at", at)?;
        if let Some(options) = options {
            let context = FsContext::pick(target).op("remount at", at)?;
            for option in options {
                filesystem::set(&context, option).map_err(|e| filesystem::refused(&context, at, e, &option.0))?;
            }
            if !options.is_empty() {
                context.reconfigure().map_err(|e| filesystem::refused(&context, at, e, c"remount"))?;
            }
        }
        for change in [mount.change_recursive, mount.change] {
            change_attributes(target, change, at)?;
        }
        Ok(())
    }

    fn mount_cgroup(&self, mount: &Mount, parts: Vec<(String, Vec<String>, OwnedFd)>) -> Result<Attached, OpError> {
        let at = &mount.destination;
        let place = self.place(mount, Kind::Directory)?;
        let cut_off = Change { propagation: libc::MS_PRIVATE, ..mount.change };
        if matches!(parts.as_slice(), [(name, ..)] if name.is_empty()) {
            let (_, _, tree) = parts.into_iter().next().expect("the slice has one");
            for change in [cut_off, mount.change_recursive] {
                change_attributes(&tree, change, at)?;
            }
            mount::attach(&tree, place.handle.as_fd()).op("mount cgroup at", at)?;
            return Ok(Attached { tree, at: place.path });
        }
        let context = FsContext::open(c"tmpfs").op("open file system type", "tmpfs")?;
        context.set(c"mode", c"755").op("mount cgroup at", at)?;
        let board = context.mount(mount.change.set & !attr::RDONLY).op("mount cgroup at", at)?;
        mount::attach(&board, place.handle.as_fd()).op("mount cgroup at", at)?;
        // Nobody else sees this tmpfs yet: what is made in it is what is found.
        for (name, others, tree) in parts {
            let below = c_path(&name).op("name cgroup", &name)?;
            mkdirat(&board, below.as_c_str(), Mode::from_bits_truncate(0o755)).op("make the mount point", &name)?;
            mount::attach_at(&tree, board.as_fd(), &below).op("mount cgroup", &name)?;
            for other in others {
                nix::unistd::symlinkat(name.as_str(), &board, other.as_str()).op("link to cgroup", &name)?;
            }
        }
        for change in [Change { recursive: true, ..cut_off }, mount.change_recursive] {
            change_attributes(&board, change, at)?;
        }
        Ok(Attached { tree: board, at: place.path })
    }
}

/// What is to be changed about a mount cloned from the host, in this order.
///
/// The clone is a peer of the host's mount. What is mounted inside goes out only where both the mount and the root are to
/// be shared; what the host mounts comes in, unless the root is to be private.
fn changes_of_bind(mount: &Mount, root_propagation: u64) -> Vec<Change> {
    let wanted = mount.change.propagation | mount.change_recursive.propagation;
    let outwards = root_propagation & libc::MS_SHARED != 0;
    let mut changes = vec![mount.change_recursive, mount.change];
    if wanted == 0 || wanted & libc::MS_SHARED != 0 && !outwards {
        let private = root_propagation & libc::MS_PRIVATE != 0;
        let propagation = if private { libc::MS_PRIVATE } else { libc::MS_SLAVE };
        match changes[0].propagation {
            0 => changes[0].propagation = propagation,
            _ => changes.insert(0, Change { propagation, recursive: true, ..Change::default() }),
        }
    }
    changes
}

/// Only the root of a proc file system may be bound where /proc is expected.
fn is_proc_root(tree: &OwnedFd) -> io::Result<()> {
    let file_system = fstatfs(tree)?.filesystem_type();
    if file_system == PROC_SUPER_MAGIC && nix::sys::stat::fstat(tree)?.st_ino == PROC_ROOT {
        return Ok(());
    }
    Err(io::Error::other("\"/proc\" cannot be mounted because it is not of type proc"))
}

pub(super) fn change_attributes(tree: impl AsFd, change: Change, at: &Path) -> Result<(), OpError> {
    if change.set == 0 && change.clear == 0 && change.propagation == 0 {
        return Ok(());
    }
    mount::set_attributes(tree, change).op("set the attributes of the mount at", at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Bind;
    use libc::{MS_PRIVATE, MS_SHARED, MS_SLAVE};

    fn changes(own: u64, below: u64, root: u64) -> Vec<(u64, bool)> {
        let mount = Mount {
            destination: "/m".into(),
            kind: MountKind::Bind(Bind { source: "/s".into(), recursive: true }),
            change: Change { propagation: own, ..Change::default() },
            change_recursive: Change { propagation: below, recursive: true, ..Change::default() },
            readonly_last: false,
            copy_up: false,
            owners: None,
        };
        let changes = changes_of_bind(&mount, root).into_iter().filter(|c| c.propagation != 0);
        changes.map(|c| (c.propagation, c.recursive)).collect()
    }

    #[test]
    fn mounts_inside_go_out_only_where_mount_and_root_are_shared() {
        assert_eq!(changes(0, 0, 0), [(MS_SLAVE, true)]);
        assert_eq!(changes(0, 0, MS_SHARED), [(MS_SLAVE, true)]);
        assert_eq!(changes(0, MS_SHARED, MS_SHARED), [(MS_SHARED, true)]);
        assert_eq!(changes(0, MS_SHARED, 0), [(MS_SLAVE, true), (MS_SHARED, true)]);
        assert_eq!(changes(MS_SHARED, 0, MS_SLAVE), [(MS_SLAVE, true), (MS_SHARED, false)]);
    }

    #[test]
    fn mounts_of_the_host_come_in_unless_the_mount_or_the_root_is_private() {
        assert_eq!(changes(0, 0, MS_PRIVATE), [(MS_PRIVATE, true)]);
        assert_eq!(changes(0, MS_SLAVE, MS_PRIVATE), [(MS_SLAVE, true)]);
        assert_eq!(changes(0, MS_PRIVATE, MS_SHARED), [(MS_PRIVATE, true)]);
    }
}
