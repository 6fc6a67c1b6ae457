//! What is mounted inside and comes from the host's tree.

use super::clone_host_path;
use super::owners::UserNamespaces;
use crate::errno::{OpContext, OpError};
use crate::spec::{Bind, MountKind, Plan};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// What a container sees under `/sys/fs/cgroup`.
#[derive(Debug, Clone)]
pub enum CgroupSource {
    /// Its own group of the one hierarchy; the hierarchy's root for a container that has no cgroup namespace of its own,
    /// where it finds itself by the path in `/proc/self/cgroup`.
    V2(PathBuf),
    /// Its own group in each hierarchy: the controllers' names and the directory.
    V1(Vec<(Vec<String>, PathBuf)>),
}

/// Everything mounted inside that comes from the host's tree, cloned into detached mounts while that tree is in sight.
#[derive(Debug, Default)]
pub struct Sources {
    /// Per mount of the plan; only binds have one.
    pub(super) binds: Vec<Option<OwnedFd>>,
    /// Name below the mount point (empty for the mount point itself), other names of the same, and the mount.
    pub(super) cgroup: Vec<(String, Vec<String>, OwnedFd)>,
}

impl Sources {
    /// Opens what `plan` mounts from the host. Relative sources count from `bundle`.
    pub fn open(plan: &Plan, bundle: &Path, cgroup: &CgroupSource) -> Result<Self, OpError> {
        let mut sources = Self::default();
        let mut users = UserNamespaces::of(plan);
        for mount in &plan.mounts {
            sources.binds.push(match &mount.kind {
                MountKind::Bind(bind) => Some(open_bind(bind, bundle)?),
                _ => None,
            });
            if let (Some(owners), Some(Some(tree))) = (&mount.owners, sources.binds.last()) {
                users.map_owners(tree, owners, &mount.destination)?;
            }
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
