//! What a process of a container can be told to be: how it is scheduled, what it may use, what it sees of the machine.

use crate::bundle::Bundle;
use serde_json::{Value, json};

impl Bundle {
    fn applet(&self, name: &str) {
        std::os::unix::fs::symlink("busybox", self.rootfs().join("bin").join(name)).unwrap();
    }

    /// A process document like the container's own.
    fn process(&self, change: impl FnOnce(&mut Value)) -> String {
        let mut process = self.config["process"].clone();
        change(&mut process);
        let file = self.host.dir().join("process.json");
        std::fs::write(&file, process.to_string()).unwrap();
        file.to_str().unwrap().to_owned()
    }
}

/// The names of all limits, and what /proc calls them.
const LIMITS: [(&str, &str); 16] = [
    ("RLIMIT_AS", "Max address space"),
    ("RLIMIT_CORE", "Max core file size"),
    ("RLIMIT_CPU", "Max cpu time"),
    ("RLIMIT_DATA", "Max data size"),
    ("RLIMIT_FSIZE", "Max file size"),
    ("RLIMIT_LOCKS", "Max file locks"),
    ("RLIMIT_MEMLOCK", "Max locked memory"),
    ("RLIMIT_MSGQUEUE", "Max msgqueue size"),
    ("RLIMIT_NICE", "Max nice priority"),
    ("RLIMIT_NOFILE", "Max open files"),
    ("RLIMIT_NPROC", "Max processes"),
    ("RLIMIT_RSS", "Max resident set"),
    ("RLIMIT_RTPRIO", "Max realtime priority"),
    ("RLIMIT_RTTIME", "Max realtime timeout"),
    ("RLIMIT_SIGPENDING", "Max pending signals"),
    ("RLIMIT_STACK", "Max stack size"),
];

fn soft_and_hard(name: &str) -> (u64, u64) {
    match name {
        // What everybody has is all that can be kept without a capability.
        "RLIMIT_NICE" | "RLIMIT_RTPRIO" => (0, 0),
        "RLIMIT_AS" | "RLIMIT_DATA" | "RLIMIT_RSS" => (1 << 30, 1 << 31),
        "RLIMIT_STACK" => (1 << 20, 1 << 21),
        "RLIMIT_CPU" => (100, 200),
        _ => (60, 61),
    }
}

#[test]
#[ignore = "needs root"]
fn every_limit_is_set_in_a_container_and_in_what_joins_it() {
    let mut bundle = Bundle::new("rt-rlimits");
    let limits = LIMITS.map(|(name, _)| {
        let (soft, hard) = soft_and_hard(name);
        json!({"type": name, "soft": soft, "hard": hard})
    });
    bundle.config["process"]["rlimits"] = json!(limits);
    let check = |said: String, whose: &str| {
        for (name, called) in LIMITS {
            let line = said.lines().find(|line| line.starts_with(called)).unwrap_or_else(|| panic!("{called}: {said}"));
            let values: Vec<u64> =
                line[called.len()..].split_whitespace().take(2).map(|v| v.parse().unwrap()).collect();
            let (soft, hard) = soft_and_hard(name);
            assert_eq!(values, [soft, hard], "{whose}: {name}");
        }
    };
    check(bundle.sh("cat /proc/self/limits"), "run");
    bundle.started();
    check(bundle.verb(&["exec", "c", "cat", "/proc/self/limits"]).ok(), "exec");
    let process = bundle.process(|p| {
        p["args"] = json!(["cat", "/proc/self/limits"]);
        p["rlimits"] = json!([{"type": "RLIMIT_CORE", "soft": 5, "hard": 6}]);
    });
    let said = bundle.verb(&["exec", "--process", &process, "c"]).ok();
    assert!(
        said.lines()
            .any(|l| l.split_whitespace().collect::<Vec<_>>() == ["Max", "core", "file", "size", "5", "6", "bytes"]),
        "{said}"
    );
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn parameters_of_the_host_are_refused_by_name() {
    let mut bundle = Bundle::new("rt-sysctl-host");
    let before = std::fs::read_to_string("/proc/sys/kernel/panic").unwrap();
    for (name, why) in [("kernel.panic", "not in a separate kernel namespace"), ("kernel.hostname", "hostname")] {
        bundle.config["linux"]["sysctl"] = json!({name: "7"});
        let said = bundle.script("true").run();
        assert_eq!(said.code, 1, "{name}");
        assert!(said.stderr.contains(name) && said.stderr.contains(why), "{name}: {}", said.stderr);
    }
    // A namespace by path that is the host's own.
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1"});
    bundle.config["linux"]["namespaces"][1] = json!({"type": "network", "path": "/proc/1/ns/net"});
    let said = bundle.script("true").run();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("host network namespace"), "{}", said.stderr);
    assert_eq!(std::fs::read_to_string("/proc/sys/kernel/panic").unwrap(), before);
    bundle.assert_clean();
}

/// Newer than the runc that the suite is proved with.
mod own {
    use super::*;
    use crate::bundle::program;
    use std::collections::BTreeSet;

    #[test]
    #[ignore = "needs root"]
    fn names_of_the_machine_are_set_where_there_is_no_proc() {
        let mut bundle = Bundle::new("rt-names");
        bundle.config["hostname"] = json!("a-host");
        bundle.config["domainname"] = json!("a.domain");
        let said = bundle.sh("hostname; cat /proc/sys/kernel/domainname");
        assert_eq!(said, "a-host\na.domain");
        bundle.config["mounts"].as_array_mut().unwrap().remove(0);
        bundle.config["linux"]["maskedPaths"] = json!([]);
        bundle.config["linux"]["readonlyPaths"] = json!([]);
        assert_eq!(bundle.sh("hostname"), "a-host");
        bundle.done();
    }

    /// Policy, real-time priority and nice level, by fields 41, 40 and 19 of proc(5). Read by the shell itself: a process
    /// with a deadline has no children.
    const SCHEDULED: &str =
        "read -r line < /proc/self/stat; set -- $line; shift 18; nice=$1; shift 21; echo $2 $1 $nice";

    #[test]
    #[ignore = "needs root"]
    fn it_is_scheduled_as_the_document_says() {
        let mut bundle = Bundle::new("rt-sched");
        bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 5});
        assert_eq!(bundle.sh(SCHEDULED), "3 0 5");
        bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_IDLE", "flags": ["SCHED_FLAG_RESET_ON_FORK"]});
        assert!(bundle.sh(SCHEDULED).starts_with("5 "));
        bundle.config["process"]["scheduler"] =
            json!({"policy": "SCHED_DEADLINE", "runtime": 5_000_000, "deadline": 20_000_000, "period": 30_000_000});
        assert!(bundle.sh(SCHEDULED).starts_with("6 "));
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn real_time_is_given_or_refused_by_the_name_of_the_field() {
        let mut bundle = Bundle::new("rt-fifo");
        bundle.config["process"]["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 7});
        let said = bundle.script(SCHEDULED).run();
        // A v1 group begins without real-time runtime, where the kernel counts it.
        if bundle.host.controller("cpu", "").join("cpu.rt_runtime_us").exists() {
            assert_eq!(said.code, 1);
            assert!(said.stderr.contains("set process.scheduler to"), "{}", said.stderr);
        } else {
            assert!(said.ok().starts_with("1 7 "));
        }
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn what_joins_a_container_is_scheduled_by_its_own_document() {
        let mut bundle = Bundle::new("rt-sched-exec");
        bundle.applet("ionice");
        bundle.started();
        let process = bundle.process(|p| {
            p["args"] = json!(["sh", "-c", format!("{SCHEDULED}; ionice")]);
            p["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 6});
            p["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 2});
        });
        assert_eq!(bundle.verb(&["exec", "--process", &process, "c"]).ok(), "3 0 6\nbest-effort: prio 2");
        assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", SCHEDULED]).ok(), "0 0 0");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn its_disk_operations_have_the_priority_of_the_document() {
        let mut bundle = Bundle::new("rt-ioprio");
        bundle.applet("ionice");
        bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_BE", "priority": 6});
        assert_eq!(bundle.sh("ionice"), "best-effort: prio 6");
        bundle.config["process"]["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
        assert!(bundle.sh("ionice").starts_with("idle"));
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn programs_see_the_machine_that_the_document_names() {
        let mut bundle = Bundle::new("rt-persona");
        bundle.applet("uname");
        bundle.config["linux"]["personality"] = json!({"domain": "LINUX32"});
        assert_eq!(bundle.sh("uname -m"), "i686");
        bundle.started();
        assert_eq!(bundle.verb(&["exec", "c", "uname", "-m"]).ok(), "i686");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn memory_comes_from_the_nodes_of_the_document() {
        let mut bundle = Bundle::new("rt-mempolicy");
        bundle.config["linux"]["memoryPolicy"] =
            json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]});
        let look = ["sh", "-c", "grep -o 'bind=static:0' /proc/self/numa_maps | head -1"];
        assert_eq!(bundle.sh(look[2]), "bind=static:0");
        bundle.started();
        assert_eq!(bundle.verb(&[&["exec", "c"], &look[..]].concat()).ok(), "bind=static:0");
        bundle.verb(&["delete", "--force", "c"]).ok();
        // A node that this machine does not have.
        bundle.config["linux"]["memoryPolicy"] = json!({"mode": "MPOL_BIND", "nodes": "900"});
        let said = bundle.script("true").run();
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains("linux.memoryPolicy"), "{}", said.stderr);
        bundle.assert_clean();
    }

    /// The processors that a process may run on by its status file, one by one.
    fn processors(status: &str) -> BTreeSet<usize> {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:\t")).unwrap();
        list.split(',')
            .flat_map(|part| {
                let (first, last) = part.split_once('-').unwrap_or((part, part));
                first.parse::<usize>().unwrap()..=last.parse().unwrap()
            })
            .collect()
    }

    fn allowed(bundle: &Bundle, args: &[&str]) -> BTreeSet<usize> {
        processors(&bundle.verb(args).ok())
    }

    #[test]
    #[ignore = "needs root"]
    fn what_joins_a_container_runs_on_the_processors_of_the_document() {
        let mut bundle = Bundle::new("rt-affinity");
        bundle.started();
        let all = allowed(&bundle, &["exec", "c", "cat", "/proc/self/status"]);
        bundle.verb(&["delete", "--force", "c"]).ok();
        let (first, last) = (*all.first().unwrap(), *all.last().unwrap());
        bundle.config["process"]["execCPUAffinity"] = json!({"initial": first.to_string(), "final": last.to_string()});
        bundle.started();
        assert_eq!(allowed(&bundle, &["exec", "c", "cat", "/proc/self/status"]), BTreeSet::from([last]));
        // Not for the container's own process.
        assert_eq!(allowed(&bundle, &["exec", "c", "cat", "/proc/1/status"]), all);
        // Without a last word: where the kernel leaves it, which from Linux 6.2 on is where it has been.
        let process = bundle.process(|p| {
            p["args"] = json!(["cat", "/proc/self/status"]);
            p["execCPUAffinity"] = json!({"initial": first.to_string()});
        });
        assert_eq!(allowed(&bundle, &["exec", "--process", &process, "c"]), BTreeSet::from([first]));
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn processors_that_the_caller_is_bound_to_are_no_limit() {
        let mut bundle = Bundle::new("rt-caller-affinity");
        bundle.started();
        let all = allowed(&bundle, &["exec", "c", "cat", "/proc/self/status"]);
        bundle.verb(&["delete", "--force", "c"]).ok();
        let bound = |bundle: &Bundle, args: &[&str]| {
            let mut command = bundle.host.command("taskset");
            command.args(["-c", &all.first().unwrap().to_string()]).arg(program());
            command.args(["--root", "/run/runtime"]).args(args).stdin(std::process::Stdio::null());
            processors(&berth_test_host::run(&mut command))
        };
        let dir = bundle.dir();
        let run = ["run", "--bundle", dir.to_str().unwrap(), "c"];
        bundle.config["process"]["args"] = json!(["cat", "/proc/self/status"]);
        bundle.write();
        assert_eq!(bound(&bundle, &run), all);
        bundle.started();
        assert_eq!(bound(&bundle, &["exec", "c", "cat", "/proc/self/status"]), all);
        bundle.verb(&["delete", "--force", "c"]).ok();
        bundle.config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
        bundle.config["linux"]["uidMappings"] = map.clone();
        bundle.config["linux"]["gidMappings"] = map;
        bundle.config["process"]["args"] = json!(["cat", "/proc/self/status"]);
        bundle.write();
        assert_eq!(bound(&bundle, &run), all);
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn fields_of_other_systems_are_passed_over() {
        let mut bundle = Bundle::new("rt-others");
        for (name, value) in [
            ("windows", json!({"layerFolders": ["C:\\"]})),
            ("solaris", json!({"milestone": "m"})),
            ("vm", json!({"kernel": {"path": "/k"}})),
            ("zos", json!({"namespaces": [{"type": "pid"}]})),
            ("freebsd", json!({"jail": {"parent": "p"}})),
        ] {
            bundle.config[name] = value;
        }
        assert_eq!(bundle.sh("echo fine"), "fine");
        bundle.done();
    }
}
