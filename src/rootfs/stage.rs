//! How mounts of the host get into a container that has a user namespace: restricted and covered as they are on the host.
//!
//! The kernel locks what a less privileged owner of a mount namespace must not take back (read-only, `nosuid`, what
//! covers a directory), and does so when the namespace is copied; a detached mount that is passed in is not looked at.
//! So the worker's detached mounts go through a namespace of the host's that is copied with the container's:
//!
//! ```text
//! who makes the init, in a mount namespace of its own    init, in its copy of that one, where all is locked
//! out: a tmpfs (the stage) with every mount on it,  ─→   back: each cloned from the stage, with its locks
//!      as working directory
//! ```
//! The stage is where the root file system is attached later, and goes with the host's tree.

use super::tree::change_attributes;
use super::{Sources, isolate};
use crate::errno::{OpContext, OpError};
use crate::spec::{Mount, MountKind, Plan};
use crate::sys::mount::{self, Change, FsContext, attr};
use crate::sys::path::c_path;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat, mknodat};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// Puts the root file system and everything else that comes from the host on a stage at `at`, the working directory from
/// now on. For a process in a mount namespace of its own, which is cut off from the host's first.
pub fn out(root: &mut OwnedFd, sources: &mut Sources, plan: &Plan, at: &Path) -> Result<(), OpError> {
    isolate()?;
    loosen(sources, plan)?;
    let target = open(at, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).op("open", at)?;
    let stage = (|| {
        let context = FsContext::open(c"tmpfs")?;
        context.set(c"mode", c"755")?;
        let stage = context.mount(attr::NOSUID | attr::NODEV | attr::NOEXEC)?;
        mount::attach(&stage, target.as_fd()).map(|()| stage)
    })();
    let stage = stage.op("mount a tmpfs at", at)?;
    for (i, tree) in trees(root, sources).enumerate() {
        let name = c_path(i.to_string()).op("name", "a mount")?;
        match super::is_directory(&*tree)? {
            true => mkdirat(&stage, name.as_c_str(), Mode::S_IRWXU),
            false => mknodat(&stage, name.as_c_str(), SFlag::S_IFREG, Mode::S_IRWXU, 0),
        }
        .op("make a place for", "a mount of the host")?;
        mount::attach_at(&*tree, stage.as_fd(), &name).op("stage", "a mount of the host")?;
    }
    nix::unistd::fchdir(&stage).op("enter", "the stage")
}

/// Takes everything from the stage that is the working directory, and gives the stage.
pub fn back(root: &mut OwnedFd, sources: &mut Sources) -> Result<OwnedFd, OpError> {
    let stage = open(".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).op("open", "the stage")?;
    let own = fstat(&stage).op("look at", "the stage")?.st_dev;
    for (i, tree) in trees(root, sources).enumerate() {
        let name = c_path(i.to_string()).op("name", "a mount")?;
        let found = mount::clone_tree(stage.as_fd(), &name, true).op("take over", "a mount of the host")?;
        // The kernel copies no mount of a file that means a mount namespace.
        if fstat(&found).op("look at", "a mount of the host")?.st_dev == own {
            return Err(io::Error::from_raw_os_error(libc::EINVAL)).op("take over", "a mount of the host");
        }
        *tree = found;
    }
    Ok(stage)
}

fn trees<'a>(root: &'a mut OwnedFd, sources: &'a mut Sources) -> impl Iterator<Item = &'a mut OwnedFd> {
    let cgroup = sources.cgroup.iter_mut().map(|(_, _, tree)| tree);
    std::iter::once(root).chain(sources.binds.iter_mut().flatten()).chain(cgroup)
}

/// Takes back what the document takes back, for which it is too late once it is locked.
fn loosen(sources: &Sources, plan: &Plan) -> Result<(), OpError> {
    for (mount, tree) in plan.mounts.iter().zip(&sources.binds) {
        if let Some(tree) = tree {
            loosen_one(tree, mount, mount.change)?;
        }
    }
    let cgroup = plan.mounts.iter().find(|mount| mount.kind == MountKind::Cgroup);
    let parts = cgroup.iter().flat_map(|mount| sources.cgroup.iter().map(move |(_, _, tree)| (mount, tree)));
    parts.into_iter().try_for_each(|(mount, tree)| loosen_one(tree, mount, Change { recursive: true, ..mount.change }))
}

fn loosen_one(tree: &OwnedFd, mount: &Mount, own: Change) -> Result<(), OpError> {
    for change in [mount.change_recursive, own] {
        // How access times are kept is locked whatever it is.
        let change = Change { set: change.set & (attr::ATIME | attr::NODIRATIME), propagation: 0, ..change };
        change_attributes(tree, change, &mount.destination)?;
    }
    Ok(())
}
