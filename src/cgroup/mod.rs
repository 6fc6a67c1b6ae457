//! Control groups, v2 and v1 behind one type.
//!
//! ```text
//! Hierarchies::detect ──> group("berth/tasks/T/C") ──create──> [exists] ──apply(Limits)──> [limited]
//!        │                                                        │ entry().join() by the process itself (fast)
//!        │                                                        │ add(pid)        by another process (slow on v1)
//!        └── delegate("berth")  v2: controllers on for children   v
//!                                                             [populated] ──freeze/thaw──> …
//!                                                                 │ kill(): everything in it and below gets SIGKILL
//!                                                                 v
//!                                                              [empty] ──remove──> gone (idempotent)
//! ```
//! Who owns what: a [`Group`] is a name, not a handle; dropping it does nothing. Whoever created a group removes it.
//! Where names come from outside, a mark says who has the group, see [`Group::claim`].
//! Every failure is an [`OpError`] that names the file, and leaves what was made before it to [`Group::remove`].
//!
//! # The tree of a node
//! `PARENT` (limits of what is reserved for the host are enforced here), `PARENT/shims` (a leaf that all shims live in,
//! outside every task's limits), `PARENT/tasks/TASK/CONTAINER`. On v2 processes live in leaves only. On disk `tasks` is
//! `_tasks`, because every v1 group has a file of that name.
//!
//! # v2 or v1
//! Decided by the file-system type of the mount (`/sys/fs/cgroup`), never by `/proc/self/cgroup`: a hybrid machine has a
//! v2 mount below it that holds no controller we need. On v1 the hierarchies come from `/proc/self/mountinfo`; several
//! controllers may share one. Only those in use are touched ([`Controller::ALL`]): every further hierarchy costs each
//! container a directory to make, to enter and to remove. Cpusets are in use although few set them: Java before 25 asks
//! for cpu, cpuacct, cpuset and memory, all four, before it believes a limit of any, and would size its heap by the
//! host. A group whose limits need a further one is in it too ([`Group::with_limits_of`]), and whoever keeps its name
//! keeps that as well ([`Group::further`]). On v2 controllers beyond those that every group gets are enabled when a limit
//! of theirs is set.
//!
//! # Entering a group is the slow part on v1
//! A write to `cgroup.procs`, or of any pid but one's own, makes the kernel wait for a grace period: 4 to 5 ms for the
//! first of a burst. A single-threaded process that writes `0` to its own `tasks` file waits for nothing (40 µs for
//! six hierarchies): the kernel skips the lock when the one that moves is the caller. So a container's init enters by
//! [`Group::entry`], opened before the clone; [`Group::add`] is for processes that cannot do it themselves. On v2
//! `clone3` with `CLONE_INTO_CGROUP` and [`Group::dir_fd`] is better than both.

pub mod account;
mod files;
mod hierarchies;
pub mod limits;
mod mark;
mod oom;
mod owner;
mod stats;
mod tree;
mod v1;
mod v2;
mod writes;

pub use hierarchies::{Controller, Hierarchies, Version};
pub use mark::Claim;
pub use oom::OomWatch;
pub use stats::Stats;

use crate::errno::OpError;
use crate::spec::Resources;
use hierarchies::Tree;
use limits::Limits;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The name of a control group below the mounts of its hierarchies.
#[derive(Debug, Clone)]
pub struct Group {
    tree: Arc<Tree>,
    /// Relative, of plain components only.
    path: PathBuf,
    /// v1 hierarchies that this group is in, besides those of [`Controller::ALL`].
    further: Vec<Controller>,
}

impl Group {
    /// The group's path below each hierarchy's mount.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The group of that name below this one; see [`Hierarchies::group`] for what becomes of odd names.
    pub fn child(&self, name: impl AsRef<Path>) -> Self {
        let path = self.path.join(hierarchies::plain(name.as_ref()));
        Self { tree: self.tree.clone(), path, further: self.further.clone() }
    }

    /// The same group, in those v1 hierarchies too that limits of `resources` need. On v2 the same.
    pub fn with_limits_of(&self, resources: &Resources) -> Self {
        match &*self.tree {
            Tree::V2(_) => self.clone(),
            Tree::V1(_) => self.with(writes::v1_further(resources)),
        }
    }

    /// The same group, in these v1 hierarchies too, where they are mounted. On v2 the same.
    pub fn with(&self, further: impl IntoIterator<Item = Controller>) -> Self {
        let mut group = self.clone();
        for controller in further {
            let there = match &*self.tree {
                Tree::V2(_) => false,
                Tree::V1(mounts) => mounts.iter().any(|m| m.controllers.contains(&controller)),
            };
            if there && !group.further.contains(&controller) {
                group.further.push(controller);
            }
        }
        group
    }

    /// Which interface the machine uses.
    pub fn version(&self) -> Version {
        match &*self.tree {
            Tree::V2(_) => Version::V2,
            Tree::V1(_) => Version::V1,
        }
    }

    /// CPU quota and period in microseconds as they are now; a quota of -1 is none.
    pub fn bandwidth(&self) -> Result<(i64, u64), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::bandwidth_now(&mount.join(&self.path)),
            Tree::V1(mounts) => v1::bandwidth_now(mounts, &self.path),
        }
    }

    /// The v1 hierarchies that the group is in besides those that every group is in: whoever names a group later must
    /// name them again by [`Group::with`], or leave their directories behind.
    pub fn further(&self) -> &[Controller] {
        &self.further
    }

    /// The group's directories: one on v2, one per hierarchy on v1.
    pub fn dirs(&self) -> Vec<PathBuf> {
        match &*self.tree {
            Tree::V2(mount) => vec![mount.join(&self.path)],
            Tree::V1(mounts) => mounts.iter().filter(|m| m.holds(&self.further)).map(|m| m.dir(&self.path)).collect(),
        }
    }

    /// The directory where `controller` is, for readers of files that this type does not cover; `None` when the
    /// controller is not mounted.
    pub fn controller_dir(&self, controller: Controller) -> Option<PathBuf> {
        self.tree.controller_dir(&self.path, controller)
    }

    /// Makes the group and the groups above it; succeeds when it exists. On v2 it enables the controllers in use in
    /// all groups above, on v1 it fills its cpuset from its parent (an empty one takes no process: ENOSPC).
    pub fn create(&self) -> Result<(), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::create(mount, &self.path),
            Tree::V1(mounts) => v1::create(mounts, &self.path, &self.further),
        }
    }

    /// Sets those limits that are `Some`; the others stay as they are.
    pub fn apply(&self, limits: &Limits) -> Result<(), OpError> {
        self.configure(&limits.resources())
    }

    /// Sets the limits of a document, devices not included. What it does not give stays as it is. Limits that this
    /// machine does not have are errors that name the field.
    ///
    /// On v1 the group must be in the hierarchies that they need, see [`Group::with_limits_of`]; on v2 the controllers
    /// that they need are enabled in the groups above.
    pub fn configure(&self, resources: &Resources) -> Result<(), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::apply(mount, &self.path, resources),
            Tree::V1(mounts) => v1::apply(mounts, &self.path, resources),
        }
    }

    /// Moves every process of `from` that is not in this group yet into it, until nobody is left who is not: for a group
    /// that is to be in one more v1 hierarchy while its processes run.
    pub fn gather(&self, from: &Self) -> Result<(), OpError> {
        let old = from.dirs();
        for dir in self.dirs().into_iter().filter(|dir| !old.contains(dir)) {
            loop {
                let there = files::procs_below(&dir)?;
                let missing: Vec<u32> = from.procs()?.into_iter().filter(|pid| !there.contains(pid)).collect();
                if missing.is_empty() {
                    break;
                }
                for pid in missing {
                    match files::write(&dir.join("cgroup.procs"), pid) {
                        Err(e) if e.errno() == Some(libc::ESRCH) => {}
                        other => other?,
                    }
                }
            }
        }
        Ok(())
    }

    /// Moves a process (all of its threads) into the group. Waits for a grace period on v1, see the module.
    pub fn add(&self, pid: u32) -> Result<(), OpError> {
        self.dirs().iter().try_for_each(|dir| files::write(&dir.join("cgroup.procs"), pid))
    }

    /// Opens what a process needs to enter the group by itself, from inside another mount namespace if need be.
    pub fn entry(&self) -> Result<Entry, OpError> {
        let name = match &*self.tree {
            Tree::V2(_) => "cgroup.procs",
            Tree::V1(_) => "tasks",
        };
        let files = self.dirs().iter().map(|dir| files::open_for_write(&dir.join(name))).collect::<Result<_, _>>()?;
        Ok(Entry { files })
    }

    /// As [`Group::entry`], but into the groups at `below` this one: controllers (none is all) and path. A hierarchy that
    /// none of them names is entered here. All of them must exist.
    pub fn entry_below(&self, below: &[(&[String], &Path)]) -> Result<Entry, OpError> {
        let Tree::V1(mounts) = &*self.tree else {
            let path = below.first().map_or(Path::new(""), |(_, path)| path);
            return self.child(path).entry();
        };
        let used = || mounts.iter().filter(|m| m.holds(&self.further));
        let known = |name: &String| used().any(|m| m.controllers.iter().any(|c| c.name() == name));
        if let Some(name) = below.iter().flat_map(|(names, _)| *names).find(|name| !known(name)) {
            return Err(OpError::new("find cgroup controller", name, io::Error::from(io::ErrorKind::NotFound)));
        }
        let open = |mount: &hierarchies::V1Mount| {
            let meant = |names: &[String]| {
                names.is_empty() || mount.controllers.iter().any(|c| names.iter().any(|n| n == c.name()))
            };
            let group = match below.iter().find(|(names, _)| meant(names)) {
                Some((_, path)) => self.path.join(hierarchies::plain(path)),
                None => self.path.clone(),
            };
            files::open_for_write(&mount.dir(&group).join("tasks"))
        };
        Ok(Entry { files: used().map(open).collect::<Result<_, _>>()? })
    }

    /// The group that a process of this group is in now: this one, or one that was made below it. `None` where that
    /// cannot be said: on v1, and for a process elsewhere.
    pub fn where_is(&self, pid: u32) -> Result<Option<Self>, OpError> {
        let path = PathBuf::from(format!("/proc/{pid}/cgroup"));
        let text = files::read(&path)?;
        let found = match &*self.tree {
            Tree::V2(_) => text.lines().find_map(|line| line.strip_prefix("0::/")),
            Tree::V1(_) => None,
        };
        // Below the root of our own cgroup namespace, which is that of the mount.
        let path = found.map(PathBuf::from).filter(|path| path.starts_with(&self.path));
        Ok(path.map(|path| Self { tree: self.tree.clone(), path, further: Vec::new() }))
    }

    /// The group's directory for `CLONE_INTO_CGROUP`; `None` on v1, which does not have it (the kernel says EBADF).
    pub fn dir_fd(&self) -> Result<Option<OwnedFd>, OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::dir_fd(&mount.join(&self.path)).map(Some),
            Tree::V1(_) => Ok(None),
        }
    }

    /// The processes in the group and in all groups below it. A group that does not exist has none.
    pub fn procs(&self) -> Result<Vec<u32>, OpError> {
        files::procs_below(&self.members())
    }

    /// A process is in the group or below it.
    pub fn populated(&self) -> Result<bool, OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::event(&mount.join(&self.path), "populated"),
            Tree::V1(_) => Ok(!self.procs()?.is_empty()),
        }
    }

    /// How many processes are in the group and below it, of all hierarchies that it is in the most: for who is to have it
    /// alone. One look at each directory where there is none.
    pub fn occupants(&self) -> Result<usize, OpError> {
        let mut most = 0;
        for dir in self.dirs().iter().filter(|dir| dir.is_dir()) {
            most = most.max(files::procs_below(dir)?.len());
        }
        Ok(most)
    }

    /// Sends SIGKILL to every process in the group and below it, none of which can escape by forking. Returns when the
    /// signals are sent; the processes end on their own time. A group that does not exist is no error.
    pub fn kill(&self) -> Result<(), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::kill(&mount.join(&self.path)),
            Tree::V1(mounts) => v1::kill(mounts, &self.path),
        }
    }

    /// Stops every process in the group and below it, and returns when all have stopped.
    pub fn freeze(&self) -> Result<(), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::set_frozen(&mount.join(&self.path), true),
            Tree::V1(mounts) => v1::freeze(mounts, &self.path),
        }
    }

    /// Lets the processes that [`Group::freeze`] stopped go on.
    pub fn thaw(&self) -> Result<(), OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::set_frozen(&mount.join(&self.path), false),
            Tree::V1(mounts) => v1::thaw(mounts, &self.path),
        }
    }

    /// Removes the group and all groups below it. Succeeds when there is none; waits up to two seconds for processes
    /// that are on their way out, then says EBUSY.
    pub fn remove(&self) -> Result<(), OpError> {
        let mut first = Ok(());
        let mut dirs = self.dirs();
        // The one with the mark last.
        let members = self.members();
        dirs.sort_by_key(|dir| *dir == members);
        for dir in dirs {
            first = first.and(files::remove_tree(&dir));
        }
        first
    }

    /// The group exists, in each hierarchy.
    pub fn exists(&self) -> bool {
        self.dirs().iter().all(|dir| dir.is_dir())
    }

    /// What the group uses now. Values of controllers that are missing are zero.
    pub fn stats(&self) -> Result<Stats, OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::stats(&mount.join(&self.path)),
            Tree::V1(mounts) => v1::stats(mounts, &self.path),
        }
    }

    /// All that the kernel counts of the group.
    pub fn account(&self) -> Result<account::Account, OpError> {
        match &*self.tree {
            Tree::V2(mount) => account::of_v2(&mount.join(&self.path)),
            Tree::V1(mounts) => account::of_v1(mounts, &self.path, &self.further),
        }
    }

    /// Starts to be told of the group's OOM events.
    pub fn watch_oom(&self) -> Result<OomWatch, OpError> {
        OomWatch::new(self, self.version())
    }

    /// How many processes in the group and below it the kernel has killed for want of memory, whichever group's limit
    /// it was. On v1 what groups removed meanwhile had counted is lost.
    pub fn oom_kills(&self) -> Result<u64, OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::memory_event(&mount.join(&self.path), "memory.events", "oom_kill"),
            Tree::V1(mounts) => v1::oom_kills(mounts, &self.path),
        }
    }

    /// How often this group's own memory limit (not that of a group above or below) could not be kept by reclaim. After
    /// an OOM kill it tells which limit was hit. On v1 it is how often the limit was reached, as far as the kernel counts.
    pub fn limit_hits(&self) -> Result<u64, OpError> {
        match &*self.tree {
            Tree::V2(mount) => v2::memory_event(&mount.join(&self.path), "memory.events.local", "oom"),
            Tree::V1(mounts) => v1::limit_hits(mounts, &self.path),
        }
    }

    /// The group's own hard memory limit in bytes, `None` when it has none.
    pub fn memory_limit(&self) -> Result<Option<u64>, OpError> {
        match &*self.tree {
            Tree::V2(mount) => files::read_limit(&mount.join(&self.path).join("memory.max")),
            Tree::V1(mounts) => v1::memory_limit(mounts, &self.path),
        }
    }

    /// The directory whose `cgroup.procs` says who is a member. On v1 that is the freezer's, because kill goes by it.
    fn members(&self) -> PathBuf {
        match &*self.tree {
            Tree::V2(mount) => mount.join(&self.path),
            Tree::V1(mounts) => v1::members(mounts, &self.path),
        }
    }
}

/// A way into a group for the process that holds it.
#[derive(Debug)]
pub struct Entry {
    files: Vec<File>,
}

impl Entry {
    /// Moves the calling process into the group. It must be single-threaded: on v1 only the calling thread moves.
    ///
    /// Nothing but write(2) happens here, so it may be called between clone and exec.
    pub fn join(&self) -> io::Result<()> {
        use std::io::Write as _;
        self.files.iter().try_for_each(|mut file| file.write_all(b"0"))
    }
}
