//! The table of containers that the OCI verbs share: a directory per container under `--root`.
//!
//! ```text
//! ROOT/ID/state.json   the record, replaced whole by rename
//! ROOT/ID/config.json  the bundle's, as it was: what becomes of the bundle's later is nothing to the container
//! ROOT/ID/lock         record lock (fcntl) held by the verb that changes the container
//! ROOT/ID/gate         FIFO: exists until the container is started; a byte in it lets the init go. Not to be written
//!                      by anybody while a container that was not started yet is paused
//! ROOT/ID/report       FIFO: what the init says after the gate
//! ROOT/ID/notify/      the socket for sd_notify(3), shared with the container; only where the service manager listens
//!
//! creating ──create──→ created ──start──→ running ⇄ paused
//!  (record, no pid)       └──────────┬───────┴── init ends ──→ stopped ──delete──→ gone
//! ```
//! What a container is doing is never stored: it follows from the init (alive or not, by pid and start time), the gate
//! (whether somebody waits at it, and its mode) and the freezer. A created container's freezer is not asked, which would cost each start
//! a look at the mounts. A record without a pid is of a container in the making, as long as a verb holds the lock; else
//! its create was killed, and it is stopped.

use super::status::{self, GATE, GATE_OPENS, Status};
use crate::cgroup::{Controller, Group, Hierarchies};
use crate::errno::{OpContext, OpError};
use crate::spec::Hooks;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the cgroup hierarchies are mounted.
pub const CGROUP_MOUNT: &str = "/sys/fs/cgroup";

/// The first pause between two looks at a container that another verb has; it doubles up to [`BUSY_PAUSE_MAX`].
const BUSY_PAUSE: Duration = Duration::from_millis(1);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Why a verb was refused.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The id cannot be a directory's name.
    #[error("invalid container ID format: `{0}` is to be of letters, digits, `_`, `+`, `-` and `.` only, 1024 at most")]
    InvalidId(String),
    /// There is one of that id.
    #[error("container with given ID already exists: `{0}`")]
    Exists(String),
    /// There is none of that id.
    #[error("container does not exist: `{0}`")]
    Missing(String),
    /// It is in a state in which the verb means nothing.
    #[error("{}", status::refusal(verb, *status))]
    Wrong {
        /// What was asked.
        verb: &'static str,
        /// What it is doing.
        status: Status,
    },
    /// The kernel refused something.
    #[error("use the state of a container")]
    Op(#[from] OpError),
    /// The record cannot be read.
    #[error("read the state of container `{id}`")]
    Damaged {
        /// Whose.
        id: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// What is known of a container for good, once it is created.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// Version of the runtime specification that its state is of: the runtime's, not the document's.
    pub oci_version: String,
    /// Its id.
    pub id: String,
    /// Its init in the host's pid namespace; 0 while there is none yet.
    pub pid: u32,
    /// When that process began, in the kernel's ticks since boot: with the pid it is unique.
    pub start_time: u64,
    /// Its bundle, absolute.
    pub bundle: PathBuf,
    /// Its root file system, absolute.
    pub rootfs: PathBuf,
    /// Its group below the hierarchies' mounts.
    pub cgroup: PathBuf,
    /// When it was created, milliseconds since the epoch.
    pub created_ms: u64,
    /// Annotations of the document.
    pub annotations: BTreeMap<String, String>,
    /// It has no pid namespace of its own, so that its processes outlive its init.
    #[serde(default)]
    pub shares_pids: bool,
    /// Its processes have the session keyrings of whoever starts them.
    #[serde(default)]
    pub callers_keyring: bool,
    /// v1 hierarchies that the group is in besides those that every group is in, by the controllers' names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub further: Vec<String>,
    /// What the group's mark says of this container alone, see [`super::mark`]; `None` where groups take no mark, and in
    /// records of before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<String>,
    /// This process has made the group the container's.
    #[serde(skip)]
    pub has_group: bool,
    /// The unit of systemd's whose group it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The hooks that later verbs run, whatever becomes of the document.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
}

impl Record {
    /// Its group on this machine.
    pub fn group(&self) -> Result<Group, OpError> {
        let further = self.further.iter().filter_map(|name| Controller::named(name));
        Ok(group(&self.cgroup)?.with(further))
    }

    /// Notes the group, which must be this container's.
    pub fn set_group(&mut self, group: &Group) {
        self.cgroup = group.path().into();
        self.further = group.further().iter().map(|c| c.name().to_owned()).collect();
    }
}

/// The table.
#[derive(Debug, Clone)]
pub struct Table {
    root: PathBuf,
    /// What went wrong beside what was asked for.
    warnings: RefCell<Vec<String>>,
}

/// One container's place in the table, locked against other verbs for as long as this lives.
#[derive(Debug)]
pub struct Slot {
    dir: PathBuf,
    id: String,
    /// A record lock is the process's own: unlike one of flock(2) it is not inherited by the init, which would hold it
    /// until its program runs.
    _lock: File,
}

impl Table {
    /// The table under `root`, which is made when the first container is.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), warnings: RefCell::default() }
    }

    /// Notes that something went wrong which fails no verb.
    pub fn warn(&self, what: String) {
        self.warnings.borrow_mut().push(what);
    }

    /// What has been noted, for a log.
    pub fn take_warnings(&self) -> Vec<String> {
        self.warnings.take()
    }

    fn dir(&self, id: &str) -> Result<PathBuf, StateError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-' | b'.');
        if id.is_empty() || id.len() > 1024 || id == "." || id == ".." || !id.bytes().all(plain) {
            return Err(StateError::InvalidId(id.into()));
        }
        Ok(self.root.join(id))
    }

    /// Takes the id for a new container.
    pub fn claim(&self, id: &str) -> Result<Slot, StateError> {
        let dir = self.dir(id)?;
        std::fs::create_dir_all(&self.root).op("make", &self.root)?;
        loop {
            match nix::unistd::mkdir(&dir, nix::sys::stat::Mode::S_IRWXU) {
                Ok(()) => {}
                Err(nix::Error::EEXIST) => return Err(StateError::Exists(id.into())),
                Err(e) => return Err(OpError::new("make", dir.display().to_string(), e).into()),
            }
            match lock(dir.clone(), id, Lock::Made, wait_lock) {
                // Another made the directory, and has it.
                Ok(slot) if slot.dir.join("state.json").exists() => return Err(StateError::Exists(id.into())),
                Ok(slot) => return Ok(slot),
                // Deleted before it was ours.
                Err(StateError::Missing(_)) => {}
                Err(e) => {
                    // An empty directory would keep the id from everybody.
                    let _ = std::fs::remove_dir(&dir);
                    return Err(e);
                }
            }
        }
    }

    /// Locks a container that exists. Waits for the verb that has it.
    pub fn open(&self, id: &str) -> Result<Slot, StateError> {
        lock(self.present(id)?, id, Lock::Found, wait_lock)
    }

    /// As [`Table::open`]; while another verb has the container, `busy` is called again and again.
    pub(super) fn open_or(&self, id: &str, mut busy: impl FnMut()) -> Result<Slot, StateError> {
        lock(self.present(id)?, id, Lock::Found, |file| {
            let mut pause = BUSY_PAUSE;
            while !try_lock(file)? {
                busy();
                std::thread::sleep(pause);
                pause = (pause * 2).min(BUSY_PAUSE_MAX);
            }
            Ok(())
        })
    }

    /// Where a container is that there must be.
    fn present(&self, id: &str) -> Result<PathBuf, StateError> {
        let dir = self.dir(id)?;
        if dir.is_dir() { Ok(dir) } else { Err(StateError::Missing(id.into())) }
    }

    /// As [`Table::open`], of the container of `record` and no later one of its name; `None` when it is gone.
    pub(super) fn open_same(&self, record: &Record) -> Result<Option<Slot>, StateError> {
        let slot = match self.open(&record.id) {
            Err(StateError::Missing(_)) => return Ok(None),
            other => other?,
        };
        match slot.read() {
            Err(StateError::Missing(_)) => Ok(None),
            Err(e) => Err(e),
            Ok(found) => Ok(((found.pid, found.start_time) == (record.pid, record.start_time)).then_some(slot)),
        }
    }

    /// Reads a container's record without its lock.
    pub fn read(&self, id: &str) -> Result<Record, StateError> {
        read(&self.dir(id)?, id)
    }

    /// What the container of `record` is doing. Not for who holds its [`Slot`]: closing the lock's file frees the lock.
    pub fn status(&self, record: &Record) -> Result<Status, StateError> {
        let dir = self.dir(&record.id)?;
        if record.pid == 0 && is_locked(&dir) {
            return Ok(Status::Creating);
        }
        Ok(status::status(&dir, record)?)
    }

    /// The directory with the config.json that the container was made of.
    pub fn documents(&self, id: &str) -> Result<PathBuf, StateError> {
        self.dir(id)
    }

    /// Whose the container is: the user who made it.
    pub fn owner(&self, id: &str) -> Result<u32, StateError> {
        let dir = self.dir(id)?;
        let found = nix::sys::stat::stat(&dir).op("look at", &dir)?;
        Ok(found.st_uid)
    }

    /// The ids in the table, sorted.
    pub fn ids(&self) -> Result<Vec<String>, StateError> {
        let entries = match std::fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(OpError::new("list", self.root.display().to_string(), e).into()),
        };
        let dirs = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let names = dirs.filter_map(|entry| entry.file_name().into_string().ok());
        let mut ids: Vec<String> = names.filter(|name| self.dir(name).is_ok()).collect();
        ids.sort();
        Ok(ids)
    }
}

/// A write lock on all of a file.
const WHOLE: libc::flock = libc::flock { l_type: libc::F_WRLCK as i16, l_whence: 0, l_start: 0, l_len: 0, l_pid: 0 };

/// Whose the file of a lock is. Only who has made the directory makes it: nobody puts a lock into one that is going.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lock {
    /// Made by who claims the id.
    Made,
    /// There, for who opens a container.
    Found,
}

fn lock(dir: PathBuf, id: &str, of: Lock, take: impl FnOnce(&File) -> nix::Result<()>) -> Result<Slot, StateError> {
    let path = dir.join("lock");
    let file = match File::options().write(true).create(of == Lock::Made).truncate(false).open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // Deleted since we looked; or empty, by a create that was killed before it had a lock. One that is just
            // beginning begins again.
            if of == Lock::Found {
                let _ = std::fs::remove_dir(&dir);
            }
            return Err(StateError::Missing(id.into()));
        }
        Err(e) => return Err(OpError::new("open", path.display().to_string(), e).into()),
    };
    take(&file).op("lock", &path)?;
    // Deleted since. The directory says nothing: there may be a new one of that name.
    if file.metadata().op("look at", &path)?.nlink() == 0 {
        return Err(StateError::Missing(id.into()));
    }
    Ok(Slot { dir, id: id.into(), _lock: file })
}

fn wait_lock(file: &File) -> nix::Result<()> {
    nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLKW(&WHOLE)).map(drop)
}

fn try_lock(file: &File) -> nix::Result<bool> {
    match nix::fcntl::fcntl(file, nix::fcntl::FcntlArg::F_SETLK(&WHOLE)) {
        Ok(_) => Ok(true),
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Another process holds the lock.
fn is_locked(dir: &Path) -> bool {
    let Ok(file) = File::options().write(true).open(dir.join("lock")) else { return false };
    let mut whole = WHOLE;
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_GETLK(&mut whole)).is_ok() && whole.l_type != libc::F_UNLCK as i16
}

/// The record in the directory of a container.
pub(super) fn read(dir: &Path, id: &str) -> Result<Record, StateError> {
    let path = dir.join("state.json");
    match std::fs::read(&path) {
        Ok(json) => serde_json::from_slice(&json).map_err(|source| StateError::Damaged { id: id.into(), source }),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(StateError::Missing(id.into())),
        Err(e) => Err(OpError::new("read", path.display().to_string(), e).into()),
    }
}

/// The group at `path` of this machine.
pub fn group(path: &Path) -> Result<Group, OpError> {
    Ok(Hierarchies::detect(Path::new(CGROUP_MOUNT))?.group(path))
}

impl Slot {
    /// The container's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The FIFO that lets the init go.
    pub fn gate(&self) -> PathBuf {
        self.dir.join("gate")
    }

    /// Lets nobody open the gate, or lets them again. A container that was started has none.
    pub fn bar_gate(&self, barred: bool) -> Result<(), StateError> {
        let gate = self.gate();
        let mode = if barred { GATE & !GATE_OPENS } else { GATE };
        match std::fs::set_permissions(&gate, Permissions::from_mode(mode)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e).op("change the mode of", &gate)?,
            _ => Ok(()),
        }
    }

    /// The FIFO through which the init reports.
    pub fn report(&self) -> PathBuf {
        self.dir.join("report")
    }

    /// The directory that the container shares with whoever listens for its readiness.
    pub fn notify(&self) -> PathBuf {
        self.dir.join("notify")
    }

    /// The record.
    pub fn read(&self) -> Result<Record, StateError> {
        read(&self.dir, &self.id)
    }

    /// What the container is doing.
    pub fn status(&self, record: &Record) -> Result<Status, StateError> {
        Ok(status::status(&self.dir, record)?)
    }

    /// Writes the record, whole or not at all. Nothing is synced: the table dies with the boot.
    pub fn write(&self, record: &Record) -> Result<(), StateError> {
        let (path, new) = (self.dir.join("state.json"), self.dir.join("state.json.new"));
        let json = serde_json::to_vec(record).op("write", &path)?;
        std::fs::write(&new, json).op("write", &new)?;
        std::fs::rename(&new, &path).op("replace", &path)?;
        Ok(())
    }

    /// Keeps the document that the container is made of.
    pub(super) fn keep_document(&self, json: &[u8]) -> Result<(), OpError> {
        let path = self.dir.join("config.json");
        std::fs::write(&path, json).op("write", &path)
    }

    /// Takes the container out of the table. The lock goes last, so that nobody has the directory while it is emptied.
    pub fn remove(self) -> Result<(), StateError> {
        let there = |e: &io::Error| e.kind() != io::ErrorKind::NotFound;
        for entry in std::fs::read_dir(&self.dir).op("list", &self.dir)?.flatten() {
            let path = entry.path();
            let removed = match entry.file_type() {
                _ if entry.file_name() == "lock" => continue,
                Ok(kind) if kind.is_dir() => std::fs::remove_dir_all(&path),
                _ => std::fs::remove_file(&path),
            };
            removed.or_else(|e| if there(&e) { Err(e) } else { Ok(()) }).op("remove", &path)?;
        }
        let lock = self.dir.join("lock");
        std::fs::remove_file(&lock).op("remove", &lock)?;
        Ok(std::fs::remove_dir(&self.dir).op("remove", &self.dir)?)
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
