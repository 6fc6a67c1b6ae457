//! Mounts whose files have other owners inside than on the host (idmapped).
//!
//! A mount takes its map from a user namespace. The worker makes one for each map, without a process in it: the mounts
//! keep it when its descriptor is gone. It has to be done by who has the host's rights, to mounts that are attached
//! nowhere yet.

use crate::errno::{OpContext, OpError};
use crate::spec::{IdMaps, Owners, Plan, lines};
use crate::sys::{mount, namespace};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// User namespaces that stand for maps, each made once.
#[derive(Debug)]
pub(super) struct UserNamespaces<'a> {
    plan: &'a Plan,
    made: Vec<(IdMaps, OwnedFd)>,
}

impl<'a> UserNamespaces<'a> {
    /// For the mounts of `plan`.
    pub(super) fn of(plan: &'a Plan) -> Self {
        Self { plan, made: Vec::new() }
    }

    /// Maps the owners of the files of the detached mount `tree`, which is to be at `at`.
    pub(super) fn map_owners(&mut self, tree: &OwnedFd, owners: &Owners, at: &Path) -> Result<(), OpError> {
        let known = self.made.iter().position(|(ids, _)| *ids == owners.ids);
        let index = match known {
            Some(index) => index,
            None => {
                self.made.push((owners.ids.clone(), self.make(&owners.ids)?));
                self.made.len() - 1
            }
        };
        map_owners(tree, &self.made[index].1, owners.recursive, at)
    }

    fn make(&self, ids: &IdMaps) -> Result<OwnedFd, OpError> {
        let joined = self.plan.namespaces.join.iter().find(|(kind, _)| *kind == libc::CLONE_NEWUSER);
        match joined.filter(|_| ids.is_empty()) {
            Some((_, path)) => Ok(File::open(path).op("open namespace", path)?.into()),
            None => make(ids),
        }
    }
}

/// Makes a user namespace that has the maps `ids`.
pub(super) fn make(ids: &IdMaps) -> Result<OwnedFd, OpError> {
    let (users, groups) = (lines(&ids.users), lines(&ids.groups));
    namespace::make_user(&users, &groups).op("make a user namespace with the map", users.trim_end())
}

/// Maps the owners of the files of the detached mount `tree` as `user` maps them.
pub(super) fn map_owners(tree: &OwnedFd, user: &OwnedFd, recursive: bool, at: &Path) -> Result<(), OpError> {
    let error = match mount::map_owners(tree, user.as_fd(), recursive) {
        Ok(()) => return Ok(()),
        Err(e) => e,
    };
    let why = match error.raw_os_error() {
        Some(libc::EINVAL) if recursive => "a file system there or below does not support idmapped mounts".into(),
        Some(libc::EINVAL) => {
            let kind = nix::sys::statfs::fstatfs(tree).map(|fs| fs.filesystem_type().0).unwrap_or_default();
            format!("the file system (magic number {kind:#x}) does not support idmapped mounts")
        }
        Some(libc::EPERM) => {
            "its owners are mapped already, or the file system belongs to another user namespace".into()
        }
        _ => return Err(error).op("map (idmap) the owners of the mount at", at),
    };
    Err(io::Error::new(error.kind(), why)).op("map (idmap) the owners of the mount at", at)
}
