//! What dead tasks left behind.
//!
//! A task is alive while its shim listens. The proof is the lock that the shim holds, but taking it to see whether it
//! is free would look, to an agent that starts in that moment, like a shim that lives; so the socket is asked.

use super::{Finding, Host};
use crate::cli::text;
use berth_runtime::cgroup::Hierarchies;
use berth_runtime::id::TaskId;
use std::collections::BTreeSet;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::Path;

const TOPIC: &str = "leftovers";

/// How many names are shown; more are counted.
const SHOWN: usize = 3;

pub(super) fn check(host: &Host) -> Vec<Finding> {
    let dead = match dead_tasks(host) {
        Ok(dead) => dead,
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            return vec![Finding::warn(TOPIC, "only root may look at the run directory", "run this as root")];
        }
        Err(e) => {
            let found = format!("read `{}`: {e}", host.dirs.run_tasks().display());
            return vec![Finding::bad(TOPIC, found, "see why the run directory cannot be read")];
        }
    };
    let mut findings = Vec::new();
    if !dead.is_empty() {
        findings.push(Finding::bad(
            TOPIC,
            format!("{} whose shim is gone: {}", text::count(dead.len(), "task"), names(&dead)),
            match host.agent_runs {
                true => "the agent removes them; if they stay for more than a minute, see its log",
                false => "start the agent: it ends and removes them, and says so in `berth ps -a`",
            },
        ));
    }
    let orphans = orphaned_groups(host);
    if !orphans.is_empty() {
        findings.push(Finding::bad(
            TOPIC,
            format!("{} without a task: {}", text::count(orphans.len(), "control group"), names(&orphans)),
            "start the agent: it removes them",
        ));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(TOPIC, "none"));
    }
    findings
}

fn names(all: &BTreeSet<String>) -> String {
    let mut shown: Vec<_> = all.iter().take(SHOWN).map(|id| text::short_id(id).to_owned()).collect();
    if all.len() > SHOWN {
        shown.push(format!("{} more", all.len() - SHOWN));
    }
    shown.join(", ")
}

/// Tasks with a run directory that nobody listens for.
fn dead_tasks(host: &Host) -> io::Result<BTreeSet<String>> {
    let entries = match std::fs::read_dir(host.dirs.run_tasks()) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
        Err(e) => return Err(e),
    };
    let mut dead = BTreeSet::new();
    for entry in entries {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if let Ok(id) = TaskId::parse(&name)
            && !listens(&host.dirs.task(&id).socket())
        {
            dead.insert(name);
        }
    }
    Ok(dead)
}

fn listens(socket: &Path) -> bool {
    match UnixStream::connect(socket) {
        Ok(_) => true,
        // A backlog that is full is somebody's.
        Err(e) => !matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused),
    }
}

/// Groups of tasks that have no run directory.
fn orphaned_groups(host: &Host) -> BTreeSet<String> {
    let Ok(hierarchies) = Hierarchies::detect(&host.path("/sys/fs/cgroup")) else { return BTreeSet::new() };
    let tasks = hierarchies.group(format!("{}/tasks", host.cgroup_parent));
    let children = tasks.dirs().into_iter().filter_map(|dir| std::fs::read_dir(dir).ok()).flatten().flatten();
    children
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| TaskId::parse(name).is_ok_and(|id| !host.dirs.task(&id).run().exists()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::super::testing::host;
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_task_is_alive_while_somebody_listens_for_it() {
        let (dir, host) =
            host(&[("run/tasks/dead/lock", ""), ("run/tasks/alive/lock", ""), ("run/tasks/killed/lock", "")]);
        drop(UnixListener::bind(dir.path().join("run/tasks/killed/sock")).unwrap());
        let _shim = UnixListener::bind(dir.path().join("run/tasks/alive/sock")).unwrap();
        assert_eq!(dead_tasks(&host).unwrap(), BTreeSet::from(["dead".to_owned(), "killed".to_owned()]));
        let finding = check(&host).remove(0);
        assert_eq!((finding.level, finding.found.as_str()), (Level::Bad, "2 tasks whose shim is gone: dead, killed"));
    }

    #[test]
    fn a_node_that_never_ran_has_nothing_left_over() {
        assert_eq!(check(&host(&[]).1), [Finding::ok("leftovers", "none")]);
    }

    #[test]
    fn many_names_are_counted() {
        let all: BTreeSet<String> = ["a", "b", "c", "d", "e"].map(str::to_owned).into();
        assert_eq!(names(&all), "a, b, c, 2 more");
    }
}
