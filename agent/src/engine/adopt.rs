//! Start is restart: what the store intends and what is found on disk, joined.
//!
//! | row | lock held | `end` | launched | so the task |
//! |---|---|---|---|---|
//! | has an outcome | | | | has ended |
//! | none yet | yes | | | is adopted |
//! | none yet | no | yes | | ended while we were away |
//! | none yet | no | no | yes | lost its shim: swept |
//! | none yet | no | no | no | is begun again, from nothing |

use super::prepare::is_shim_alive;
use super::runner::Begin;
use super::state::exit_outcome;
use crate::store::{ContainerOutcome, Outcome, Row};
use crate::task::Task;
use berth_runtime::errno::{OpError, chain};
use berth_runtime::id::{ContainerName, TaskId};
use berth_runtime::rundir::{Dirs, TaskDirs};
use berth_runtime::shim::facts;
use berth_runtime::task::view::TaskView;

/// Finds out how a task that the store or its record knows goes on.
pub(super) fn examine(dirs: &TaskDirs, row: &Row) -> Result<Begin, OpError> {
    if row.outcome.is_some() {
        return Ok(Begin::Ended);
    }
    let alive = is_shim_alive(dirs)?;
    // A damaged record of the end is no end: the sweep writes another.
    let end = if alive {
        None
    } else {
        facts::read_end(dirs).unwrap_or_else(|e| {
            log_damaged(&e);
            None
        })
    };
    Ok(decide(alive, end, row.launched || dirs.record().exists()))
}

fn log_damaged(error: &OpError) {
    tracing::warn!(err = chain(error), "the record of a task's end is damaged");
}

fn decide(alive: bool, end: Option<TaskView>, launched: bool) -> Begin {
    match (alive, end, launched) {
        (true, _, _) => Begin::Adopted,
        (false, Some(view), _) => Begin::LeftEnd(view),
        (false, None, true) => Begin::Dead,
        (false, None, false) => Begin::Again,
    }
}

/// Removes what an agent left behind that was killed before it had written down whose it is: directories of tasks that
/// nobody knows. None of them can have had a shim, whose record comes first.
pub(super) fn remove_unknown(dirs: &Dirs, is_known: impl Fn(&str) -> bool) {
    for root in [dirs.run_tasks(), dirs.state_tasks()] {
        let Ok(entries) = std::fs::read_dir(&root) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(id) = TaskId::parse(&name) else { continue };
            let task = dirs.task(&id);
            // A record that is not readable is kept for a person to look at.
            if is_known(&name) || task.record().exists() || !matches!(is_shim_alive(&task), Ok(false)) {
                continue;
            }
            tracing::info!(path = %entry.path().display(), "directory of no known task removed");
            if let Err(e) = std::fs::remove_dir_all(entry.path()) {
                tracing::warn!(path = %entry.path().display(), err = %e, "directory of no known task not removed");
            }
        }
    }
}

/// How a task ended of which neither shim nor sweep could write it down, as after a restart of the host: by the exit
/// records of its containers.
pub(super) fn outcome_from_exits(dirs: &TaskDirs, task: &Task, now_ms: u64) -> Outcome {
    let of = |name: &str| -> ContainerOutcome {
        let exit =
            ContainerName::parse(name).ok().and_then(|name| facts::read_exit(&dirs.container(&name)).ok().flatten());
        exit.as_ref().map(exit_outcome).unwrap_or_default()
    };
    let containers: Vec<ContainerOutcome> = task.containers.iter().map(|c| of(&c.name)).collect();
    let last = containers.iter().filter_map(|c| c.finished_at_ms).max();
    let reason = if dirs.plan().exists() {
        "ContainerVanishedError: its shim died and left no record"
    } else {
        "ContainerVanishedError: the host was restarted while it ran"
    };
    Outcome { reason: Some(reason.into()), stopped_at_ms: last.unwrap_or(now_ms), containers }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{NetworkMode, fixtures};
    use berth_runtime::task::view::Phase;

    fn view() -> TaskView {
        TaskView { generation: 0, phase: Phase::Ended, reason: None, containers: vec![], execution_stopped_at_ms: None }
    }

    #[test]
    fn a_live_shim_is_adopted_whatever_else_is_found() {
        assert!(matches!(decide(true, Some(view()), true), Begin::Adopted));
        assert!(matches!(decide(true, None, false), Begin::Adopted));
    }

    #[test]
    fn a_dead_shim_is_swept_only_if_it_may_ever_have_lived() {
        assert!(matches!(decide(false, None, true), Begin::Dead));
        assert!(matches!(decide(false, None, false), Begin::Again));
        assert!(matches!(decide(false, Some(view()), true), Begin::LeftEnd(_)));
    }

    #[test]
    fn only_directories_that_nobody_can_have_wanted_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(dir.path().join("run"), dir.path().join("state"));
        for id in ["known", "unknown", "recorded"] {
            std::fs::create_dir_all(dirs.run_tasks().join(id)).unwrap();
            std::fs::create_dir_all(dirs.state_tasks().join(id)).unwrap();
        }
        std::fs::write(dirs.state_tasks().join("recorded/task.json"), "{").unwrap();
        remove_unknown(&dirs, |id| id == "known");
        for (id, stays) in [("known", true), ("unknown", false), ("recorded", true)] {
            assert_eq!(dirs.run_tasks().join(id).exists(), stays, "{id}");
            assert_eq!(dirs.state_tasks().join(id).exists(), stays, "{id}");
        }
    }

    #[test]
    fn a_task_of_before_the_boot_is_said_to_have_ended_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let dirs = TaskDirs::new(dir.path().join("run"), dir.path().join("state"));
        let task = fixtures::task("t", NetworkMode::None);
        let outcome = outcome_from_exits(&dirs, &task, 7);
        assert_eq!(outcome.stopped_at_ms, 7);
        assert!(outcome.reason.unwrap().contains("host was restarted"));
        assert_eq!(outcome.containers.len(), 1);
    }
}
