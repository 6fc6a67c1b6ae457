//! Groups on the real kernel, v2 or v1, each test in the control-group tree of its own host.
//!
//! The processes under test are shells of the host that enter a group from here: the library runs in the test process,
//! which sees the host's groups below its own mounts.

#![allow(clippy::unwrap_used)] // clippy.toml allows it in tests, which leaves out their helpers

use berth_runtime::cgroup::limits::Limits;
use berth_runtime::cgroup::{Group, Hierarchies, Version};
use berth_test_host::{Running, TestHost, eventually};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// A host, and the group `berth` in its tree as the test process sees it.
fn node(name: &str) -> (TestHost, Group) {
    let host = TestHost::new(name);
    let trees = Hierarchies::detect(Path::new("/sys/fs/cgroup")).unwrap();
    let root = host.cgroup("").remove(0);
    let name = root.components().next_back().unwrap().as_os_str().to_owned();
    let parent = trees.delegate(Path::new(&name).join("berth")).unwrap();
    (host, parent)
}

/// A shell that waits to be told to go on, so that it is in its group before it does anything.
struct Shell(Running);

impl Shell {
    fn start(host: &TestHost, script: &str) -> Self {
        let mut command = host.command("sh");
        Self(host.spawn(command.args(["-c", &format!("read go; {script}")]).stdin(Stdio::piped())))
    }

    fn enter(self, group: &Group) -> Self {
        group.add(self.0.pid()).unwrap();
        self
    }

    fn go(mut self) -> Running {
        drop(self.0.nsenter.stdin.take());
        self.0
    }
}

#[test]
#[ignore = "needs root"]
fn a_group_is_made_entered_and_removed_with_what_is_below_it() {
    let (host, parent) = node("cg-life");
    let group = parent.child("tasks/t1/web");
    group.create().unwrap();
    group.create().unwrap();
    assert!(group.exists() && !group.populated().unwrap());
    let shell = Shell::start(&host, "sleep 1000").enter(&group);
    assert!(group.populated().unwrap());
    assert_eq!(group.procs().unwrap(), [shell.0.pid()]);
    assert_eq!(parent.procs().unwrap(), [shell.0.pid()], "those below count");
    assert_eq!(group.remove().unwrap_err().errno(), Some(libc::EBUSY), "a process is in it");
    group.kill().unwrap();
    parent.child("tasks").remove().unwrap();
    assert!(!group.exists());
    parent.child("tasks").remove().unwrap();
    group.kill().unwrap();
    assert!(group.procs().unwrap().is_empty());
}

#[test]
#[ignore = "needs root"]
fn a_process_that_enters_by_itself_is_a_member_of_every_hierarchy() {
    let (host, parent) = node("cg-entry");
    let group = parent.child("leaf");
    group.create().unwrap();
    let entry = group.entry().unwrap();
    let mut command = Command::new("sleep");
    // SAFETY: `join` only writes to descriptors that are open already: no lock, no allocation, nothing of another thread.
    unsafe { command.arg("1000").pre_exec(move || entry.join()) };
    let mut sleeper = command.spawn().unwrap();
    for dir in host.cgroup("berth/leaf").iter().filter(|dir| dir.is_dir()) {
        let procs = std::fs::read_to_string(dir.join("cgroup.procs")).unwrap();
        assert_eq!(procs, format!("{}\n", sleeper.id()), "{}", dir.display());
    }
    group.kill().unwrap();
    sleeper.wait().unwrap();
    group.remove().unwrap();
}

#[test]
#[ignore = "needs root"]
fn kill_ends_processes_that_fork_as_fast_as_they_can() {
    let (host, parent) = node("cg-kill");
    let group = parent.child("bomb");
    group.create().unwrap();
    group.apply(&Limits { pids: Some(64), ..Limits::default() }).unwrap();
    let below = group.child("nested");
    // Never up to the limit: a shell that cannot fork ends, and with it the bomb.
    let bomb = "while :; do for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do (sleep 0.001; :) & done; wait; done";
    let _bomb = Shell::start(&host, bomb).enter(&group).go();
    // As a container makes one inside its own group: on v2 without controllers, which a group with processes cannot give.
    match group.version() {
        Version::V1 => below.create().unwrap(),
        Version::V2 => below.dirs().iter().for_each(|dir| std::fs::create_dir(dir).unwrap()),
    }
    let _nested = Shell::start(&host, "while :; do :; done").enter(&below).go();
    eventually("the bomb to go off", PATIENCE, || (group.stats().unwrap().pids > 8).then_some(()));
    assert!(group.stats().unwrap().pids <= 64, "the limit holds");
    group.kill().unwrap();
    eventually("all to end", PATIENCE, || (!group.populated().unwrap()).then_some(()));
    group.remove().unwrap();
}

#[test]
#[ignore = "needs root"]
fn frozen_processes_use_no_cpu_until_they_are_thawed() {
    let (host, parent) = node("cg-freeze");
    let group = parent.child("busy");
    group.create().unwrap();
    let _busy = Shell::start(&host, "while :; do :; done").enter(&group).go();
    let used = || group.stats().unwrap().cpu_ns;
    eventually("it to run", PATIENCE, || (used() > 1_000_000).then_some(()));
    group.freeze().unwrap();
    let before = used();
    let until = Instant::now() + Duration::from_millis(50);
    while Instant::now() < until {
        assert_eq!(used(), before);
    }
    group.thaw().unwrap();
    eventually("it to run again", PATIENCE, || (used() > before).then_some(()));
    // A frozen group can be killed, too.
    group.freeze().unwrap();
    group.kill().unwrap();
    eventually("it to end", PATIENCE, || (!group.populated().unwrap()).then_some(()));
}

#[test]
#[ignore = "needs root"]
fn a_cpu_quota_is_kept_and_its_throttling_counted() {
    let (host, parent) = node("cg-quota");
    let group = parent.child("quarter");
    group.create().unwrap();
    group.apply(&Limits { cpu_quota_us: Some(25_000), cpu_shares: Some(256), ..Limits::default() }).unwrap();
    let _busy = Shell::start(&host, "while :; do :; done").enter(&group).go();
    eventually("throttling", PATIENCE, || (group.stats().unwrap().throttled_periods > 0).then_some(()));
    let (start, before) = (Instant::now(), group.stats().unwrap());
    eventually("ten periods", PATIENCE, || (group.stats().unwrap().periods >= before.periods + 10).then_some(()));
    let used = Duration::from_nanos(group.stats().unwrap().cpu_ns - before.cpu_ns);
    // How much it gets at least depends on who else runs; how much at most does not, but for two periods at the edges.
    let most = start.elapsed() / 4 + Duration::from_millis(50);
    assert!(used <= most, "{used:?} of at most {most:?}");
    assert!(group.stats().unwrap().throttled_ns > before.throttled_ns);
}

#[test]
#[ignore = "needs root"]
fn a_process_that_grows_past_the_limit_is_killed_and_the_group_that_had_it_says_so() {
    let (host, parent) = node("cg-oom");
    let no_swap = |mib: u64| Limits { memory_bytes: Some(mib << 20), swap_bytes: Some(0), ..Limits::default() };
    for limit_on_task in [true, false] {
        let task = parent.child(if limit_on_task { "tasks/a" } else { "tasks/b" });
        let container = task.child("c");
        container.create().unwrap();
        let limited = if limit_on_task { &task } else { &container };
        limited.apply(&no_swap(16)).unwrap();
        assert_eq!(limited.memory_limit().unwrap(), Some(16 << 20));
        let mut grower = Shell::start(&host, "exec tail /dev/zero").enter(&container).go();
        let status = grower.wait(PATIENCE);
        assert!(!status.success(), "{status}");
        assert_eq!(container.oom_kills().unwrap(), 1);
        assert_eq!(task.oom_kills().unwrap(), 1, "counts what is below");
        assert_eq!(task.limit_hits().unwrap() > 0, limit_on_task);
        assert_eq!(container.limit_hits().unwrap() > 0, !limit_on_task);
        task.remove().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn a_memory_limit_can_be_raised_and_lowered_with_no_swap() {
    let (_host, parent) = node("cg-memory");
    let group = parent.child("m");
    group.create().unwrap();
    assert_eq!(group.memory_limit().unwrap(), None);
    for mib in [64, 128, 32] {
        group.apply(&Limits { memory_bytes: Some(mib << 20), swap_bytes: Some(0), ..Limits::default() }).unwrap();
        assert_eq!(group.memory_limit().unwrap(), Some(mib << 20));
    }
}

#[test]
#[ignore = "needs root"]
fn stats_count_memory_that_is_held() {
    let (host, parent) = node("cg-stats");
    let group = parent.child("s");
    group.create().unwrap();
    // The pipe's reader keeps the 8 MiB in memory until it ends.
    let holder = "x=$(head -c 8388608 /dev/zero | tr '\\0' x); exec 0</dev/null; while :; do sleep 1000; done";
    let _holder = Shell::start(&host, holder).enter(&group).go();
    let stats = eventually("memory to be held", PATIENCE, || {
        let stats = group.stats().unwrap();
        (stats.memory_bytes > 8 << 20).then_some(stats)
    });
    assert!(stats.memory_peak_bytes >= stats.memory_bytes && stats.memory_usage_bytes >= stats.memory_bytes);
    assert!(stats.pids >= 1 && stats.cpu_ns > 0 && stats.oom_kills == 0);
    group.kill().unwrap();
}
