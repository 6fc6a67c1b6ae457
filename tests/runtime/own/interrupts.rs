//! Interrupts, and what they leave behind.

use crate::bundle::{Bundle, PATIENCE};
use berth_test_host::{Running, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
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
    let children = std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", exec.pid())).unwrap();
    let runtime: i32 = children.split_whitespace().next().unwrap().parse().unwrap();
    kill(Pid::from_raw(runtime), Signal::SIGINT).unwrap();
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
