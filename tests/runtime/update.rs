//! `update`, and the verbs that look into a group: `events`, `ps`, `pause`, `kill --all`.

use crate::bundle::{Bundle, PATIENCE};
use crate::resources::{file, is_ours, limited, unified};
use berth_test_host::{eventually, not_here};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};

#[test]
#[ignore = "needs root"]
fn limits_of_a_running_container_are_changed_by_flags() {
    let mut bundle = limited("rt-update", json!({"memory": {"limit": 64 << 20, "swap": 64 << 20}}));
    bundle.started();
    let update = |args: &[&str]| bundle.verb(&[&["update"], args, &["c"]].concat());
    update(&["--cpu-share", "512", "--cpu-quota", "20000", "--cpu-period", "50000", "--pids-limit", "20"]).ok();
    // Raised and lowered: memory may never be more than memory and swap, not even between the two writes.
    for size in ["128m", "32m", "64m"] {
        update(&["--memory", size, "--memory-swap", size]).ok();
    }
    update(&["--memory-reservation", "33554432"]).ok();
    let (controller_file, expected): (&[_], &[_]) = if unified() {
        (
            &[
                ("cpu", "cpu.weight"),
                ("cpu", "cpu.max"),
                ("pids", "pids.max"),
                ("memory", "memory.max"),
                ("memory", "memory.swap.max"),
                ("memory", "memory.low"),
            ],
            &["59", "20000 50000", "20", "67108864", "0", "33554432"],
        )
    } else {
        (
            &[
                ("cpu", "cpu.shares"),
                ("cpu", "cpu.cfs_quota_us"),
                ("pids", "pids.max"),
                ("memory", "memory.limit_in_bytes"),
                ("memory", "memory.memsw.limit_in_bytes"),
                ("memory", "memory.soft_limit_in_bytes"),
            ],
            &["512", "20000", "20", "67108864", "67108864", "33554432"],
        )
    };
    for ((controller, name), expected) in controller_file.iter().zip(expected) {
        assert_eq!(file(&bundle, controller, name), *expected, "{name}");
    }
    update(&["--cpu-quota", "-1", "--pids-limit", "-1", "--memory", "-1", "--memory-swap", "-1"]).ok();
    assert_eq!(file(&bundle, "pids", "pids.max"), "max");
    let memory = if unified() { ("memory.max", "max") } else { ("memory.limit_in_bytes", "9223372036854771712") };
    assert_eq!(file(&bundle, "memory", memory.0), memory.1);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn one_of_quota_and_period_leaves_the_other() {
    let mut bundle = limited("rt-update-cpu", json!({"cpu": {"quota": 20_000, "period": 50_000}}));
    bundle.started();
    bundle.verb(&["update", "--cpu-quota", "30000", "c"]).ok();
    bundle.verb(&["update", "--cpu-period", "60000", "c"]).ok();
    if unified() {
        assert_eq!(file(&bundle, "cpu", "cpu.max"), "30000 60000");
    } else {
        assert_eq!(file(&bundle, "cpu", "cpu.cfs_quota_us"), "30000");
        assert_eq!(file(&bundle, "cpu", "cpu.cfs_period_us"), "60000");
    }
    if is_ours() {
        // A burst above the old quota with a higher one, and the other way round.
        for (quota, burst) in [("100000", "80000"), ("20000", "10000")] {
            bundle.verb(&["update", "--cpu-quota", quota, "--cpu-burst", burst, "c"]).ok();
            let name = if unified() { "cpu.max.burst" } else { "cpu.cfs_burst_us" };
            assert_eq!(file(&bundle, "cpu", name), burst);
        }
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn limits_come_from_a_document_in_a_file_or_on_standard_input() {
    let mut bundle = limited("rt-update-json", json!({}));
    bundle.started();
    let document =
        |pids: u32| json!({"pids": {"limit": pids}, "devices": [{"allow": false, "access": "rwm"}]}).to_string();
    let path = bundle.host.dir().join("resources.json");
    std::fs::write(&path, document(31)).unwrap();
    bundle.verb(&["update", "--resources", path.to_str().unwrap(), "c"]).ok();
    assert_eq!(file(&bundle, "pids", "pids.max"), "31");
    let mut command = bundle.runtime();
    let mut child = command.args(["update", "-r", "-", "c"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(document(32).as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(file(&bundle, "pids", "pids.max"), "32");
    // The devices of a container are for life.
    bundle.verb(&["exec", "c", "sh", "-c", "echo x > /dev/null"]).ok();
    std::fs::write(&path, "{\"pids\": 1}").unwrap();
    assert_ne!(bundle.verb(&["update", "--resources", path.to_str().unwrap(), "c"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_container_comes_into_a_cpuset_with_all_of_its_processes() {
    let mut bundle = limited("rt-update-cpuset", json!({}));
    bundle.started();
    bundle.exec_detached(&["sh", "-c", "while :; do sleep 0.01; done"]);
    bundle.verb(&["update", "--cpuset-cpus", "0", "--cpuset-mems", "0", "c"]).ok();
    let allowed = "for p in /proc/[0-9]*; do grep Cpus_allowed_list $p/status 2>/dev/null | cut -f2; done";
    let said = bundle.verb(&["exec", "c", "sh", "-c", allowed]).ok();
    assert!(said.lines().count() > 2 && said.lines().all(|line| line == "0"), "{said}");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_update_cannot_do_is_said_by_name() {
    let mut bundle = limited("rt-update-refuse", json!({}));
    bundle.script("true").create().ok();
    let said = bundle.verb(&["update", "--memory", "x", "c"]);
    assert!(said.code != 0 && said.stderr.contains("memory"), "{}", said.stderr);
    if is_ours() {
        let said = bundle.verb(&["update", "--l3-cache-schema", "L3:0=1", "c"]);
        assert!(said.code != 0 && said.stderr.contains("--l3-cache-schema"), "{}", said.stderr);
        let said = bundle.verb(&["update", "--kernel-memory", "1m", "--pids-limit", "9", "c"]);
        assert!(said.code == 0 && said.stderr.contains("--kernel-memory"), "{}", said.stderr);
        assert_eq!(file(&bundle, "pids", "pids.max"), "9");
    }
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["update", "--pids-limit", "9", "c"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_limit_below_the_usage_is_refused_where_the_document_wants_that() {
    let mut bundle = limited("rt-update-check", json!({}));
    bundle.started();
    let path = bundle.host.dir().join("resources.json");
    std::fs::write(&path, json!({"memory": {"limit": 4096, "checkBeforeUpdate": true}}).to_string()).unwrap();
    let said = bundle.verb(&["update", "--resources", path.to_str().unwrap(), "c"]);
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("memory limit"), "{}", said.stderr);
    assert_eq!(bundle.status(), "running");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn statistics_have_runcs_form() {
    let mut bundle = limited("rt-stats", json!({"memory": {"limit": 64 << 20}, "pids": {"limit": 33}}));
    bundle.started();
    let said: Value = serde_json::from_str(&bundle.verb(&["events", "--stats", "c"]).ok()).unwrap();
    assert_eq!((&said["type"], &said["id"]), (&json!("stats"), &json!("c")));
    let data = &said["data"];
    let at = |path: &str| data.pointer(path).and_then(Value::as_u64).unwrap_or_else(|| panic!("{path}: {data}"));
    assert!(at("/cpu/usage/total") > 0 && at("/memory/usage/usage") > 0 && at("/pids/current") > 0);
    assert_eq!((at("/memory/usage/limit"), at("/pids/limit")), (64 << 20, 33));
    at("/cpu/usage/kernel");
    at("/memory/usage/failcnt");
    assert!(!data["memory"]["raw"].as_object().unwrap().is_empty());
    assert!(data["blkio"].is_object() && data["hugetlb"].is_object());
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["events", "--stats", "c"]).code, 0);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn statistics_say_how_long_processes_waited_where_the_kernel_counts_it() {
    if !unified() || std::fs::read("/proc/pressure/cpu").is_err() {
        not_here("pressure of cgroup v2, which this kernel does not count", "vm");
        return;
    }
    let mut bundle = limited("rt-stats-psi", json!({}));
    bundle.started();
    let said: Value = serde_json::from_str(&bundle.verb(&["events", "--stats", "c"]).ok()).unwrap();
    for resource in ["cpu", "memory", "blkio"] {
        for kind in ["some", "full"] {
            let waits = &said["data"][resource]["psi"][kind];
            assert!(waits["total"].is_u64() && waits["avg10"].is_number(), "{resource} {kind}: {said}");
        }
    }
    bundle.done();
}

/// The events of container `c`, one per line, until they end.
fn events(bundle: &Bundle, interval: &str) -> (Child, impl Iterator<Item = Value> + use<>) {
    let mut command = bundle.runtime();
    let mut child = command.args(["events", "--interval", interval, "c"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

/// Waits for `events` to end by itself, which runc's does not on version 1.
fn ends(mut child: Child, lines: impl Iterator<Item = Value>) {
    if is_ours() {
        let rest: Vec<Value> = lines.filter(|event| event["type"] != json!("stats")).collect();
        assert_eq!(rest, [Value::Null; 0]);
        assert!(child.wait().unwrap().success());
    } else {
        // The process behind nsenter goes with the host.
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
#[ignore = "needs root"]
fn events_come_at_intervals_and_end_with_the_container() {
    let mut bundle = limited("rt-events", json!({}));
    bundle.started();
    let (child, mut lines) = events(&bundle, "20ms");
    for _ in 0..3 {
        assert_eq!(lines.next().unwrap()["type"], json!("stats"));
    }
    bundle.verb(&["kill", "c", "KILL"]).ok();
    ends(child, lines);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_process_killed_for_want_of_memory_is_an_event() {
    let mut bundle = limited("rt-oom", json!({"memory": {"limit": 16 << 20, "swap": 16 << 20}}));
    // The shell outlives its child: an end by OOM of one process is not the container's.
    bundle.script("read go < /data/go; tail /dev/zero; read on < /data/on").create().ok();
    for fifo in ["go", "on"] {
        let path = bundle.rootfs().join("data").join(fifo);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/tail")).unwrap();
    bundle.verb(&["start", "c"]).ok();
    let (child, mut lines) = events(&bundle, "100ms");
    // It watches once it has told its first numbers.
    lines.next().unwrap();
    std::fs::write(bundle.rootfs().join("data/go"), "\n").unwrap();
    let oom = lines.find(|event| event["type"] == json!("oom")).expect("an event of it");
    assert_eq!(oom["id"], json!("c"));
    assert_eq!(bundle.status(), "running");
    std::fs::write(bundle.rootfs().join("data/on"), "\n").unwrap();
    ends(child, lines);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn processes_are_shown_as_ps_shows_them() {
    let mut bundle = limited("rt-ps-table", json!({}));
    bundle.started();
    let pid = bundle.state()["pid"].to_string();
    let heading = |args: &[&str]| {
        let said = bundle.verb(&[&["ps", "c"], args].concat()).ok();
        let lines: Vec<Vec<String>> =
            said.lines().map(|line| line.split_whitespace().map(str::to_owned).collect()).collect();
        assert!(lines[1..].iter().any(|words| words.contains(&pid)), "{said}");
        lines[0].join(" ")
    };
    assert_eq!(heading(&[]), "UID PID PPID C STIME TTY TIME CMD");
    assert_eq!(heading(&["-e", "-x"]), "PID TTY STAT TIME COMMAND");
    if is_ours() {
        assert_eq!(heading(&["aux"]), "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND");
        assert_eq!(heading(&["-o", "pid,user,args"]), "PID USER COMMAND");
        assert!(bundle.verb(&["ps", "c", "-Z"]).stderr.contains("`-Z`"));
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_created_container_can_be_paused_and_does_not_start_until_it_is_resumed() {
    let mut bundle = limited("rt-pause-created", json!({}));
    bundle.script("true").create().ok();
    bundle.verb(&["pause", "c"]).ok();
    assert_eq!(bundle.status(), "paused");
    assert_ne!(bundle.verb(&["pause", "c"]).code, 0);
    if is_ours() {
        assert_ne!(bundle.verb(&["start", "c"]).code, 0);
    }
    bundle.verb(&["resume", "c"]).ok();
    assert_eq!(bundle.status(), "created");
    assert_ne!(bundle.verb(&["resume", "c"]).code, 0);
    bundle.verb(&["start", "c"]).ok();
    bundle.wait_status("stopped");
    assert_ne!(bundle.verb(&["pause", "c"]).code, 0);
    bundle.done();
}

/// A container that shares the host's pid namespace and leaves a process behind.
fn without_pid_namespace(name: &str) -> Bundle {
    let mut bundle = limited(name, json!({}));
    let namespaces = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != json!("pid"));
    bundle.script("sleep 1000 & sleep 1000 & echo up; read go < /data/go").create().ok();
    let path = bundle.rootfs().join("data/go");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bundle.verb(&["start", "c"]).ok();
    eventually("its children", PATIENCE, || (bundle.said() == "up\n").then_some(()));
    bundle
}

fn members(bundle: &Bundle) -> usize {
    file(bundle, "pids", "cgroup.procs").lines().count()
}

#[test]
#[ignore = "needs root"]
fn what_outlives_the_init_without_a_pid_namespace_is_deleted_with_the_container() {
    let bundle = without_pid_namespace("rt-no-pidns");
    std::fs::write(bundle.rootfs().join("data/go"), "\n").unwrap();
    bundle.wait_status("stopped");
    assert_eq!(members(&bundle), 2);
    if !is_ours() {
        bundle.verb(&["kill", "--all", "c", "KILL"]).ok();
        eventually("all to end", PATIENCE, || (members(&bundle) == 0).then_some(()));
    }
    bundle.verb(&["delete", "c"]).ok();
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_signal_for_all_reaches_every_process() {
    let bundle = without_pid_namespace("rt-kill-all");
    bundle.verb(&["kill", "--all", "c", "TERM"]).ok();
    eventually("all to end", PATIENCE, || (members(&bundle) == 0).then_some(()));
    bundle.wait_status("stopped");
    bundle.verb(&["kill", "--all", "c", "KILL"]).ok();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_member_from_outside_of_the_callers_pid_namespace_is_passed_over_by_signals_to_all() {
    let mut bundle = Bundle::new("rt-kill-zero");
    bundle.started();
    // Inside the host v2 lists it as 0, and v1 not at all.
    let mut outsider = std::process::Command::new("sleep");
    outsider.arg("1000").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut outsider = outsider.spawn().unwrap();
    for dir in bundle.host.cgroup("berth-runtime-c").iter().filter(|dir| dir.exists()) {
        std::fs::write(dir.join("cgroup.procs"), outsider.id().to_string()).unwrap();
    }
    let said = bundle.verb(&["kill", "--all", "c", "TERM"]);
    let lived = outsider.try_wait().unwrap().is_none();
    outsider.kill().unwrap();
    outsider.wait().unwrap();
    said.ok();
    assert!(lived);
    bundle.wait_status("stopped");
    bundle.done();
}
