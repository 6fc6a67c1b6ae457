//! A machine that runs systemd, with berth and its two units installed as an operator would: only here can be seen what
//! systemd does to tasks when it restarts, kills or stops a unit, and what podman, dockerd, containerd and the runtime make
//! of its scopes.
//!
//! The machine is the guest of the VM tier (`scripts/test vm`), which installs the units before it boots; the tests share
//! it and so take turns.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

mod containerd;
mod docker;
mod engine;
mod podman;
mod scope;

use berth_test_host::{eventually, fixture, output, run};
use serde_json::Value;
use std::fs;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex, MutexGuard};
use std::time::Duration;

/// Generous: the guest is emulated.
const PATIENCE: Duration = Duration::from_secs(120);
const REGISTRY: &str = "127.0.0.1:5000";

/// The machine, for one test at a time. The registry lives as long as the test process.
static MACHINE: LazyLock<Mutex<Child>> = LazyLock::new(|| {
    let config = std::env::temp_dir().join("registry.json");
    let storage = serde_json::json!({
        "filesystem": { "rootdirectory": fixture("registry") },
        "maintenance": { "readonly": { "enabled": true } },
    });
    let text = serde_json::json!({
        "version": "0.1", "log": { "level": "error", "accesslog": { "disabled": true } },
        "storage": storage, "http": { "addr": REGISTRY },
    });
    fs::write(&config, text.to_string()).unwrap();
    let quiet = || Stdio::null();
    let mut command = Command::new("docker-registry");
    let registry = command.arg("serve").arg(config).stdin(quiet()).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    eventually("the registry to answer", PATIENCE, || {
        let answer = output(Command::new("curl").args(["-sf", &format!("http://{REGISTRY}/v2/")]));
        answer.status.success().then_some(())
    });
    Mutex::new(registry)
});

/// The machine with the agent's unit started.
fn machine() -> MutexGuard<'static, Child> {
    let machine = MACHINE.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    systemctl(&["start", "berth.service"]);
    machine
}

fn systemctl(args: &[&str]) {
    let done = output(Command::new("systemctl").args(args));
    if !done.status.success() {
        let units = ["-n60", "--no-pager", "-uberth*", "-udocker", "-ucontainerd"];
        let journal = run(Command::new("journalctl").args(units));
        panic!("systemctl {args:?}: {}\n{journal}", String::from_utf8_lossy(&done.stderr));
    }
}

fn berth(args: &[&str]) -> String {
    run(Command::new("/usr/bin/berth").args(args).stdin(Stdio::null()))
}

/// Starts a task of one container in the background; its id.
fn start_task(name: &str, script: &str) -> String {
    let image = format!("{REGISTRY}/busybox");
    berth(&["run", "--detach", "--name", name, "--network", "none", "--memory", "16", &image, "sh", "-c", script])
        .trim()
        .to_owned()
}

fn task(id: &str) -> Value {
    let view: Value = serde_json::from_str(&berth(&["inspect", "--json", id])).unwrap();
    if view.is_array() { view[0].clone() } else { view }
}

/// Pid and start time of the one process with that command line.
fn process(words: &str) -> Option<(u32, String)> {
    process_where(|line| line == words)
}

/// The shim of a task.
fn shim(id: &str) -> Option<(u32, String)> {
    process_where(|line| line.contains(" shim ") && line.contains(id))
}

fn process_where(matches: impl Fn(&str) -> bool) -> Option<(u32, String)> {
    let found = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(entry.path().join("cmdline")).ok()?.replace('\0', " ");
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // After the name in parentheses the start time is field 22 - 2.
        let start = stat.rsplit(") ").next()?.split(' ').nth(19)?.to_owned();
        matches(line.trim_end()).then_some((pid, start))
    });
    let found: Vec<_> = found.collect();
    assert!(found.len() < 2, "more than one process: {found:?}");
    found.into_iter().next()
}

/// The unit whose control group a process is in.
fn unit(pid: u32) -> String {
    let path = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    path.trim().split('/').find(|part| part.ends_with(".service")).unwrap_or_default().to_owned()
}

fn main_pid() -> String {
    run(Command::new("systemctl").args(["show", "-p", "MainPID", "--value", "berth.service"])).trim().to_owned()
}

fn is_running(id: &str) -> bool {
    let view = output(Command::new("/usr/bin/berth").args(["inspect", "--json", id]));
    let text = String::from_utf8_lossy(&view.stdout).into_owned();
    view.status.success() && text.contains("\"RUNNING\"")
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn tasks_live_in_their_own_unit_and_a_restart_of_the_agents_leaves_them_running() {
    let _machine = machine();
    let id = start_task("restarted", "exec sleep 11111");
    let before = process("sleep 11111").expect("the task runs");
    let kept_by = shim(&id).or_else(|| process(&id)).expect("it has a shim");
    assert_eq!(unit(before.0), "berth-tasks.service");
    assert_eq!(unit(kept_by.0), "berth-tasks.service");
    let agent = main_pid();
    assert_eq!(unit(agent.parse().unwrap()), "berth.service");
    systemctl(&["restart", "berth.service"]);
    assert_ne!(main_pid(), agent);
    eventually("the new agent to show the task", PATIENCE, || is_running(&id).then_some(()));
    assert_eq!(process("sleep 11111"), Some(before), "the same process all along");
    berth(&["stop", "--time", "0", &id]);
    assert_eq!(process("sleep 11111"), None);
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn an_agent_that_is_killed_is_started_again_and_its_tasks_never_stop() {
    let _machine = machine();
    let id = start_task("killed", "exec sleep 22222");
    let (before, agent) = (process("sleep 22222").expect("the task runs"), main_pid());
    run(Command::new("kill").args(["-9", &agent]));
    eventually("systemd to start another agent", PATIENCE, || {
        let now = main_pid();
        (now != agent && now != "0").then_some(())
    });
    eventually("the new agent to show the task", PATIENCE, || is_running(&id).then_some(()));
    assert_eq!(process("sleep 22222"), Some(before));
    berth(&["stop", "--time", "0", &id]);
}

#[test]
#[ignore = "needs systemd with berth's units"]
fn stopping_the_tasks_unit_lets_tasks_end_in_their_own_way_without_an_agent() {
    let _machine = machine();
    let id = start_task("stopped", "trap 'exit 7' TERM; sleep 33333 & wait");
    eventually("the task's child", PATIENCE, || process("sleep 33333"));
    systemctl(&["stop", "berth.service"]);
    assert!(process("sleep 33333").is_some(), "the agent's end is not the task's");
    systemctl(&["stop", "berth-tasks.service"]);
    assert_eq!(process("sleep 33333"), None);
    assert_eq!(shim(&id), None);
    systemctl(&["start", "berth.service"]);
    eventually("the agent to tell of the end", PATIENCE, || (!is_running(&id)).then_some(()));
    assert_eq!(task(&id)["containers"][0]["exitCode"], 7, "it was asked, not killed");
}
