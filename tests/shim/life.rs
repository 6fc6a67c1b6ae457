//! Starting, ending and stopping.

use crate::task::{Container, PATIENCE, Task, assert_clean, sh, states};
use berth_runtime::cgroup::limits::Limits;
use berth_runtime::id::ContainerName;
use berth_runtime::rundir::TaskDirs;
use berth_runtime::shim::client::{Client, ClientError};
use berth_runtime::shim::protocol::{FromShim, ToShim};
use berth_runtime::task::plan::Condition;
use berth_runtime::task::view::{ContainerState, OomScope, Phase};
use berth_test_host::{TestHost, eventually};
use nix::sys::signal::{Signal, kill};
use std::path::Path;
use std::time::{Duration, Instant};

/// Runs until it is told to stop, and says so when it is.
const OBEDIENT: &str = "trap 'echo stopping; exit 0' TERM; echo ready; while true; do sleep 1000 & wait $!; done";
/// Deaf to SIGTERM.
const DEAF: &str = "trap '' TERM; echo ready; while true; do sleep 1000 & wait $!; done";

fn stop(timeout_ms: Option<u64>) -> ToShim {
    ToShim::Stop { generation: 1, timeout_ms, reason: "asked by a test".into() }
}

/// The record of an exit cannot be written, and neither can the log that says so.
#[test]
#[ignore = "needs root"]
fn a_task_ends_as_ever_where_nothing_can_be_written() {
    let host = TestHost::new("shim-full");
    let state = host.dir().join("state").join("full");
    let dirs = TaskDirs::new(Path::new("/run/berth/tasks/full"), &state);
    std::fs::create_dir_all(dirs.container(&ContainerName::parse("web").unwrap()).exit().join("in the way")).unwrap();
    std::os::unix::fs::symlink("/dev/full", dirs.shim_log()).unwrap();
    let task = Task::start(&host, "full", vec![sh("web", "exit 3")]);
    let end = task.collect();
    assert_eq!((end.phase, end.containers[0].exit.as_ref().unwrap().code), (Phase::Ended, Some(3)));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn a_task_runs_and_ends_with_its_exit_code_and_nothing_is_left() {
    let host = TestHost::new("shim-one");
    let task = Task::start(&host, "one", vec![sh("web", "echo out; echo err >&2; exit 7")]);
    let end = task.collect();
    assert_eq!(task.shim_log(), "");
    assert_eq!((end.phase, end.containers[0].state), (Phase::Ended, ContainerState::Stopped));
    let exit = end.containers[0].exit.clone().unwrap();
    assert_eq!((exit.code, exit.signal, exit.reason), (Some(7), None, None));
    assert_eq!(end.reason.as_deref(), Some("Essential container in task exited"));
    assert_eq!(task.exit("web").code, Some(7));
    assert_eq!(task.output("web"), "out\nerr\n");
    assert!(!task.is_locked());
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn containers_start_in_the_order_of_their_dependencies_and_stop_in_reverse() {
    let host = TestHost::new("shim-order");
    let containers = vec![
        sh("web", OBEDIENT).after(1, Condition::Success).after(2, Condition::Start),
        sh("migrate", "sleep 0.2").helper(),
        sh("db", OBEDIENT),
    ];
    let task = Task::start(&host, "order", containers);
    let mut client = task.client();
    let view = Task::wait_view(&mut client, |v| v.phase == Phase::Running);
    let [web, migrate, db] = &view.containers[..] else { panic!("{view:?}") };
    let ended = migrate.exit.as_ref().unwrap().finished_at_ms;
    assert!(web.started_at_ms.unwrap() >= ended && web.started_at_ms >= db.started_at_ms);
    task.wait_output("web", "ready");
    task.wait_output("db", "ready");
    client.send(&stop(None)).unwrap();
    let view = Task::wait_view(&mut client, |v| v.containers[0].state == ContainerState::Stopping);
    assert_eq!(view.containers[2].state, ContainerState::Running, "db waits for web");
    let view = Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    let [web, _, db] = &view.containers[..] else { panic!("{view:?}") };
    let (web, db) = (web.exit.clone().unwrap(), db.exit.clone().unwrap());
    assert_eq!((web.code, db.code), (Some(0), Some(0)));
    assert!(db.finished_at_ms >= web.finished_at_ms);
    assert_eq!((view.generation, view.reason.as_deref()), (1, Some("asked by a test")));
    client.send(&ToShim::Collect).unwrap();
    task.wait_end();
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn the_end_of_an_essential_container_ends_the_others() {
    let host = TestHost::new("shim-essential");
    let task = Task::start(&host, "essential", vec![sh("web", "sleep 0.2; exit 3"), sh("side", OBEDIENT).helper()]);
    let end = task.collect();
    assert_eq!(task.exit("web").code, Some(3));
    assert_eq!(task.exit("side").code, Some(0));
    assert!(task.output("side").ends_with("stopping\n"));
    assert_eq!(end.reason.as_deref(), Some("Essential container in task exited"));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn one_that_does_not_stop_is_killed_when_its_time_is_over() {
    let host = TestHost::new("shim-deaf");
    let task = Task::start(&host, "deaf", vec![sh("deaf", DEAF).stop_timeout(300)]);
    task.wait_output("deaf", "ready");
    let mut client = task.client();
    let asked = Instant::now();
    client.send(&stop(None)).unwrap();
    Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    assert!(asked.elapsed() >= Duration::from_millis(300), "{:?}", asked.elapsed());
    let exit = task.exit("deaf");
    assert_eq!((exit.code, exit.signal, exit.oom), (Some(137), Some(9), None));
    client.send(&ToShim::Collect).unwrap();
    task.wait_end();
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn a_second_stop_with_no_time_kills_at_once() {
    let host = TestHost::new("shim-now");
    // Longer than the client waits.
    let deaf = |name| sh(name, DEAF).stop_timeout(600_000);
    let task = Task::start(&host, "now", vec![deaf("a"), deaf("b").after(0, Condition::Start)]);
    let mut client = task.client();
    task.wait_output("a", "ready");
    task.wait_output("b", "ready");
    client.send(&stop(None)).unwrap();
    Task::wait_view(&mut client, |v| v.phase == Phase::Stopping);
    client.send(&stop(Some(0))).unwrap();
    Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    assert_eq!((task.exit("a").signal, task.exit("b").signal), (Some(9), Some(9)));
}

#[test]
#[ignore = "needs root"]
fn a_shim_is_out_of_reach_of_the_terminal_that_its_agent_was_started_at() {
    let host = TestHost::new("shim-session");
    let task = Task::start(&host, "session", vec![sh("web", "sleep 1000")]);
    let mut client = task.client();
    Task::wait_view(&mut client, |v| v.phase == Phase::Running);
    assert_eq!(nix::unistd::getsid(Some(task.shim_pid())).unwrap(), task.shim_pid());
    client.send(&stop(Some(0))).unwrap();
    Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    assert_clean_after(client, &task);
}

#[test]
#[ignore = "needs root"]
fn a_stop_before_anything_runs_lets_nothing_run() {
    let host = TestHost::new("shim-early");
    let task = Task::start(&host, "early", vec![sh("web", "sleep 1000").after(1, Condition::Success), sh("b", DEAF)]);
    let mut client = task.client();
    client.send(&stop(Some(0))).unwrap();
    let view = Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    let web = &view.containers[0];
    assert_eq!((web.started_at_ms, web.exit.as_ref().unwrap().code), (None, None));
    assert!(!task.container("web").log().exists());
    assert_clean_after(client, &task);
}

fn assert_clean_after(mut client: Client, task: &Task<'_>) {
    client.send(&ToShim::Collect).unwrap();
    task.wait_end();
    assert_clean(task.host);
}

#[test]
#[ignore = "needs root"]
fn sigterm_to_the_shim_stops_the_task_with_its_own_time_outs() {
    let host = TestHost::new("shim-sigterm");
    let task = Task::start(&host, "sigterm", vec![sh("web", OBEDIENT)]);
    task.wait_output("web", "ready");
    let client = task.client();
    host.run("kill", &[&client.pid.to_string()]);
    let end = task.collect();
    assert_eq!(task.output("web"), "ready\nstopping\n");
    assert_eq!(end.reason.as_deref(), Some("the host stops its tasks"));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn a_container_past_its_own_limit_is_killed_and_the_limit_is_named() {
    let host = TestHost::new("shim-oom");
    let task = Task::start(&host, "oom", vec![sh("web", "tail /dev/zero").memory(32 << 20)]);
    task.collect();
    let exit = task.exit("web");
    assert_eq!(exit.code, Some(137));
    let oom = exit.oom.unwrap();
    assert_eq!((oom.scope, oom.limit_bytes), (OomScope::Container, 32 << 20));
    assert!(exit.reason.unwrap().starts_with("OutOfMemoryError: Container killed due to memory usage"));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn a_container_below_its_own_limit_can_hit_the_tasks() {
    let host = TestHost::new("shim-oom-task");
    let limits = Limits { memory_bytes: Some(32 << 20), swap_bytes: Some(0), ..Limits::default() };
    let task = Task::start_with(&host, "oom", limits, vec![sh("web", "tail /dev/zero").memory(256 << 20)]);
    task.collect();
    let oom = task.exit("web").oom.unwrap();
    assert_eq!((oom.scope, oom.limit_bytes), (OomScope::Task, 32 << 20));
}

#[test]
#[ignore = "needs root"]
fn a_childs_death_for_want_of_memory_is_no_end() {
    let host = TestHost::new("shim-oom-child");
    let script = "tail /dev/zero; echo child $?; exit 0";
    let task = Task::start(&host, "oom", vec![sh("web", script).memory(32 << 20)]);
    task.collect();
    let exit = task.exit("web");
    assert_eq!((exit.code, exit.oom), (Some(0), None));
    assert!(task.output("web").contains("child 137"));
}

#[test]
#[ignore = "needs root"]
fn a_program_that_is_not_there_is_told_by_name_and_nothing_is_left() {
    let host = TestHost::new("shim-missing");
    let task = Task::start(&host, "missing", vec![Container::new("web", &["/bin/nothing"])]);
    let end = task.collect();
    let exit = task.exit("web");
    assert_eq!(exit.code, Some(127));
    let reason = exit.reason.unwrap();
    assert!(reason.starts_with("CannotStartContainerError") && reason.contains("/bin/nothing"), "{reason}");
    assert_eq!(end.reason, Some(reason));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn containers_that_wait_for_each_other_are_refused() {
    let host = TestHost::new("shim-circle");
    let containers = vec![sh("a", "true").after(1, Condition::Start), sh("b", "true").after(0, Condition::Start)];
    let task = Task::start(&host, "circle", containers);
    let end = task.collect();
    assert!(end.reason.unwrap().contains("Task dependencies cannot be resolved"));
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn with_nobody_connected_a_task_ends_all_the_same() {
    let host = TestHost::new("shim-alone");
    let task = Task::start(&host, "alone", vec![sh("web", "echo ran")]);
    let end = task.wait_end();
    assert_eq!((end.phase, task.exit("web").code), (Phase::Ended, Some(0)));
    assert_eq!(task.output("web"), "ran\n");
    assert!(matches!(Client::connect(&task.seen.socket()), Err(ClientError::Connect { .. })));
    assert!(!task.is_locked());
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn stats_tell_of_containers_that_run() {
    let host = TestHost::new("shim-stats");
    let task = Task::start(&host, "stats", vec![sh("web", OBEDIENT).memory(64 << 20)]);
    task.wait_output("web", "ready");
    let mut client = task.client();
    client.send(&ToShim::Stats { id: 5 }).unwrap();
    let stats = loop {
        if let FromShim::Stats { id: 5, containers } = client.receive().unwrap() {
            break containers;
        }
    };
    assert_eq!((stats[0].name.as_str(), stats[0].memory_limit_bytes), ("web", Some(64 << 20)));
    assert!(stats[0].pids >= 2 && stats[0].cpu_ns > 0 && stats[0].memory_bytes > 0, "{stats:?}");
    client.send(&ToShim::Signal { container: "web".into(), signal: 15 }).unwrap();
    Task::wait_view(&mut client, |v| v.phase == Phase::Ended);
    assert_eq!(task.output("web"), "ready\nstopping\n");
}

#[test]
#[ignore = "needs root"]
fn output_of_many_megabytes_is_all_in_the_log() {
    let host = TestHost::new("shim-output");
    let task = Task::start(&host, "output", vec![sh("web", "yes 0123456789 | head -n 300000; printf end")]);
    task.collect();
    let text = task.output("web");
    assert_eq!(text.lines().count(), 300_001);
    assert!(text.ends_with("0123456789\nend"));
}

#[test]
#[ignore = "needs root"]
fn a_hundred_tasks_run_beside_each_other() {
    let host = TestHost::new("shim-hundred");
    let tasks: Vec<Task<'_>> =
        (0..100).map(|n| Task::start(&host, &format!("t{n}"), vec![sh("web", OBEDIENT)])).collect();
    let mut clients: Vec<Client> = tasks.iter().map(Task::client).collect();
    for client in &mut clients {
        let view = Task::wait_view(client, |v| v.phase == Phase::Running);
        assert_eq!(states(&view), [ContainerState::Running]);
    }
    for client in &mut clients {
        client.send(&stop(Some(5_000))).unwrap();
    }
    for (client, task) in clients.iter_mut().zip(&tasks) {
        Task::wait_view(client, |v| v.phase == Phase::Ended);
        // On a slow machine it has gone by itself before its turn comes.
        let _ = client.send(&ToShim::Collect);
        task.wait_end();
    }
    assert_clean(&host);
}

#[test]
#[ignore = "needs root"]
fn a_shim_at_rest_does_not_wake_up() {
    let host = TestHost::new("shim-rest");
    let task = Task::start(&host, "rest", vec![sh("web", OBEDIENT)]);
    task.wait_output("web", "ready");
    drop(task.client());
    let pid = task.shim_pid();
    let switches = || -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|l| l.starts_with("voluntary_ctxt_switches")).unwrap().to_owned();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    // It has said good-bye to the client above when two readings are the same.
    eventually("the shim to rest", PATIENCE, || {
        let before = switches();
        std::thread::sleep(Duration::from_millis(100));
        (switches() == before).then_some(())
    });
    let before = switches();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(switches(), before);
    kill(pid, Signal::SIGTERM).unwrap();
    task.wait_end();
}
