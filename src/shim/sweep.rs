//! Ends a task whose shim is dead: kills what is left of it, removes what was made for it, and records how it ended.
//!
//! Run by the agent when it has found the task's lock free, and holding it. Idempotent: whatever was done before,
//! by the shim or by a sweep that was itself killed, is found done. The `end` fact comes last, so that a task with one
//! needs no sweep.

use super::clock::wall_ns;
use super::facts;
use super::worker::{find_task_group, tear_down};
use crate::errno::{OpContext, OpError};
use crate::id::ContainerName;
use crate::rundir::TaskDirs;
use crate::sys::pidfd::Ended;
use crate::task::plan::TaskPlan;
use crate::task::view::{ContainerState, ContainerView, ExitRecord, Phase, TaskView};
use std::io;

/// Why a task was ended that nobody asked to stop.
pub const SHIM_DIED: &str = "the task's shim died";

/// Ends the task in `dirs` because of `reason`. Problems of the removal are returned, all of them, and then no end is
/// recorded: the next sweep goes on. Without a plan there was never anything to remove.
pub fn sweep(dirs: &TaskDirs, reason: &str) -> Result<(), Vec<OpError>> {
    if facts::read_end(dirs).is_ok_and(|end| end.is_some()) {
        return Ok(());
    }
    std::fs::create_dir_all(dirs.state()).op("create", dirs.state()).map_err(|e| vec![e])?;
    let plan = match facts::read_plan(dirs) {
        Ok(plan) => Some(plan),
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => None,
        Err(e) => return Err(vec![e]),
    };
    let containers = match &plan {
        Some(plan) => end_containers(dirs, plan, reason)?,
        None => Vec::new(),
    };
    let execution_stopped_at_ms = containers.iter().filter_map(|c| Some(c.exit.as_ref()?.finished_at_ms)).max();
    let view = TaskView {
        generation: 0,
        phase: Phase::Ended,
        reason: Some(reason.to_owned()),
        containers,
        execution_stopped_at_ms,
    };
    facts::write_end(dirs, &view).map_err(|e| vec![e])?;
    // Whoever asks now finds the end on disk.
    let _ = std::fs::remove_file(dirs.socket());
    Ok(())
}

fn end_containers(dirs: &TaskDirs, plan: &TaskPlan, reason: &str) -> Result<Vec<ContainerView>, Vec<OpError>> {
    let group = find_task_group(plan).map_err(|e| vec![e])?;
    // Read before anything is killed or removed.
    let begun: Vec<bool> = plan.containers.iter().map(|c| has_begun(dirs, &c.name)).collect();
    let alive: Vec<bool> = plan.containers.iter().map(|c| group.child(&c.name).populated().unwrap_or(false)).collect();
    let mut problems = tear_down(plan, dirs, &group);
    let mut views = Vec::with_capacity(plan.containers.len());
    for ((container, begun), alive) in plan.containers.iter().zip(begun).zip(alive) {
        match end_of(dirs, &container.name, begun, alive, reason) {
            Ok(exit) => views.push(ContainerView {
                name: container.name.clone(),
                state: ContainerState::Stopped,
                pid: None,
                started_at_ms: None,
                exit: Some(exit),
            }),
            Err(e) => problems.push(e),
        }
    }
    if problems.is_empty() { Ok(views) } else { Err(problems) }
}

fn has_begun(dirs: &TaskDirs, name: &str) -> bool {
    let Ok(name) = ContainerName::parse(name) else { return false };
    facts::read_init(&dirs.container(&name)).is_ok_and(|init| init.is_some())
}

/// The container's exit record: the one there is, or one that says what is known.
fn end_of(dirs: &TaskDirs, name: &str, begun: bool, alive: bool, reason: &str) -> Result<ExitRecord, OpError> {
    let name = ContainerName::parse(name)
        .map_err(|e| OpError::new("read plan of", name, io::Error::new(io::ErrorKind::InvalidData, e)))?;
    let dirs = dirs.container(&name);
    if let Ok(Some(record)) = facts::read_exit(&dirs) {
        return Ok(record);
    }
    // A container that still ran was killed just now. How one ended that had begun and is gone nobody can know: its
    // parent, who would have been told, was dead.
    let killed = Ended::Signal(libc::SIGKILL);
    let (code, signal) = if alive { (Some(killed.shell_code()), Some(libc::SIGKILL)) } else { (None, None) };
    let told = if begun || alive { reason.to_owned() } else { format!("{reason} before this container began") };
    let record = ExitRecord { code, signal, oom: None, reason: Some(told), finished_at_ms: wall_ns() / 1_000_000 };
    std::fs::create_dir_all(dirs.state()).op("create", dirs.state())?;
    facts::write_exit(&dirs, &record)?;
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_without_a_plan_just_ends_and_a_second_sweep_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path().join("run"), dir.path().join("state"));
        sweep(&dirs, SHIM_DIED).unwrap();
        let end = facts::read_end(&dirs).unwrap().unwrap();
        assert_eq!((end.phase, end.reason.as_deref()), (Phase::Ended, Some(SHIM_DIED)));
        sweep(&dirs, "another reason").unwrap();
        assert_eq!(facts::read_end(&dirs).unwrap().unwrap(), end);
    }

    #[test]
    fn a_plan_that_cannot_be_read_is_not_taken_for_none() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path(), dir.path());
        std::fs::write(dirs.plan(), [1]).unwrap();
        assert_eq!(sweep(&dirs, SHIM_DIED).unwrap_err().len(), 1);
        assert_eq!(facts::read_end(&dirs).unwrap(), None);
    }
}
