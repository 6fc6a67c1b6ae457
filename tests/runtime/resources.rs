//! Limits of `linux.resources` on the real kernel: what the files of the group hold, and what a machine that lacks one
//! says. Nothing here passes for want of a feature: where there is none, the error is what is tested.

use crate::bundle::Bundle;
use berth_test_host::not_here;
use serde_json::{Value, json};
use std::fs;

/// The group of the container: one name on every runtime.
const GROUP: &str = "rt-resources";

/// Ours, or another runtime that proves the suite and words its errors in its own way.
pub(crate) fn is_ours() -> bool {
    std::env::var_os("BERTH_TEST_RUNTIME").is_none()
}

pub(crate) fn unified() -> bool {
    fs::exists("/sys/fs/cgroup/cgroup.controllers").unwrap()
}

/// A v1 hierarchy, or the controller of that name on v2.
fn has(controller: &str) -> bool {
    match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Ok(list) => list.split_whitespace().any(|c| c == controller),
        Err(_) => fs::exists(format!("/sys/fs/cgroup/{controller}")).unwrap(),
    }
}

pub(crate) fn limited(name: &str, resources: Value) -> Bundle {
    let mut bundle = Bundle::new(name);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/{GROUP}"));
    for (key, value) in resources.as_object().unwrap() {
        bundle.config["linux"]["resources"][key] = value.clone();
    }
    bundle
}

/// What a file of the container's group holds.
pub(crate) fn file(bundle: &Bundle, controller: &str, name: &str) -> String {
    let path = bundle.host.controller(controller, GROUP).join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim().to_owned()
}

/// Creates a container with limits and compares files, each by controller, name on v1, value there, name on v2, value.
fn check(name: &str, resources: Value, files: &[(&str, &str, &str, &str, &str)]) {
    let bundle = limited(name, resources);
    bundle.create().ok();
    for (controller, v1, v1_value, v2, v2_value) in files {
        let (file_name, expected) = if unified() { (v2, v2_value) } else { (v1, v1_value) };
        if !file_name.is_empty() {
            assert_eq!(file(&bundle, controller, file_name), *expected, "{file_name}");
        }
    }
    bundle.done();
}

/// Creating a container with these fails, naming the field, and leaves nothing.
fn refused(name: &str, resources: Value, words: &[&str]) {
    let bundle = limited(name, resources);
    let said = bundle.create();
    assert_ne!(said.code, 0, "{words:?}");
    for word in words.iter().filter(|_| is_ours()) {
        assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn limits_of_cpu_memory_and_processes_reach_the_kernel() {
    let resources = json!({
        "cpu": {"shares": 512, "quota": 25_000, "period": 50_000},
        "memory": {"limit": 64 << 20, "reservation": 32 << 20, "swap": 96 << 20},
        "pids": {"limit": 77}
    });
    check(
        "rt-limits",
        resources,
        &[
            ("cpu", "cpu.shares", "512", "cpu.weight", "59"),
            ("cpu", "cpu.cfs_quota_us", "25000", "cpu.max", "25000 50000"),
            ("cpu", "cpu.cfs_period_us", "50000", "", ""),
            ("memory", "memory.limit_in_bytes", "67108864", "memory.max", "67108864"),
            ("memory", "memory.memsw.limit_in_bytes", "100663296", "memory.swap.max", "33554432"),
            ("memory", "memory.soft_limit_in_bytes", "33554432", "memory.low", "33554432"),
            ("pids", "pids.max", "77", "pids.max", "77"),
        ],
    );
}

#[test]
#[ignore = "needs root"]
fn no_limit_and_zero_are_understood() {
    let resources = json!({
        "cpu": {"shares": 0, "quota": -1, "period": 0, "cpus": "", "mems": ""},
        "memory": {"limit": -1, "reservation": 0, "kernel": 0, "kernelTCP": 0, "useHierarchy": false,
                   "disableOOMKiller": false},
        "pids": {"limit": -1},
        "blockIO": {"weight": 0},
        "hugepageLimits": [],
        "network": {"priorities": []}
    });
    check(
        "rt-no-limit",
        resources,
        &[
            ("cpu", "cpu.cfs_quota_us", "-1", "cpu.max", "max 100000"),
            ("cpu", "cpu.shares", "1024", "cpu.weight", "100"),
            ("memory", "memory.limit_in_bytes", "9223372036854771712", "memory.max", "max"),
            ("pids", "pids.max", "max", "pids.max", "max"),
        ],
    );
}

#[test]
#[ignore = "needs root"]
fn no_further_process_is_a_limit_since_version_1_3_of_the_document() {
    for (version, given, limit) in
        [("1.3.0", json!({"limit": 0}), "1"), ("1.2.1", json!({"limit": 0}), "max"), ("1.3.0", json!({}), "max")]
    {
        let mut bundle = limited("rt-no-process", json!({"pids": given}));
        bundle.config["ociVersion"] = json!(version);
        bundle.create().ok();
        assert_eq!(file(&bundle, "pids", "pids.max"), limit, "{given} of version {version}");
        bundle.verb(&["update", "--pids-limit", "30", "c"]).ok();
        bundle.verb(&["update", "--pids-limit", "0", "c"]).ok();
        assert_eq!(file(&bundle, "pids", "pids.max"), "1");
        bundle.verb(&["update", "--pids-limit", "-1", "c"]).ok();
        // Of no version, and written by programs that mean none by it.
        let path = bundle.host.dir().join("resources.json");
        fs::write(&path, json!({"pids": {"limit": 0}}).to_string()).unwrap();
        bundle.verb(&["update", "--resources", path.to_str().unwrap(), "c"]).ok();
        assert_eq!(file(&bundle, "pids", "pids.max"), "max");
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn bursts_and_idleness_reach_the_kernel() {
    // runc knows both since 1.2.
    let (burst, idle) = if is_ours() { ("40000", "1") } else { ("0", "0") };
    check(
        "rt-burst",
        json!({"cpu": {"quota": 50_000, "period": 100_000, "burst": 40_000}}),
        &[("cpu", "cpu.cfs_burst_us", burst, "cpu.max.burst", burst)],
    );
    check("rt-idle", json!({"cpu": {"idle": 1}}), &[("cpu", "cpu.idle", idle, "cpu.idle", idle)]);
}

#[test]
#[ignore = "needs root"]
fn a_cpuset_holds_the_container() {
    assert!(has("cpuset"), "this machine has no cpuset controller");
    let mut bundle = limited("rt-cpuset", json!({"cpu": {"cpus": "0", "mems": "0"}}));
    let allowed = "grep Cpus_allowed_list /proc/self/status | cut -f2";
    assert_eq!(bundle.sh(allowed), "0");
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", allowed]).ok(), "0");
    assert_eq!(file(&bundle, "cpuset", "cpuset.cpus"), "0");
    bundle.done();
}

/// As Java before 25 does on version 1, which believes no limit of memory where it does not find all four.
#[test]
#[ignore = "needs root"]
fn a_program_that_looks_for_its_limits_finds_the_controllers_it_needs() {
    if unified() {
        not_here("hierarchies of version 1, of which this machine has none", "root");
        return;
    }
    let limit = 64 << 20;
    let mut bundle = limited("rt-ergonomics", json!({"memory": {"limit": limit}}));
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["ro"]});
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
    let look = "for c in cpu cpuacct cpuset memory; do \
        grep -q -E \"^[0-9]+:([a-z_]+,)*$c(,[a-z_]+)*:/$\" /proc/self/cgroup || echo \"in no group of $c\"; \
        grep -q -E \" / /sys/fs/cgroup/[a-z,_]*$c[a-z,_]* .* - cgroup .*[ ,]$c(,|$)\" /proc/self/mountinfo || echo \"no mount of $c\"; \
        done; cat /sys/fs/cgroup/cpuset/cpuset.cpus /sys/fs/cgroup/memory/memory.limit_in_bytes";
    let above = bundle.host.controller("cpuset", "").join("cpuset.cpus");
    let above = fs::read_to_string(above).unwrap();
    assert_eq!(bundle.sh(look), format!("{}\n{limit}", above.trim()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_cpuset_that_the_group_above_does_not_have_is_refused() {
    refused("rt-cpuset-none", json!({"cpu": {"cpus": "x"}}), &["cpuset.cpus"]);
}

#[test]
#[ignore = "needs root"]
fn rates_of_block_devices_reach_the_kernel() {
    // Any disk does: nothing is read from it.
    let disks = fs::read_dir("/sys/block").unwrap().flatten().map(|e| e.path());
    let disk = disks.filter(|d| !fs::read_to_string(d.join("size")).unwrap().starts_with("0\n"));
    let disk = disk.map(|d| fs::read_to_string(d.join("dev")).unwrap()).next().expect("a disk is needed");
    let (major, minor) = disk.trim().split_once(':').unwrap();
    let (major, minor): (u32, u32) = (major.parse().unwrap(), minor.parse().unwrap());
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let mut bundle = limited(
        "rt-throttle",
        json!({"blockIO": {
            "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
            "throttleReadIOPSDevice": rate(300), "throttleWriteIOPSDevice": rate(400)
        }}),
    );
    bundle.create().ok();
    let device = disk.trim();
    if unified() {
        let expected = format!("{device} rbps=1048576 wbps=2097152 riops=300 wiops=400");
        assert_eq!(file(&bundle, "io", "io.max"), expected);
    } else {
        let throttle = |name: &str| file(&bundle, "blkio", &format!("blkio.throttle.{name}_device"));
        assert_eq!(throttle("read_bps"), format!("{device} 1048576"));
        assert_eq!(throttle("write_iops"), format!("{device} 400"));
    }
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.config["linux"]["resources"]["blockIO"] =
        json!({"throttleReadBpsDevice": [{"major": 4095, "minor": 7, "rate": 1}]});
    let said = bundle.create();
    assert_ne!(said.code, 0);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn weights_of_block_devices_reach_the_kernel_or_are_refused_by_field() {
    let bundle = limited("rt-weight", json!({"blockIO": {"weight": 500}}));
    let said = bundle.create();
    if said.code != 0 {
        // A kernel without any scheduler that has weights.
        assert!(said.stderr.contains("linux.resources.blockIO.weight"), "{}", said.stderr);
        return bundle.assert_clean();
    }
    let dir = bundle.host.controller(if unified() { "io" } else { "blkio" }, GROUP);
    let known = ["io.bfq.weight", "io.weight", "blkio.bfq.weight", "blkio.weight"];
    let found = known.iter().find_map(|name| fs::read_to_string(dir.join(name)).ok()).unwrap();
    let weight = found.trim().trim_start_matches("default ");
    assert!(weight == "500" || weight == "4950", "{found}");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn huge_pages_are_limited_where_the_machine_counts_them() {
    let sizes = fs::read_dir("/sys/kernel/mm/hugepages").map_or(Vec::new(), |entries| entries.flatten().collect());
    let limits = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
    if has("hugetlb") && !sizes.is_empty() {
        check(
            "rt-hugetlb",
            limits,
            &[("hugetlb", "hugetlb.2MB.limit_in_bytes", "4194304", "hugetlb.2MB.max", "4194304")],
        );
        check(
            "rt-hugetlb-rsvd",
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}),
            &[("hugetlb", "hugetlb.2MB.rsvd.limit_in_bytes", "0", "hugetlb.2MB.rsvd.max", "0")],
        );
        refused(
            "rt-hugetlb-size",
            json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 0}]}),
            &["linux.resources.hugepageLimits", "hugetlb.3MB"],
        );
    } else {
        refused("rt-no-hugetlb", limits, &["linux.resources.hugepageLimits", "hugetlb"]);
    }
}

#[test]
#[ignore = "needs root"]
fn remote_memory_devices_that_are_not_here_are_refused_by_field() {
    let limits = json!({"rdma": {"mlx5_99": {"hcaHandles": 3}}});
    refused("rt-rdma", limits, &["linux.resources.rdma"]);
}

#[test]
#[ignore = "needs root"]
fn network_classes_are_set_or_refused_by_field() {
    let limits = json!({"network": {"classID": 1_048_577, "priorities": [{"name": "lo", "priority": 5}]}});
    if has("net_cls") && has("net_prio") {
        check("rt-netcls", limits, &[("net_cls", "net_cls.classid", "1048577", "", "")]);
    } else {
        refused("rt-no-netcls", limits, &["linux.resources.network.classID"]);
    }
    let limits = json!({"network": {"priorities": [{"name": "lo", "priority": 5}]}});
    if !has("net_prio") {
        refused("rt-no-netprio", limits, &["linux.resources.network.priorities"]);
    }
}

#[test]
#[ignore = "needs root"]
fn real_time_is_given_where_the_group_above_has_it_or_refused_by_field() {
    let limits = json!({"cpu": {"realtimeRuntime": 5000, "realtimePeriod": 1_000_000}});
    let above = |bundle: &Bundle| bundle.host.controller("cpu", "").join("cpu.rt_runtime_us");
    let mut bundle = limited("rt-realtime", limits.clone());
    if !above(&bundle).exists() {
        return refused("rt-no-realtime", limits, &["linux.resources.cpu.realtime"]);
    }
    // None of the host's own yet: the kernel refuses to give on what is not there.
    let said = bundle.create();
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("realtimeRuntime") || said.stderr.contains("rt_runtime"), "{}", said.stderr);
    fs::write(above(&bundle), "10000").unwrap();
    bundle.script("true").create().ok();
    assert_eq!(file(&bundle, "cpu", "cpu.rt_runtime_us"), "5000");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn swappiness_and_the_oom_killer_are_version_1s() {
    let (swappiness, oom) = (json!({"memory": {"swappiness": 10}}), json!({"memory": {"disableOOMKiller": true}}));
    if unified() {
        refused("rt-swappiness", swappiness, &["linux.resources.memory.swappiness", "cgroup v2"]);
        refused("rt-oom-killer", oom, &["linux.resources.memory.disableOOMKiller", "cgroup v2"]);
    } else {
        check("rt-swappiness", swappiness, &[("memory", "memory.swappiness", "10", "", "")]);
        let bundle = limited("rt-oom-killer", oom);
        bundle.create().ok();
        assert!(file(&bundle, "memory", "memory.oom_control").contains("oom_kill_disable 1"));
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn files_of_version_2_are_written_by_name() {
    let limits = json!({"unified": {"memory.high": "33554432", "pids.max": "55", "cgroup.max.depth": "3"}});
    if !unified() {
        return refused("rt-unified", limits, &["linux.resources.unified", "cgroup v2"]);
    }
    check(
        "rt-unified",
        limits,
        &[
            ("memory", "", "", "memory.high", "33554432"),
            ("pids", "", "", "pids.max", "55"),
            ("pids", "", "", "cgroup.max.depth", "3"),
        ],
    );
    // Its controller is not on for every group: it is turned on when it is needed.
    check("rt-unified-cpuset", json!({"unified": {"cpuset.cpus": "0"}}), &[("cpuset", "", "", "cpuset.cpus", "0")]);
    refused("rt-unified-none", json!({"unified": {"memory.nope": "1"}}), &["memory.nope"]);
    refused("rt-unified-misc", json!({"unified": {"nope.max": "1"}}), &["controller `nope` not available"]);
}

#[test]
#[ignore = "needs root"]
fn files_outside_the_group_are_not_written() {
    for name in ["../cgroup.procs", "/etc/passwd", "a/../memory.high", "memory"] {
        let mut unified = json!({"unified": {}});
        unified["unified"][name] = json!("1");
        refused("rt-unified-path", unified, &["linux.resources.unified", name]);
    }
}

#[test]
#[ignore = "needs root"]
fn a_container_is_in_the_group_that_the_document_names_whichever_way() {
    // To which group a path without a slash is relative is for each runtime to say.
    let paths = [("/rt-a/b/c", "rt-a/b/c"), ("/../../rt-a", "rt-a"), ("rt-a/b", "rt-a/b")];
    for (path, group) in paths.into_iter().take(if is_ours() { 3 } else { 2 }) {
        let mut bundle = Bundle::new("rt-cgroups-path");
        bundle.config["linux"]["cgroupsPath"] = json!(path);
        bundle.started();
        let procs = bundle.host.controller("memory", group).join("cgroup.procs");
        // The shell and its sleep. Their numbers are another namespace's.
        let members = || fs::read_to_string(&procs).unwrap().lines().count();
        berth_test_host::eventually(path, crate::bundle::PATIENCE, || (members() == 2).then_some(()));
        bundle.verb(&["delete", "--force", "c"]).ok();
        assert!(!bundle.host.controller("memory", group).exists());
    }
}

#[test]
#[ignore = "needs root"]
fn a_container_that_limits_groups_of_its_own_can_still_be_entered() {
    let mut bundle = limited("rt-below", json!({}));
    let mount = json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]});
    bundle.config["mounts"].as_array_mut().unwrap().push(mount);
    // As the first process of an init system does it.
    bundle.script(
        "cd /sys/fs/cgroup; test -d pids && cd pids; mkdir init && echo 1 > init/cgroup.procs; \
         test -e cgroup.subtree_control && echo +pids > cgroup.subtree_control; echo up; while :; do sleep 1000; done",
    );
    bundle.create().ok();
    bundle.verb(&["start", "c"]).ok();
    berth_test_host::eventually("it", crate::bundle::PATIENCE, || bundle.said().contains("up").then_some(()));
    let said = bundle.verb(&["exec", "c", "sh", "-c", "echo inside; grep -c . /proc/self/cgroup"]).ok();
    assert!(said.starts_with("inside"), "{said}");
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn groups_made_inside_the_container_are_removed_with_it() {
    let mut bundle = limited("rt-nested", json!({}));
    bundle.started();
    let dirs: Vec<_> = bundle.host.cgroup(GROUP).into_iter().filter(|dir| dir.exists()).collect();
    assert!(!dirs.is_empty());
    for dir in &dirs {
        fs::create_dir_all(dir.join("in/side")).unwrap();
    }
    bundle.verb(&["delete", "--force", "c"]).ok();
    assert!(dirs.iter().all(|dir| !dir.exists()));
    bundle.assert_clean();
}
