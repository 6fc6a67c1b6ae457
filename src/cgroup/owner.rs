//! A group that is somebody's who is not root: of a container that makes groups of its own below.

use super::Group;
use super::files;
use super::hierarchies::Tree;
use crate::errno::{OpContext, OpError};
use nix::unistd::Uid;
use std::path::Path;

/// Names the files of a group that may be given away (Linux 4.15). Limits are not among them: they are its parent's.
const DELEGATE: &str = "/sys/kernel/cgroup/delegate";

/// What those are where the kernel does not say.
const ALWAYS: &str = "cgroup.procs cgroup.subtree_control cgroup.threads";

impl Group {
    /// Gives the group to `user`, who can then make groups below it and move its processes between them. Version 1
    /// groups stay root's: there a group's owner could change its limits.
    pub fn give_to(&self, user: u32) -> Result<(), OpError> {
        let Tree::V2(mount) = &*self.tree else { return Ok(()) };
        let dir = mount.join(&self.path);
        let named = files::read_if_there(Path::new(DELEGATE))?;
        let names = named.as_deref().unwrap_or(ALWAYS).split_ascii_whitespace().map(|name| dir.join(name));
        for path in std::iter::once(dir.clone()).chain(names) {
            match nix::unistd::chown(&path, Some(Uid::from_raw(user)), None) {
                // The list is of all controllers, the group has those that are enabled.
                Ok(()) | Err(nix::Error::ENOENT) => {}
                Err(e) => return Err(e).op("give away", &path),
            }
        }
        Ok(())
    }
}
