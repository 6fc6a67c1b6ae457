//! Facts: small files that the shim writes and the agent reads, and the plan that goes the other way.
//!
//! | file | what | dies with |
//! |---|---|---|
//! | `RUN/tasks/TASK/plan` | [`TaskPlan`], by the agent before it starts the shim | the boot |
//! | `RUN/tasks/TASK/c/NAME/init` | [`InitFact`], before anything of the user's runs | the boot |
//! | `STATE/tasks/TASK/c/NAME/exit` | [`ExitRecord`], before the end is told to anybody | nothing |
//! | `STATE/tasks/TASK/end` | the last [`TaskView`], when nothing of the task is left | nothing |
//!
//! Each is a `u32` version, then the value in [`crate::codec`]; a plan carries its version itself. Files appear whole or
//! not at all: they are written beside their name and renamed. Those of the state directory are synced, file and
//! directory, before the write returns.

use crate::codec::{Codec, DecodeError, Reader};
use crate::errno::{OpContext, OpError};
use crate::rundir::{ContainerDirs, TaskDirs};
use crate::struct_codec;
use crate::sys::procfs;
use crate::task::plan::{PLAN_VERSION, TaskPlan};
use crate::task::view::{ExitRecord, TaskView};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// The version of every fact's binary form but the plan's.
pub const FACT_VERSION: u32 = 1;

/// Which process is a container's init. With the start time and the boot, a process id names one process for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InitFact {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// Field 22 of `/proc/PID/stat`: clock ticks since the boot.
    pub start_time: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: String,
}
struct_codec!(InitFact { pid, start_time, boot_id });

impl InitFact {
    /// The fact of the process `pid`, which must be alive and not reaped.
    pub fn of(pid: u32) -> Result<Self, OpError> {
        let path = format!("/proc/{pid}/stat");
        let stat = procfs::read(&path).op("read", &path)?;
        let start_time =
            start_time(&stat).ok_or_else(|| OpError::new("read start time in", &path, io::ErrorKind::InvalidData))?;
        let path = "/proc/sys/kernel/random/boot_id";
        let boot_id = fs::read_to_string(path).op("read", path)?;
        Ok(Self { pid, start_time, boot_id: boot_id.trim_end().to_owned() })
    }
}

/// Field 22 of proc_pid_stat(5).
fn start_time(stat: &str) -> Option<u64> {
    procfs::stat_fields(stat)?.nth(19)?.parse().ok()
}

/// Writes the task's plan. The task's run directory must exist.
pub fn write_plan(dirs: &TaskDirs, plan: &TaskPlan) -> Result<(), OpError> {
    write(&dirs.plan(), &plan.to_bytes(), Keep::WithTheBoot)
}

/// Reads the task's plan; refuses one of another version.
pub fn read_plan(dirs: &TaskDirs) -> Result<TaskPlan, OpError> {
    let path = dirs.plan();
    let bytes = fs::read(&path).op("read plan", &path)?;
    let version = u32::decode(&mut Reader::new(&bytes)).map_err(|e| invalid("read plan", &path, e))?;
    if version != PLAN_VERSION {
        let problem = format!("version {version}, this program knows {PLAN_VERSION}");
        return Err(OpError::new("read plan", path.display().to_string(), io::Error::other(problem)));
    }
    TaskPlan::from_bytes(&bytes).map_err(|e| invalid("read plan", &path, e))
}

/// Writes which process is the container's init.
pub fn write_init(dirs: &ContainerDirs, fact: &InitFact) -> Result<(), OpError> {
    write(&dirs.init(), &with_version(fact), Keep::WithTheBoot)
}

/// Reads which process is the container's init; `None` when none has been started.
pub fn read_init(dirs: &ContainerDirs) -> Result<Option<InitFact>, OpError> {
    read(&dirs.init())
}

/// Writes durably how the container ended.
pub fn write_exit(dirs: &ContainerDirs, record: &ExitRecord) -> Result<(), OpError> {
    write(&dirs.exit(), &with_version(record), Keep::ForEver)
}

/// Reads how the container last ended; `None` when that has not been recorded.
pub fn read_exit(dirs: &ContainerDirs) -> Result<Option<ExitRecord>, OpError> {
    read(&dirs.exit())
}

/// Writes durably that the task has ended and nothing of it is left.
pub fn write_end(dirs: &TaskDirs, view: &TaskView) -> Result<(), OpError> {
    write(&dirs.end(), &with_version(view), Keep::ForEver)
}

/// Reads the last view of a task that has ended and is torn down; `None` when that has not been recorded.
pub fn read_end(dirs: &TaskDirs) -> Result<Option<TaskView>, OpError> {
    read(&dirs.end())
}

fn with_version<T: Codec>(value: &T) -> Vec<u8> {
    let mut bytes = FACT_VERSION.to_bytes();
    value.encode(&mut bytes);
    bytes
}

fn read<T: Codec>(path: &Path) -> Result<Option<T>, OpError> {
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other.op("read", path)?,
    };
    let (version, value) = bytes.split_first_chunk::<4>().ok_or(()).map_err(|()| {
        OpError::new("read", path.display().to_string(), io::Error::from(io::ErrorKind::UnexpectedEof))
    })?;
    let version = u32::from_le_bytes(*version);
    if version != FACT_VERSION {
        let problem = format!("version {version}, this program knows {FACT_VERSION}");
        return Err(OpError::new("read", path.display().to_string(), io::Error::other(problem)));
    }
    T::from_bytes(value).map(Some).map_err(|e| invalid("read", path, e))
}

fn invalid(op: &'static str, path: &Path, e: DecodeError) -> OpError {
    OpError::new(op, path.display().to_string(), io::Error::new(io::ErrorKind::InvalidData, e))
}

/// What a file must outlive.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keep {
    /// Nothing but its writer.
    WithTheBoot,
    /// A loss of power right after the write.
    ForEver,
}

fn write(path: &Path, bytes: &[u8], keep: Keep) -> Result<(), OpError> {
    let beside = path.with_extension("new");
    let mut file = File::create(&beside).op("create", &beside)?;
    file.write_all(bytes).op("write", &beside)?;
    if keep == Keep::ForEver {
        file.sync_data().op("sync", &beside)?;
    }
    fs::rename(&beside, path).op("rename to", path)?;
    if keep == Keep::ForEver {
        let directory = path.parent().unwrap_or(Path::new("/"));
        File::open(directory).and_then(|d| d.sync_all()).op("sync", directory)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ContainerName;

    #[test]
    fn the_start_time_is_found_behind_any_name() {
        let mut stat = "42 (a) b) (c) S".to_owned();
        for n in 4..30 {
            stat.push_str(&format!(" {n}"));
        }
        assert_eq!(start_time(&stat), Some(22));
        assert_eq!(start_time("42 (x) S 1 2"), None);
    }

    #[test]
    fn a_process_has_one_fact_for_life() {
        let fact = InitFact::of(std::process::id()).unwrap();
        assert_eq!(InitFact::of(std::process::id()).unwrap(), fact);
        assert_eq!((fact.pid, fact.boot_id.len()), (std::process::id(), 36));
        assert!(fact.start_time > 0);
    }

    #[test]
    fn facts_are_read_as_written_and_absent_ones_are_none() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path(), dir.path());
        let c = dirs.container(&ContainerName::parse("web").unwrap());
        assert_eq!(read_exit(&c).unwrap(), None);
        fs::create_dir_all(c.state()).unwrap();
        let record = ExitRecord { code: Some(3), signal: None, oom: None, reason: None, finished_at_ms: 7 };
        write_exit(&c, &record).unwrap();
        assert_eq!(read_exit(&c).unwrap(), Some(record));
        assert!(!c.exit().with_extension("new").exists());
    }

    #[test]
    fn a_plan_of_another_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path(), dir.path());
        fs::write(dirs.plan(), 999u32.to_bytes()).unwrap();
        let e = read_plan(&dirs).unwrap_err();
        assert!(crate::errno::chain(&e).contains("version 999, this program knows 2"), "{e}");
    }
}
