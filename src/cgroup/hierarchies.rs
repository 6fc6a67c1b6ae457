//! Where the control groups of this machine are.

use super::Group;
use super::files::read;
use crate::errno::{OpContext as _, OpError};
use crate::sys::procfs;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// The version of the control-group interface that a machine uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// One tree for all controllers.
    V2,
    /// A tree per controller, or per few of them.
    V1,
}

/// A kernel controller that berth uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Controller {
    /// CPU weight and quota.
    Cpu,
    /// CPU time used (v1; part of `cpu` on v2).
    Cpuacct,
    /// Memory limits.
    Memory,
    /// Limits of the number of processes.
    Pids,
    /// Access to device nodes (v1; a BPF program on v2).
    Devices,
    /// Stopping all processes at once (v1; built in on v2).
    Freezer,
    /// CPUs and memory nodes to use.
    Cpuset,
    /// Block devices: weights and rates.
    Blkio,
    /// Huge pages.
    Hugetlb,
    /// Remote memory access.
    Rdma,
    /// Class of network packets (v1).
    NetCls,
    /// Priority of network packets (v1).
    NetPrio,
    /// No controller: the v1 hierarchy in which systemd keeps its units.
    Systemd,
}

impl Controller {
    /// Those that every group is in, in the order in which groups are made and entered.
    pub const ALL: [Self; 7] =
        [Self::Freezer, Self::Memory, Self::Pids, Self::Devices, Self::Cpu, Self::Cpuacct, Self::Cpuset];
    /// Those that only groups with a limit of theirs are in, because each v1 hierarchy has its price.
    pub const FURTHER: [Self; 6] = [Self::Blkio, Self::Hugetlb, Self::Rdma, Self::NetCls, Self::NetPrio, Self::Systemd];

    /// The controller of that [`name`](Self::name).
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().chain(Self::FURTHER).find(|c| c.name() == name)
    }

    /// The kernel's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cpuacct => "cpuacct",
            Self::Memory => "memory",
            Self::Pids => "pids",
            Self::Devices => "devices",
            Self::Freezer => "freezer",
            Self::Cpuset => "cpuset",
            Self::Blkio => "blkio",
            Self::Hugetlb => "hugetlb",
            Self::Rdma => "rdma",
            Self::NetCls => "net_cls",
            Self::NetPrio => "net_prio",
            Self::Systemd => "name=systemd",
        }
    }

    /// The kernel's name on v2.
    pub(super) fn v2_name(self) -> &'static str {
        match self {
            Self::Blkio => "io",
            other => other.name(),
        }
    }

    /// A file of its own on v2, and so in `cgroup.controllers` there.
    fn on_v2(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory | Self::Pids)
    }
}

/// One v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct V1Mount {
    pub(super) mount: PathBuf,
    /// Those of [`Controller::ALL`] and [`Controller::FURTHER`] that are on it, in that order; never empty.
    pub(super) controllers: Vec<Controller>,
}

impl V1Mount {
    /// A group that is in `further` has a directory in this hierarchy.
    pub(super) fn holds(&self, further: &[Controller]) -> bool {
        self.controllers.iter().any(|c| Controller::ALL.contains(c) || further.contains(c))
    }

    /// A cpuset must be filled before a process may enter.
    pub(super) fn cpuset(&self) -> bool {
        self.controllers.contains(&Controller::Cpuset)
    }

    pub(super) fn dir(&self, group: &Path) -> PathBuf {
        self.mount.join(group)
    }
}

#[derive(Debug)]
pub(super) enum Tree {
    V2(PathBuf),
    V1(Vec<V1Mount>),
}

impl Tree {
    pub(super) fn controller_dir(&self, group: &Path, controller: Controller) -> Option<PathBuf> {
        match self {
            Self::V2(mount) => Some(mount.join(group)),
            Self::V1(mounts) => mounts.iter().find(|m| m.controllers.contains(&controller)).map(|m| m.dir(group)),
        }
    }
}

/// The control-group trees of this machine.
#[derive(Debug, Clone)]
pub struct Hierarchies {
    tree: Arc<Tree>,
}

impl Hierarchies {
    /// Finds the trees: v2 when `mount` (usually `/sys/fs/cgroup`) is a cgroup2 file system, else the v1 mounts of this
    /// process's mount namespace, those below `mount` before others.
    pub fn detect(mount: &Path) -> Result<Self, OpError> {
        let fs = nix::sys::statfs::statfs(mount).op("find control groups at", mount)?;
        if fs.filesystem_type() == nix::sys::statfs::CGROUP2_SUPER_MAGIC {
            return Ok(Self { tree: Arc::new(Tree::V2(mount.to_owned())) });
        }
        let mounts = v1_mounts(&read(Path::new("/proc/self/mountinfo"))?, mount);
        if !mounts.iter().any(|m| m.holds(&[])) {
            let none = io::Error::new(io::ErrorKind::NotFound, "neither cgroup v2 nor any v1 controller is mounted");
            return Err(none).op("find control groups at", mount);
        }
        Ok(Self { tree: Arc::new(Tree::V1(mounts)) })
    }

    /// The group of that path below the mounts. Only the plain components of `path` count: a leading slash, `.` and
    /// `..` are dropped, so that no group can be named outside the mounts. A component called like a file of the kernel's
    /// (`tasks` is one on v1) gets an underscore before it: see [`Group::path`] for what came of it.
    pub fn group(&self, path: impl AsRef<Path>) -> Group {
        Group { tree: self.tree.clone(), path: plain(path.as_ref()), further: Vec::new() }
    }

    /// Makes the group at `path` ready to have groups with limits below it, and returns it.
    pub fn delegate(&self, path: impl AsRef<Path>) -> Result<Group, OpError> {
        let group = self.group(path);
        group.create()?;
        if let Tree::V2(mount) = &*self.tree {
            super::v2::enable_controllers(&mount.join(&group.path))?;
        }
        Ok(group)
    }

    /// Which interface the machine uses.
    pub fn version(&self) -> Version {
        match &*self.tree {
            Tree::V2(_) => Version::V2,
            Tree::V1(_) => Version::V1,
        }
    }

    /// The controllers without which some limit cannot be set, for those who report what a machine lacks.
    pub fn missing(&self) -> Result<Vec<Controller>, OpError> {
        // Without cpusets nothing is lost but that some programs do not believe their limits.
        let all = Controller::ALL.into_iter().filter(|c| *c != Controller::Cpuset);
        Ok(match &*self.tree {
            Tree::V2(mount) => {
                let there = read(&mount.join("cgroup.controllers"))?;
                all.filter(|c| c.on_v2() && !there.split(' ').any(|name| name == c.name())).collect()
            }
            Tree::V1(mounts) => all.filter(|c| !mounts.iter().any(|m| m.controllers.contains(c))).collect(),
        })
    }

    /// Trees in plain directories, for tests of what is read and written.
    #[cfg(test)]
    pub(super) fn at(tree: Tree) -> Self {
        Self { tree: Arc::new(tree) }
    }
}

/// A path that stays below the mounts and names no file of the kernel's.
pub(super) fn plain(path: &Path) -> PathBuf {
    let names = path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    names.map(escape).collect()
}

/// Every group holds the kernel's own files, and one may not be called like any of them: v1 has `tasks` in each, and a
/// container may be called `cpu.max`. Such a name gets an underscore before it, as does one that would otherwise be
/// taken for its result.
fn escape(name: &OsStr) -> OsString {
    const FILES: [&str; 3] = ["tasks", "notify_on_release", "release_agent"];
    const PREFIXES: [&str; 16] = [
        "blkio.",
        "cgroup.",
        "cpu.",
        "cpuacct.",
        "cpuset.",
        "devices.",
        "freezer.",
        "hugetlb.",
        "io.",
        "irq.",
        "memory.",
        "misc.",
        "net_cls.",
        "net_prio.",
        "pids.",
        "rdma.",
    ];
    let text = name.to_string_lossy();
    let bare = text.trim_start_matches('_');
    let kernels = FILES.contains(&bare) || PREFIXES.iter().any(|prefix| bare.starts_with(prefix));
    let mut escaped = OsString::from(if kernels { "_" } else { "" });
    escaped.push(name);
    escaped
}

/// The v1 hierarchies in the text of a mountinfo file that hold a controller in use: one mount each, below `preferred`
/// where there is a choice.
fn v1_mounts(mountinfo: &str, preferred: &Path) -> Vec<V1Mount> {
    let mut candidates: Vec<V1Mount> = mountinfo.lines().filter_map(v1_mount).collect();
    candidates.sort_by_key(|m| !m.mount.starts_with(preferred));
    let mut mounts: Vec<V1Mount> = Vec::new();
    for found in candidates {
        if !mounts.iter().any(|m| m.controllers.iter().any(|c| found.controllers.contains(c))) {
            mounts.push(found);
        }
    }
    let order = |m: &V1Mount| Controller::ALL.iter().position(|c| m.controllers.contains(c));
    mounts.sort_by_key(|m| order(m).unwrap_or(usize::MAX));
    mounts
}

/// `36 31 0:34 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory`: see proc_pid_mountinfo(5). Any number of
/// optional fields stands before the dash.
fn v1_mount(line: &str) -> Option<V1Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != "cgroup" {
        return None;
    }
    let options: Vec<&str> = after.nth(1)?.split(',').collect();
    let known = Controller::ALL.into_iter().chain(Controller::FURTHER);
    let controllers: Vec<_> = known.filter(|c| options.contains(&c.name())).collect();
    let mount = PathBuf::from(procfs::unescape(before.split(' ').nth(4)?.as_bytes()));
    (!controllers.is_empty()).then_some(V1Mount { mount, controllers })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEPARATE: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:3 master:1 - cgroup cgroup rw,cpu
36 31 0:33 / /sys/fs/cgroup/devices rw,relatime - cgroup cgroup rw,devices
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,xattr,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn v1_hierarchies_are_found_in_the_order_of_use_and_further_ones_only_where_needed() {
        let mounts = v1_mounts(SEPARATE, Path::new("/sys/fs/cgroup"));
        let of = |further: &[Controller]| {
            let used = mounts.iter().filter(|m| m.holds(further));
            used.map(|m| m.mount.to_str().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(of(&[]), ["/sys/fs/cgroup/memory", "/sys/fs/cgroup/devices", "/sys/fs/cgroup/cpu"]);
        assert_eq!(of(&[Controller::Systemd])[3..], ["/sys/fs/cgroup/systemd"]);
    }

    #[test]
    fn controllers_that_share_a_hierarchy_are_one_mount() {
        let line = "1 2 0:3 / /cg/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct,cpuset";
        let mounts = v1_mounts(line, Path::new("/cg"));
        assert_eq!(mounts.len(), 1);
        assert_eq!(mounts[0].controllers, [Controller::Cpu, Controller::Cpuacct, Controller::Cpuset]);
        assert!(mounts[0].cpuset() && mounts[0].holds(&[]));
    }

    #[test]
    fn of_two_mounts_of_one_hierarchy_the_one_below_the_given_directory_is_taken() {
        let twice = "1 2 0:3 / /old\\040place rw - cgroup c rw,memory\n2 3 0:3 / /cg/memory rw - cgroup c rw,memory\n";
        assert_eq!(v1_mounts(twice, Path::new("/cg"))[0].mount, Path::new("/cg/memory"));
        assert_eq!(v1_mounts(twice, Path::new("/none"))[0].mount, Path::new("/old place"));
    }

    #[test]
    fn no_group_can_be_named_outside_the_mounts() {
        let h = Hierarchies::at(Tree::V2("/cg".into()));
        assert_eq!(h.group("/../../etc/./x").dirs(), [PathBuf::from("/cg/etc/x")]);
        assert_eq!(h.group("berth").child("../up").dirs(), [PathBuf::from("/cg/berth/up")]);
    }

    #[test]
    fn no_group_is_called_like_a_file_of_the_kernels() {
        let name = |text: &str| plain(Path::new(text)).to_str().unwrap().to_owned();
        assert_eq!(name("berth/tasks/0af3/web"), "berth/_tasks/0af3/web");
        assert_eq!((name("_tasks"), name("cpu.max")), ("__tasks".into(), "_cpu.max".into()), "no two names meet");
        assert_eq!(name("machine.slice/_x/libpod-1.scope"), "machine.slice/_x/libpod-1.scope");
    }

    #[test]
    fn a_directory_that_is_no_mount_of_control_groups_is_refused_or_v1() {
        let error = Hierarchies::detect(Path::new("/nonexistent")).unwrap_err();
        assert_eq!(error.to_string(), "find control groups at `/nonexistent`");
    }
}
