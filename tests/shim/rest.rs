//! What a shim costs: memory at rest, and time until the user's process runs. Prints both; the limits here are for any
//! build, the figures that count are those of the `runtime` profile (`BERTH_RUNTIME_BIN`).

use crate::task::{Task, sh};
use berth_runtime::task::view::Phase;
use berth_test_host::TestHost;
use nix::unistd::Pid;
use std::time::Instant;

/// Proportional and private memory of a process in KiB.
fn memory(pid: Pid) -> (u64, u64) {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let field = |name: &str| -> u64 {
        let line = rollup.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    };
    (field("Pss:"), field("Private_Dirty:") + field("Private_Clean:"))
}

#[test]
#[ignore = "needs root"]
fn twenty_shims_at_rest_take_little_and_start_soon() {
    let host = TestHost::new("shim-cost");
    let mut times = Vec::new();
    let tasks: Vec<Task<'_>> = (0..20)
        .map(|n| {
            let started = Instant::now();
            let task = Task::start(&host, &format!("t{n}"), vec![sh("web", "sleep 1000")]);
            let mut client = task.client();
            Task::wait_view(&mut client, |v| v.phase == Phase::Running);
            times.push(started.elapsed());
            task
        })
        .collect();
    times.sort();
    let mut memories: Vec<(u64, u64)> = tasks.iter().map(|t| memory(t.shim_pid())).collect();
    memories.sort_unstable();
    let (pss, private) = memories[10];
    println!("nsenter and shim to user's process: median {:?}, least {:?}", times[10], times[0]);
    println!("shim at rest, median of 20: {pss} KiB proportional, {private} KiB private");
    // A build without optimisation, and linked to move, has tables of its own in each process.
    let is_runtime_profile = berth_test_host::berth_runtime().components().any(|c| c.as_os_str() == "runtime");
    let limit = if is_runtime_profile { 360 } else { 1500 };
    assert!(pss <= limit, "{memories:?}");
    for task in &tasks {
        nix::sys::signal::kill(task.shim_pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
    }
    for task in &tasks {
        task.wait_end();
    }
}

#[test]
#[ignore = "needs root"]
fn a_shim_has_one_thread_while_its_task_runs() {
    let host = TestHost::new("shim-threads");
    let task = Task::start(&host, "t", vec![sh("web", "sleep 1000"), sh("other", "sleep 1000")]);
    Task::wait_view(&mut task.client(), |v| v.phase == Phase::Running);
    let threads = std::fs::read_dir(format!("/proc/{}/task", task.shim_pid())).unwrap();
    assert_eq!(threads.count(), 1);
    nix::sys::signal::kill(task.shim_pid(), nix::sys::signal::Signal::SIGTERM).unwrap();
    task.wait_end();
}
