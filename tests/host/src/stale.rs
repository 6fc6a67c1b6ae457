//! What outlives a host's namespaces: its directory and its control groups; and the removal of those of test processes
//! that were killed.

use nix::fcntl::{Flock, FlockArg};
use nix::sys::statfs::{self, OVERLAYFS_SUPER_MAGIC};
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PREFIX: &str = "berth-test-";
const CGROUP_MOUNT: &str = "/sys/fs/cgroup";
const V2_CONTROLLERS: &str = "+cpu +memory +pids +io +cpuset +hugetlb +rdma";

/// A directory and a control group that belong to one host. Both are removed on drop.
#[derive(Debug)]
pub(crate) struct Place {
    dir: PathBuf,
    /// One per v1 hierarchy or the one on v2, as this process sees them.
    cgroups: Vec<PathBuf>,
    /// Of v1, beside `cgroups`: name below `/sys/fs/cgroup` and mount options. Empty on v2.
    v1: Vec<(String, String)>,
    /// Held for life: who can take it may remove the place.
    _lock: Flock<File>,
}

impl Place {
    /// Makes a place with a new name, after removing those whose owners are dead (once per process).
    pub(crate) fn make(name: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        let base = base();
        // Nobody may find a place between its making and its locking.
        let gate =
            lock(&base.join(format!("{PREFIX}gate")), FlockArg::LockExclusive).expect("the gate is never held long");
        SWEEP.call_once(|| sweep(&base));
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let unique = format!("{PREFIX}{name}-{}-{number}", std::process::id());
        let dir = base.join(&unique);
        for sub in ["lib", "files"] {
            fs::create_dir_all(dir.join(sub)).unwrap_or_else(|e| panic!("create {}: {e}", dir.display()));
        }
        let own = lock(&dir.join("lock"), FlockArg::LockExclusiveNonblock).expect("the place is new");
        let v1 = v1_mounts();
        let cgroups = make_cgroups(&unique, &v1);
        drop(gate);
        Self { dir, cgroups, v1, _lock: own }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn cgroups(&self) -> &[PathBuf] {
        &self.cgroups
    }

    pub(crate) fn unified(&self) -> bool {
        self.v1.is_empty()
    }

    pub(crate) fn v1_mounts(&self) -> &[(String, String)] {
        &self.v1
    }

    pub(crate) fn controller(&self, controller: &str) -> Option<&Path> {
        if self.unified() {
            return self.cgroups.first().map(PathBuf::as_path);
        }
        let index = self.v1.iter().position(|(_, options)| options.split(',').any(|o| o == controller))?;
        self.cgroups.get(index).map(PathBuf::as_path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let failed: Vec<_> = self.cgroups.iter().filter_map(|dir| remove_cgroup(dir).err()).collect();
        match fs::remove_dir_all(&self.dir) {
            // Another test process swept it between its lock file and itself.
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                eprintln!("test host: remove {}: {e}", self.dir.display());
            }
            _ => {}
        }
        if !failed.is_empty() {
            eprintln!("test host: control groups are left: {failed:?}");
        }
    }
}

/// The first of the usual places that overlayfs takes as an upper layer.
fn base() -> PathBuf {
    ["/var/tmp", "/dev/shm"]
        .iter()
        .map(PathBuf::from)
        .find(|p| statfs::statfs(p).is_ok_and(|fs| fs.filesystem_type() != OVERLAYFS_SUPER_MAGIC))
        .expect("neither /var/tmp nor /dev/shm is on a file system that takes overlays")
}

fn lock(path: &Path, how: FlockArg) -> Option<Flock<File>> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = file.unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
    Flock::lock(file, how).ok()
}

/// Removes the places of owners that are dead: those whose lock is free.
fn sweep(base: &Path) {
    for entry in fs::read_dir(base).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(PREFIX) || !entry.path().is_dir() {
            continue;
        }
        // Never created here: its owner may be removing it at this moment, and would find it not empty.
        let _mine = match OpenOptions::new().write(true).open(entry.path().join("lock")) {
            Ok(file) => match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mine) => Some(mine),
                Err(_) => continue,
            },
            // Half made or half removed, and the gate is ours: nobody is making it.
            Err(_) => None,
        };
        eprintln!("test host: removing {name}, whose test process is gone");
        let roots = v1_mounts().into_iter().map(|(at, _)| Path::new(CGROUP_MOUNT).join(at));
        for root in roots.chain([PathBuf::from(CGROUP_MOUNT)]) {
            let _ = remove_cgroup(&root.join(&name));
        }
        let _ = fs::remove_dir_all(entry.path());
    }
}

/// The v1 hierarchies of this machine as (name below the mount, mount options); none on a unified machine. The hybrid
/// `unified` mount is left out: it holds no controller, and crun and podman refuse a machine that has it.
fn v1_mounts() -> Vec<(String, String)> {
    let unified = statfs::statfs(CGROUP_MOUNT).is_ok_and(|fs| fs.filesystem_type() == statfs::CGROUP2_SUPER_MAGIC);
    if unified {
        return Vec::new();
    }
    let text = crate::helper::read("/proc/self/mountinfo");
    text.lines()
        .filter_map(|line| {
            let (before, after) = line.split_once(" - cgroup ")?;
            let at = before.split(' ').nth(4)?.strip_prefix(CGROUP_MOUNT)?.strip_prefix('/')?.to_owned();
            let all = after.split(' ').nth(1)?;
            let options: Vec<_> =
                all.split(',').filter(|o| !matches!(*o, "rw" | "ro" | "xattr" | "clone_children")).collect();
            let options = options.into_iter().filter(|o| !o.starts_with("release_agent")).collect::<Vec<_>>().join(",");
            Some((at, if options.starts_with("name=") { format!("none,{options}") } else { options }))
        })
        .collect()
}

fn make_cgroups(name: &str, v1: &[(String, String)]) -> Vec<PathBuf> {
    let root = Path::new(CGROUP_MOUNT);
    if v1.is_empty() {
        // Kernel and systemd give the root group's children these already on most machines.
        for controller in V2_CONTROLLERS.split(' ') {
            let _ = fs::write(root.join("cgroup.subtree_control"), controller);
        }
        let dir = root.join(name);
        fs::create_dir(&dir).unwrap_or_else(|e| panic!("create cgroup {}: {e}", dir.display()));
        return vec![dir];
    }
    v1.iter()
        .map(|(at, _)| {
            let dir = root.join(at).join(name);
            fs::create_dir(&dir).unwrap_or_else(|e| panic!("create cgroup {}: {e}", dir.display()));
            for file in ["cpuset.cpus", "cpuset.mems"] {
                // A new cpuset is empty and would take no process.
                if let Ok(value) = fs::read(root.join(at).join(file)) {
                    let _ = fs::write(dir.join(file), value);
                }
            }
            dir
        })
        .collect()
}

/// Removes a group and all below it, waiting for processes that are on their way out.
fn remove_cgroup(dir: &Path) -> std::io::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match fs::remove_dir(dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(e) if Instant::now() >= deadline => {
                return Err(std::io::Error::other(format!("{}: {e}", dir.display())));
            }
            Err(_) => {}
            Ok(()) => return Ok(()),
        }
        // Whoever else removes it may be done by now.
        for entry in fs::read_dir(dir).into_iter().flatten().flatten().filter(|e| e.path().is_dir()) {
            remove_cgroup(&entry.path())?;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}
