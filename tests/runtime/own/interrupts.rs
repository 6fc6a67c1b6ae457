//! Interrupts, and what they leave behind.

use crate::bundle::{Bundle, PATIENCE};
use berth_test_host::{Running, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use std::io::Read;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

/// The processes in the group of container `c`.
fn in_group(bundle: &Bundle) -> usize {
    let procs = bundle.host.controller("freezer", "berth-runtime-c").join("cgroup.procs");
    std::fs::read_to_string(procs).unwrap().lines().count()
}

fn wait_in_group(bundle: &Bundle, n: usize) {
    eventually(&format!("{n} processes in the group"), PATIENCE, || (in_group(bundle) == n).then_some(()));
}

/// Starts a command that says nothing.
fn spawn(bundle: &Bundle, command: &mut Command) -> Running {
    bundle.host.spawn(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()))
}

/// The process that strace has started first.
fn traced(strace: &Running) -> Option<Pid> {
    first_child(strace.pid() as i32).map(Pid::from_raw)
}

fn first_child(pid: i32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).ok()?;
    Some(children.split_whitespace().next()?.parse().unwrap())
}

/// strace makes the steps last: the go-between enters late, and learns late of the process that it has made, when the
/// interrupt is there already.
#[test]
#[ignore = "needs root"]
fn a_process_that_only_the_go_between_knows_does_not_run_when_exec_is_interrupted() {
    let mut bundle = Bundle::new("rt-exec-early");
    bundle.started();
    let before = in_group(&bundle);
    let mut strace = bundle.host.command("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=clone3,setns"]);
    strace.args(["-e", "inject=clone3:delay_exit=2000000:when=1", "-e", "inject=setns:delay_enter=1000000:when=1"]);
    strace.arg(berth_test_host::berth_runtime()).args(["--root", "/run/runtime", "exec", "c"]);
    strace.args(["sh", "-c", "echo > /data/ran; exec sleep 1000"]);
    let mut exec = spawn(&bundle, &mut strace);
    wait_in_group(&bundle, before + 2);
    kill(traced(&exec).unwrap(), Signal::SIGINT).unwrap();
    assert_eq!(exec.wait(PATIENCE).code(), Some(255));
    wait_in_group(&bundle, before);
    assert!(!bundle.rootfs().join("data/ran").exists());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_exec_into_a_paused_container_ends_when_it_is_interrupted() {
    let mut bundle = Bundle::new("rt-exec-paused");
    bundle.started();
    let before = in_group(&bundle);
    bundle.verb(&["pause", "c"]).ok();
    let mut command = bundle.runtime();
    command.args(["exec", "--ignore-paused", "c", "sh", "-c", "echo > /data/ran"]);
    let mut exec = spawn(&bundle, &mut command);
    wait_in_group(&bundle, before + 1);
    exec.signal(Signal::SIGINT);
    assert_eq!(exec.wait(PATIENCE).code(), Some(255));
    bundle.verb(&["resume", "c"]).ok();
    wait_in_group(&bundle, before);
    assert!(!bundle.rootfs().join("data/ran").exists());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_run_that_waits_for_systemd_ends_when_it_is_interrupted() {
    let mut bundle = Bundle::new("rt-systemd-silent");
    bundle.config["linux"]["cgroupsPath"] = json!("-.slice:berth:silent");
    bundle.script("true").write();
    let socket = bundle.host.outside("/run/systemd/private");
    std::fs::create_dir_all(socket.parent().unwrap()).unwrap();
    let systemd = UnixListener::bind(socket).unwrap();
    let mut command = bundle.runtime();
    command.args(["--systemd-cgroup", "run", "--bundle"]).arg(bundle.dir()).arg("c");
    let errors = std::fs::File::create(bundle.host.dir().join("errors")).unwrap();
    let mut run = bundle.host.spawn(command.stdout(Stdio::null()).stderr(errors));
    let (mut connection, _) = systemd.accept().unwrap();
    connection.read_exact(&mut [0]).unwrap();
    run.signal(Signal::SIGTERM);
    assert_eq!(run.wait(PATIENCE).code(), Some(1));
    let said = std::fs::read_to_string(bundle.host.dir().join("errors")).unwrap();
    assert!(said.contains("authenticate to `systemd`: interrupted by a signal"), "{said}");
    assert!(bundle.verb(&["state", "c"]).stderr.contains("does not exist"));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_run_whose_go_between_hangs_ends_when_it_is_interrupted() {
    let mut bundle = Bundle::new("rt-staged-hangs");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    bundle.config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 60}});
    bundle.script("true").write();
    let mut strace = bundle.host.command("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=setns"]);
    strace.args(["-e", "inject=setns:delay_enter=60000000:when=1"]);
    strace.arg(berth_test_host::berth_runtime()).args(["--root", "/run/runtime", "run", "--bundle"]);
    let mut strace = strace.arg(bundle.dir()).arg("c");
    let errors = std::fs::File::create(bundle.host.dir().join("errors")).unwrap();
    strace = strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
    let run = bundle.host.spawn(strace);
    let runtime = eventually("the go-between", PATIENCE, || {
        let runtime = traced(&run)?;
        first_child(runtime.as_raw()).map(|_| runtime)
    });
    kill(runtime, Signal::SIGTERM).unwrap();
    let gone = || (!std::path::Path::new(&format!("/proc/{runtime}")).exists()).then_some(());
    eventually("the runtime to end", PATIENCE, gone);
    // strace may hold the killed go-between for as long as it delays it.
    drop(run);
    let said = std::fs::read_to_string(bundle.host.dir().join("errors")).unwrap();
    assert!(said.contains("interrupted by a signal"), "{said}");
    bundle.assert_clean();
}
