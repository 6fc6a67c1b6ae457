//! Mounts of the configuration, from descriptors onto descriptors.

use super::{Rootfs, clone_host_path, is_directory};
use crate::errno::{OpContext, OpError};
use crate::spec::{Bind, Mount, MountKind, Plan};
use crate::sys::mount::{self, Change, FsContext, attr};
use crate::sys::path::{make_dirs_in, make_file_in};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What a container sees under `/sys/fs/cgroup`.
#[derive(Debug, Clone)]
pub enum CgroupSource {
    /// Its own group of the one hierarchy.
    V2(PathBuf),
    /// Its own group in each hierarchy: the controllers' names and the directory.
    V1(Vec<(Vec<String>, PathBuf)>),
}

/// Everything mounted inside that comes from the host's tree, cloned into detached mounts while that tree is in sight.
#[derive(Debug, Default)]
pub struct Sources {
    /// Per mount of the plan; only binds have one.
    binds: Vec<Option<OwnedFd>>,
    /// Name below the mount point (empty for the mount point itself), other names of the same, and the mount.
    cgroup: Vec<(String, Vec<String>, OwnedFd)>,
}

impl Sources {
    /// Opens what `plan` mounts from the host. Relative sources count from `bundle`.
    pub fn open(plan: &Plan, bundle: &Path, cgroup: &CgroupSource) -> Result<Self, OpError> {
        let mut sources = Self::default();
        for mount in &plan.mounts {
            sources.binds.push(match &mount.kind {
                MountKind::Bind(bind) => Some(open_bind(bind, bundle)?),
                _ => None,
            });
        }
        if plan.mounts.iter().any(|m| m.kind == MountKind::Cgroup) {
            sources.open_cgroup(cgroup)?;
        }
        Ok(sources)
    }

    fn open_cgroup(&mut self, cgroup: &CgroupSource) -> Result<(), OpError> {
        match cgroup {
            CgroupSource::V2(dir) => {
                let tree = clone_host_path(dir, true).op("clone the cgroup", dir)?;
                self.cgroup.push((String::new(), Vec::new(), tree));
            }
            CgroupSource::V1(hierarchies) => {
                for (controllers, dir) in hierarchies {
                    let tree = clone_host_path(dir, true).op("clone the cgroup", dir)?;
                    let others = if controllers.len() > 1 { controllers.clone() } else { Vec::new() };
                    self.cgroup.push((controllers.join(","), others, tree));
                }
            }
        }
        Ok(())
    }
}

fn open_bind(bind: &Bind, bundle: &Path) -> Result<OwnedFd, OpError> {
    let source = bundle.join(&bind.source);
    clone_host_path(&source, bind.recursive).op("take for a bind mount", &source)
}

impl Rootfs {
    /// Mounts everything of the plan, in its order, on places made where they are missing.
    pub fn mount_all(&self, plan: &Plan, sources: Sources) -> Result<(), OpError> {
        let mut binds = sources.binds.into_iter();
        let mut cgroup = Some(sources.cgroup);
        for mount in &plan.mounts {
            let bind = binds.next().flatten();
            match (&mount.kind, bind) {
                (MountKind::Bind(_), Some(tree)) => self.mount_bind(mount, tree)?,
                (MountKind::Bind(bind), None) => {
                    return Err(io::Error::from_raw_os_error(libc::ENOENT))
                        .op("find the opened source of", &bind.source);
                }
                (MountKind::Cgroup, _) => self.mount_cgroup(mount, cgroup.take().unwrap_or_default())?,
                (MountKind::FileSystem { .. }, _) => self.mount_file_system(mount)?,
            }
        }
        Ok(())
    }

    fn mount_bind(&self, mount: &Mount, tree: OwnedFd) -> Result<(), OpError> {
        let target = if is_directory(&tree)? {
            make_dirs_in(&self.root, &mount.destination, 0o755)
        } else {
            make_file_in(&self.root, &mount.destination, 0o644)
        };
        let target = target.op("make the mount point", &mount.destination)?;
        // The clone is a peer of the host's mount. What is mounted inside goes out only where the plan says `shared`.
        let mut recursive = mount.change_recursive;
        if recursive.propagation == 0 && mount.change.propagation == 0 {
            recursive.propagation = libc::MS_SLAVE;
        }
        for change in [recursive, mount.change] {
            change_attributes(&tree, change, &mount.destination)?;
        }
        mount::attach(&tree, target.as_fd()).op("bind mount at", &mount.destination)
    }

    fn mount_file_system(&self, mount: &Mount) -> Result<(), OpError> {
        let MountKind::FileSystem { fs_type, source, options } = &mount.kind else { return Ok(()) };
        let target =
            make_dirs_in(&self.root, &mount.destination, 0o755).op("make the mount point", &mount.destination)?;
        let context = FsContext::open(fs_type).op("open file system type", fs_type.to_string_lossy().as_ref())?;
        let refused = |e: io::Error, what: String| match context.message() {
            Some(said) => OpError::new("mount at", format!("{} ({what}: {said})", mount.destination.display()), e),
            None => OpError::new("mount at", format!("{} ({what})", mount.destination.display()), e),
        };
        if !source.is_empty() {
            context.set(c"source", source).map_err(|e| refused(e, "source".into()))?;
        }
        for (name, value) in options {
            let result = match value {
                Some(value) => context.set(name, value),
                None if fs_type.as_c_str() == c"devpts" && name.as_c_str() == c"newinstance" => Ok(()),
                None => context.flag(name),
            };
            result.map_err(|e| refused(e, format!("option {}", name.to_string_lossy())))?;
        }
        let tree = context.mount(mount.change.set).map_err(|e| refused(e, fs_type.to_string_lossy().into_owned()))?;
        if mount.copy_up {
            return Err(io::Error::from_raw_os_error(libc::ENOTSUP)).op("copy up into", &mount.destination);
        }
        for change in [Change { set: 0, clear: 0, ..mount.change }, mount.change_recursive] {
            change_attributes(&tree, change, &mount.destination)?;
        }
        mount::attach(&tree, target.as_fd()).op("mount at", &mount.destination)
    }

    fn mount_cgroup(&self, mount: &Mount, parts: Vec<(String, Vec<String>, OwnedFd)>) -> Result<(), OpError> {
        let at = &mount.destination;
        let target = make_dirs_in(&self.root, at, 0o755).op("make the mount point", at)?;
        if let [(name, _, tree)] = parts.as_slice()
            && name.is_empty()
        {
            change_attributes(tree, cut_off(mount.change), at)?;
            return mount::attach(tree, target.as_fd()).op("mount cgroup at", at);
        }
        let context = FsContext::open(c"tmpfs").op("open file system type", "tmpfs")?;
        context.set(c"mode", c"755").op("mount cgroup at", at)?;
        let board = context.mount(mount.change.set & !attr::RDONLY).op("mount cgroup at", at)?;
        mount::attach(&board, target.as_fd()).op("mount cgroup at", at)?;
        for (name, others, tree) in parts {
            let place = make_dirs_in(&board, Path::new(&name), 0o755).op("make the mount point", &name)?;
            change_attributes(&tree, cut_off(mount.change), at)?;
            mount::attach(&tree, place.as_fd()).op("mount cgroup", &name)?;
            for other in others {
                nix::unistd::symlinkat(name.as_str(), &board, other.as_str()).op("link to cgroup", &name)?;
            }
        }
        change_attributes(&board, Change { set: mount.change.set & attr::RDONLY, ..Change::default() }, at)
    }
}

fn cut_off(change: Change) -> Change {
    Change { propagation: libc::MS_PRIVATE, ..change }
}

fn change_attributes(tree: &OwnedFd, change: Change, at: &Path) -> Result<(), OpError> {
    if change.set == 0 && change.clear == 0 && change.propagation == 0 {
        return Ok(());
    }
    mount::set_attributes(tree, change).op("set the attributes of the mount at", at)
}
