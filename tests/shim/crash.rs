//! A shim that is killed.

use crate::task::{PATIENCE, Task, assert_clean, sh};
use berth_runtime::shim::facts;
use berth_runtime::shim::protocol::ExecProcess;
use berth_runtime::sys::pidfd;
use berth_runtime::task::plan::Condition;
use berth_runtime::task::view::Phase;
use berth_test_host::{TestHost, eventually, output, run};
use nix::sys::signal::{Signal, kill};
use std::fs::File;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

fn sweep(task: &Task<'_>) -> Command {
    let mut command = task.host.berth_runtime();
    command.arg("sweep").arg("--run").arg(task.dirs.run()).arg("--state").arg(task.dirs.state());
    command
}

fn kill_shim(task: &Task<'_>) {
    kill(task.shim_pid(), Signal::SIGKILL).unwrap();
    eventually("nsenter to end", PATIENCE, || pidfd::ended(&task.nsenter).unwrap());
    // A worker, and an init at its gate, end with their shim but not in the same instant.
    eventually("the lock to be free", PATIENCE, || (!task.is_locked()).then_some(()));
}

#[test]
#[ignore = "needs root"]
fn sweep_ends_the_task_of_a_shim_that_was_killed_and_nothing_is_left() {
    let host = TestHost::new("shim-crash");
    let containers = vec![
        sh("web", "echo ready; sleep 1000"),
        sh("done", "exit 4").helper(),
        sh("never", "true").helper().after(0, Condition::Complete),
    ];
    let task = Task::start(&host, "crash", containers);
    let mut client = task.client();
    Task::wait_view(&mut client, |v| v.containers[1].exit.is_some());
    task.wait_output("web", "ready");
    kill_shim(&task);
    // What the agent goes by: nobody holds the lock, and the connection has ended.
    assert!(!task.is_locked());
    // What was told before the end may still be there to read.
    while client.receive().is_ok() {}
    run(&mut sweep(&task));
    let end = facts::read_end(&task.seen).unwrap().unwrap();
    assert_eq!((end.phase, end.reason.as_deref()), (Phase::Ended, Some("the task's shim died")));
    let web = task.exit("web");
    assert_eq!((web.code, web.signal, web.reason.as_deref()), (Some(137), Some(9), Some("the task's shim died")));
    assert_eq!(task.exit("done").code, Some(4));
    let never = task.exit("never");
    assert_eq!(never.code, None);
    assert_eq!(never.reason.as_deref(), Some("the task's shim died before this container began"));
    assert_clean(&host);
    run(&mut sweep(&task));
    assert_eq!(facts::read_end(&task.seen).unwrap().unwrap(), end);
}

#[test]
#[ignore = "needs root"]
fn a_shim_killed_at_any_moment_of_a_start_leaves_nothing_that_sweep_does_not_end() {
    let host = TestHost::new("shim-crash-start");
    for n in 0..40u32 {
        let task = Task::start(&host, &format!("t{n}"), vec![sh("web", "echo ready; sleep 1000")]);
        // From before the shim's first instruction to well after the user's process runs.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(n) * 500));
        kill_shim(&task);
        let swept = output(&mut sweep(&task));
        assert!(swept.status.success(), "{}", String::from_utf8_lossy(&swept.stderr));
        assert_eq!(facts::read_end(&task.seen).unwrap().unwrap().phase, Phase::Ended);
    }
    assert_clean(&host);
}

/// Stops each process that it can see, as soon as it can be seen.
const STOPPER: &str = "exec 2>/dev/null; echo ready; n=2; while :; do
    for i in 0 1 2 3 4 5 6 7; do kill -STOP $((n + i)) && n=$((n + i)); done
done";

#[test]
#[ignore = "needs root"]
fn a_process_of_exec_that_the_container_stops_holds_no_lock_and_ends_with_the_shim() {
    let host = TestHost::new("shim-crash-exec");
    for n in 0..10 {
        let task = Task::start(&host, &format!("t{n}"), vec![sh("web", STOPPER)]);
        task.wait_output("web", "ready");
        let mut client = task.client();
        Task::wait_view(&mut client, |v| v.phase == Phase::Running);
        std::thread::scope(|scope| {
            // What it gives is kept: with its client the process would end.
            let asked = scope.spawn(move || {
                let null = File::options().read(true).write(true).open("/dev/null").unwrap();
                let args = vec!["sleep".into(), "1000".into()];
                let process = ExecProcess { args, env: vec![], cwd: None, user: None, tty: false };
                client.exec("web", process, [null.as_fd(); 3])
            });
            let stopped = eventually("a process that is stopped", PATIENCE, || stopped_child(&task));
            let runs = std::fs::read_to_string(stopped.join("comm")).is_ok_and(|comm| comm == "sleep\n");
            kill_shim(&task);
            // One that has become its program ends with the task.
            eventually("the process to end", PATIENCE, || (runs || !stopped.exists()).then_some(()));
            drop(asked.join());
        });
        run(&mut sweep(&task));
    }
    assert_clean(&host);
}

/// The directory in /proc of a child of the shim that has been stopped.
fn stopped_child(task: &Task<'_>) -> Option<PathBuf> {
    let stopped = |stat: &str| {
        let mut fields = stat.rsplit_once(')').unwrap_or_default().1.split_ascii_whitespace();
        fields.next() == Some("T") && fields.next() == Some(&task.shim_pid().to_string())
    };
    let all = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let mut found = all.filter(|dir| std::fs::read_to_string(dir.join("stat")).is_ok_and(|stat| stopped(&stat)));
    found.next()
}
