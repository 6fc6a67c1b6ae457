//! The process of a container: who it is and what it has.

use crate::bundle::{Bundle, PATIENCE, program};
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn null_in_a_document_is_what_nobody_says() {
    let mut bundle = Bundle::new("rt-null");
    bundle.config["annotations"] = json!({"empty": null});
    bundle.config["process"]["user"] = json!(null);
    bundle.config["process"]["env"] = json!(null);
    bundle.config["linux"]["resources"]["devices"] =
        json!([{"allow": false, "access": "rwm", "type": "", "major": null}]);
    bundle.script("trap 'exit 3' TERM; /bin/busybox id -u; echo up; while :; do /bin/busybox sleep 1000 & wait; done");
    bundle.create().ok();
    assert_eq!(bundle.state()["annotations"]["empty"], "");
    bundle.verb(&["start", "c"]).ok();
    berth_test_host::eventually("the program", PATIENCE, || (bundle.said() == "0\nup\n").then_some(()));
    let process = bundle.host.dir().join("process.json");
    std::fs::write(&process, r#"{"args":["/bin/busybox","id","-u"],"env":null,"user":null,"cwd":"/"}"#).unwrap();
    assert_eq!(bundle.verb(&["exec", "--process", process.to_str().unwrap(), "c"]).ok(), "0");
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.config["process"]["args"] = json!(null);
    let said = bundle.run();
    assert!(said.code == 1 && said.stderr.contains("args"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn it_has_namespaces_of_its_own_and_is_pid_1() {
    let mut bundle = Bundle::new("rt-ns");
    let inside =
        bundle.sh("echo $$; hostname; cd /proc/self/ns; for n in cgroup ipc mnt net pid uts; do readlink $n; done");
    let lines: Vec<&str> = inside.lines().collect();
    assert_eq!(lines[..2], ["1", "inside"]);
    for (name, link) in ["cgroup", "ipc", "mnt", "net", "pid", "uts"].iter().zip(&lines[2..]) {
        let hosts = std::fs::read_link(format!("/proc/{}/ns/{name}", bundle.host.pid())).unwrap();
        assert_ne!(hosts.to_str().unwrap(), *link, "{name}");
    }
    assert_eq!(lines.len(), 8);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_namespace_by_path_is_joined() {
    let mut bundle = Bundle::new("rt-join");
    let net = format!("/proc/{}/ns/net", std::process::id());
    let ours = std::fs::read_link(&net).unwrap();
    // Through a descriptor of pid 1 of the host: its network namespace.
    bundle.config["linux"]["namespaces"][1] = json!({"type": "network", "path": "/proc/1/ns/net"});
    let hosts = std::fs::read_link(format!("/proc/{}/ns/net", bundle.host.pid())).unwrap();
    assert_ne!(ours, hosts);
    assert_eq!(bundle.sh("readlink /proc/self/ns/net"), hosts.to_str().unwrap());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_runs_as_the_user_it_is_given_with_the_groups_it_is_given() {
    let mut bundle = Bundle::new("rt-user");
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34, "additionalGids": [4, 5]});
    bundle.config["process"]["cwd"] = json!("/tmp");
    let said = bundle.sh("id -u; id -g; id -G; pwd; echo $FROM $HOME; grep -E 'CapEff|CapBnd' /proc/self/status");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..5], ["33", "34", "34 4 5", "/tmp", "config /srv"]);
    assert_eq!(lines[5], "CapEff:\t0000000000000000");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn capabilities_are_those_of_the_document() {
    let mut bundle = Bundle::new("rt-caps");
    bundle.config["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_KILL"], "effective": ["CAP_KILL"], "permitted": ["CAP_KILL"],
        "inheritable": ["CAP_KILL"], "ambient": ["CAP_KILL"]});
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    let said = bundle.sh("grep Cap /proc/self/status | cut -f2; grep NoNewPrivs /proc/self/status | cut -f2");
    let kill = format!("{:016x}", 1 << 5);
    let bounding = format!("{:016x}", 1 << 5 | 1);
    assert_eq!(said.lines().collect::<Vec<_>>(), [&kill, &kill, &kill, &bounding, &kill, "1"]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn limits_of_the_process_are_set() {
    let mut bundle = Bundle::new("rt-limits");
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    bundle.config["process"]["oomScoreAdj"] = json!(300);
    bundle.config["process"]["user"]["umask"] = json!(0o027);
    let said = bundle.sh("ulimit -n; ulimit -Hn; cat /proc/self/oom_score_adj; umask");
    assert_eq!(said.lines().collect::<Vec<_>>(), ["100", "200", "300", "0027"]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn limits_of_the_group_are_set_and_the_group_is_the_one_named() {
    let mut bundle = Bundle::new("rt-cgroup");
    bundle.config["linux"]["cgroupsPath"] = json!("/runtime-test/c");
    bundle.config["linux"]["resources"]["memory"] = json!({"limit": 64 << 20});
    bundle.config["linux"]["resources"]["pids"] = json!({"limit": 33});
    bundle.started();
    let read = |controller: &str, names: [&str; 2]| {
        let dir = bundle.host.controller(controller, "runtime-test/c");
        let text = names.iter().find_map(|name| std::fs::read_to_string(dir.join(name)).ok());
        text.unwrap_or_else(|| panic!("none of {names:?} in {}", dir.display())).trim().to_owned()
    };
    assert_eq!(read("memory", ["memory.max", "memory.limit_in_bytes"]), (64 << 20).to_string());
    assert_eq!(read("pids", ["pids.max", "pids.max"]), "33");
    assert!(!read("pids", ["cgroup.procs", "tasks"]).is_empty());
    bundle.verb(&["delete", "--force", "c"]).ok();
    // The parent was the document's wish; who wished for it removes it.
    for dir in bundle.host.cgroup("runtime-test") {
        let _ = std::fs::remove_dir(dir);
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_has_no_descriptors_but_the_standard_streams_and_those_to_preserve() {
    let mut bundle = Bundle::new("rt-fds");
    // `ls` has the directory open as one more.
    assert_eq!(bundle.sh("ls /proc/self/fd | sort | head -3; ls /proc/self/fd | wc -l"), "0\n1\n2\n4");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_can_open_its_standard_output_by_name_whoever_it_is() {
    let mut bundle = Bundle::new("rt-stdout");
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34});
    assert_eq!(bundle.sh("echo one > /dev/stdout; echo two > /proc/self/fd/1"), "one\ntwo");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_starts_in_a_directory_that_only_root_may_enter() {
    let mut bundle = Bundle::new("rt-private");
    let private = bundle.rootfs().join("private");
    std::fs::create_dir(&private).unwrap();
    std::fs::set_permissions(&private, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    bundle.config["process"]["cwd"] = json!("/private");
    bundle.config["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    assert_eq!(bundle.sh("pwd; id -u; ls 2>&1 | grep -o denied"), "/private\n1000\ndenied");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_home_that_is_empty_is_none() {
    let mut bundle = Bundle::new("rt-home");
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34});
    bundle.config["process"]["env"].as_array_mut().unwrap().push(json!("HOME="));
    assert_eq!(bundle.sh("echo $HOME"), "/srv");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_keeps_the_callers_limit_of_open_files() {
    let mut bundle = Bundle::new("rt-nofile");
    bundle.script("ulimit -n").write();
    let mut command = bundle.host.command("prlimit");
    command.arg("--nofile=3000:4000").arg(program()).args(["--root", "/run/runtime", "run", "--bundle"]);
    command.arg(bundle.dir()).arg("c").stdin(std::process::Stdio::null());
    assert_eq!(berth_test_host::run(&mut command).trim_end(), "3000");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_variable_that_is_given_twice_has_its_last_value() {
    let mut bundle = Bundle::new("rt-env-twice");
    bundle.config["process"]["env"] = json!(["A=first", "PATH=/bin", "B=", "A=last", "B=b=c"]);
    assert_eq!(bundle.sh("env | grep -E '^(A|B|PATH)=' | sort"), "A=last\nB=b=c\nPATH=/bin");
    assert_eq!(bundle.sh("cat /proc/$$/environ | tr '\\0' '\\n' | grep -c ^A="), "1");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_variable_without_a_name_is_refused() {
    let mut bundle = Bundle::new("rt-env-nameless");
    bundle.config["process"]["env"] = json!(["PATH=/bin", "=x"]);
    let said = bundle.script("true").run();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("environment variable name can't be empty"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn the_umask_of_its_caller_is_not_its_own() {
    let mut bundle = Bundle::new("rt-umask");
    bundle.script("umask").write();
    let run = r#"umask 077; exec "$0" --root /run/runtime run --bundle "$1" c"#;
    let mut command = bundle.host.command("sh");
    command.args(["-c", run]).arg(program()).arg(bundle.dir()).stdin(std::process::Stdio::null());
    assert_eq!(berth_test_host::run(&mut command).trim_end(), "0022");
    bundle.done();
}
