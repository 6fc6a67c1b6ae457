//! Hooks: when and where each of them runs, what it is given, and what becomes of the container when it fails.

use crate::bundle::{Bundle, PATIENCE};
use serde_json::{Value, json};
use std::path::PathBuf;

const CREATE_TIME: [&str; 3] = ["prestart", "createRuntime", "createContainer"];

impl Bundle {
    fn log(&self) -> PathBuf {
        self.host.dir().join("log")
    }

    /// What hooks on the host have written.
    fn logged(&self) -> Vec<String> {
        std::fs::read_to_string(self.log()).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn add_hook(&mut self, kind: &str, script: &str) {
        let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/sbin:/usr/bin:/bin"]});
        match &mut self.config["hooks"][kind] {
            Value::Array(hooks) => hooks.push(hook),
            none => *none = json!([hook]),
        }
    }

    /// A hook that writes what it is and what state it was given; one of startContainer writes into the container.
    fn add_logging_hook(&mut self, kind: &str, name: &str) {
        let to = if kind == "startContainer" { "/data/log".into() } else { self.log() };
        self.add_hook(kind, &format!("echo {name} $(cat) >> {}", to.display()));
    }

    fn logged_inside(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.rootfs().join("data/log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Names and states of what logging hooks wrote.
fn states(lines: &[String]) -> Vec<(String, Value)> {
    let parse = |line: &String| {
        let (name, state) = line.split_once(' ').unwrap();
        (name.to_owned(), serde_json::from_str(state).unwrap_or_else(|e| panic!("{e}: {state}")))
    };
    lines.iter().map(parse).collect()
}

fn names(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| line.split(' ').next().unwrap()).collect()
}

#[test]
#[ignore = "needs root"]
fn each_runs_at_its_time_in_the_order_of_the_document_with_the_state_of_then() {
    let mut bundle = Bundle::new("rt-hooks");
    bundle.config["annotations"] = json!({"org.example": "a \"word\""});
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststop"] {
        bundle.add_logging_hook(kind, kind);
        bundle.add_logging_hook(kind, &format!("{kind}-2"));
    }
    bundle.script("echo program >> /data/log; exec sleep 1000").create().ok();
    let create_time =
        ["prestart", "prestart-2", "createRuntime", "createRuntime-2", "createContainer", "createContainer-2"];
    let logged = bundle.logged();
    assert_eq!(names(&logged), create_time);
    assert_eq!(bundle.logged_inside(), [""; 0]);
    let (pid, version) = (bundle.state()["pid"].clone(), bundle.state()["ociVersion"].clone());
    for (name, state) in states(&logged) {
        assert_eq!(state["status"], "creating", "{name}");
        assert_eq!(state["id"], "c", "{name}");
        assert_eq!(state["bundle"], json!(bundle.dir()), "{name}");
        assert_eq!(state["annotations"]["org.example"], "a \"word\"", "{name}");
        assert_eq!(state["ociVersion"], version, "{name}");
        // In the container's namespaces the init has another number.
        let seen = if name.starts_with("createContainer") { json!(1) } else { pid.clone() };
        assert_eq!(state["pid"], seen, "{name}");
    }
    bundle.verb(&["start", "c"]).ok();
    let inside = berth_test_host::eventually("the program", PATIENCE, || {
        Some(bundle.logged_inside()).filter(|lines| lines.iter().any(|l| l == "program"))
    });
    assert_eq!(names(&inside), ["startContainer", "startContainer-2", "program"]);
    for (name, state) in states(&inside[..2]) {
        assert_eq!((&state["status"], &state["pid"]), (&json!("created"), &json!(1)), "{name}");
    }
    // Later changes of the document are nothing to this container.
    std::fs::remove_file(bundle.dir().join("config.json")).unwrap();
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    assert_eq!(bundle.logged().len(), 6);
    bundle.verb(&["delete", "c"]).ok();
    let logged = bundle.logged();
    assert_eq!(names(&logged[6..]), ["poststop", "poststop-2"]);
    assert_eq!(states(&logged[6..])[0].1["status"], "stopped");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn those_on_the_host_work_in_the_bundle_while_it_is_there() {
    let mut bundle = Bundle::new("rt-hooks-cwd");
    let (log, place) = (bundle.log(), bundle.dir());
    for kind in ["prestart", "createRuntime", "poststart", "poststop"] {
        bundle.add_hook(kind, &format!("echo {kind} $(pwd) >> {}", log.display()));
    }
    let line = |kind: &str, dir: &std::path::Path| format!("{kind} {}", dir.display());
    bundle.started();
    let mut expected: Vec<_> =
        ["prestart", "createRuntime", "poststart"].iter().map(|kind| line(kind, &place)).collect();
    assert_eq!(bundle.logged(), expected);
    std::fs::rename(&place, place.with_file_name("elsewhere")).unwrap();
    // Nor is one that cannot be entered a reason to leave out what cleans up.
    std::fs::write(&place, "").unwrap();
    bundle.verb(&["delete", "--force", "c"]).ok();
    expected.push("poststop /".to_owned());
    assert_eq!(bundle.logged(), expected);
    std::fs::remove_file(&place).unwrap();
    std::fs::rename(place.with_file_name("elsewhere"), &place).unwrap();
    std::fs::remove_file(&log).unwrap();
    bundle.script("true").run().ok();
    assert_eq!(bundle.logged(), ["prestart", "createRuntime", "poststart", "poststop"].map(|kind| line(kind, &place)));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn those_of_the_runtime_run_in_the_hosts_namespaces_and_those_of_the_container_in_its_own() {
    let mut bundle = Bundle::new("rt-hooks-ns");
    let kinds = ["mnt", "net", "uts", "ipc", "pid"];
    let look = "for n in mnt net uts ipc pid; do readlink /proc/self/ns/$n; done >>";
    for kind in CREATE_TIME {
        bundle.add_hook(kind, &format!("{look} {}.{kind}", bundle.log().display()));
    }
    bundle.add_hook(
        "startContainer",
        &format!("{look} /data/start; test -e {} && exit 1; pwd > /data/cwd", bundle.log().display()),
    );
    bundle.config["process"]["cwd"] = json!("/tmp");
    bundle.script("exec sleep 1000").create().ok();
    let init = bundle.state()["pid"].as_u64().unwrap();
    let links = |pid: String| -> Vec<String> {
        let link = |kind: &&str| std::fs::read_link(bundle.host.outside(format!("/proc/{pid}/ns/{kind}")));
        kinds.iter().map(|kind| link(kind).unwrap().to_str().unwrap().to_owned()).collect()
    };
    let (hosts, own) = (links("1".into()), links(init.to_string()));
    let lines =
        |path: PathBuf| -> Vec<String> { std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect() };
    let of = |kind: &str| lines(PathBuf::from(format!("{}.{kind}", bundle.log().display())));
    assert_eq!(of("prestart"), hosts);
    assert_eq!(of("createRuntime"), hosts);
    assert_eq!(of("createContainer"), own);
    bundle.verb(&["start", "c"]).ok();
    assert_eq!(lines(bundle.rootfs().join("data/start")), own);
    assert_eq!(lines(bundle.rootfs().join("data/cwd")), ["/tmp"]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_they_mount_into_the_root_file_system_before_it_is_entered_stays_there() {
    let mut bundle = Bundle::new("rt-hooks-mount");
    let rootfs = bundle.rootfs();
    for dir in ["data/a", "data/b"] {
        std::fs::create_dir(rootfs.join(dir)).unwrap();
    }
    // From the host, as it is done with the pid of the state, and from inside, by the bundle's path and from where it is.
    let enter = format!(
        "pid=$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/'); nsenter -t $pid -m mount -t tmpfs hooked-a {}/data/a",
        rootfs.display()
    );
    bundle.add_hook("createRuntime", &enter);
    let inside = format!(
        "test -e {0}/config.json && grep -q ' {0}/rootfs/proc proc' /proc/self/mounts && mount -t tmpfs hooked-b data/b",
        bundle.dir().display()
    );
    bundle.add_hook("createContainer", &inside);
    assert_eq!(bundle.sh("grep -o '^hooked-.*/data/.' /proc/mounts"), "hooked-a /data/a\nhooked-b /data/b");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn arguments_and_environment_are_exactly_those_of_the_document() {
    let mut bundle = Bundle::new("rt-hooks-exact");
    let script = format!("cat /proc/$$/cmdline /proc/$$/environ > {}", bundle.log().display());
    bundle.config["hooks"] = json!({"createRuntime": [
        {"path": "/bin/sh", "args": ["a name", "-c", script, ""], "env": ["ONE=1", "TWO=2 and more"]}]});
    bundle.script("true").run().ok();
    let said = std::fs::read_to_string(bundle.log()).unwrap();
    assert_eq!(said, format!("a name\0-c\0{script}\0\0ONE=1\0TWO=2 and more\0"));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn run_has_all_of_them() {
    let mut bundle = Bundle::new("rt-hooks-run");
    for kind in ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"] {
        bundle.add_logging_hook(kind, kind);
    }
    // Until poststart has run: `run` would delete a container that has ended.
    let script = "echo program >> /data/log; while ! test -e /data/go; do sleep 0.01; done";
    bundle.add_hook("poststart", &format!("touch {}/data/go", bundle.rootfs().display()));
    bundle.script(script).run().ok();
    assert_eq!(names(&bundle.logged()), ["prestart", "createRuntime", "createContainer", "poststart", "poststop"]);
    let poststart = states(&bundle.logged()).into_iter().find(|(name, _)| name == "poststart").unwrap().1;
    assert!(poststart["pid"].as_u64().unwrap() > 1, "{poststart}");
    assert_eq!(names(&bundle.logged_inside()), ["startContainer", "program"]);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn poststop_comes_also_for_a_container_whose_init_was_killed_before_it_was_started() {
    let mut bundle = Bundle::new("rt-hooks-died");
    bundle.add_logging_hook("poststop", "poststop");
    bundle.script("true").create().ok();
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    bundle.verb(&["delete", "c"]).ok();
    assert_eq!(names(&bundle.logged()), ["poststop"]);
    bundle.assert_clean();
}

/// What this runtime does as the runtime specification 1.3 has it, and runc of old otherwise.
mod own {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn one_that_takes_too_long_is_killed_with_all_that_it_started() {
        let mut bundle = Bundle::new("rt-hooks-slow");
        bundle.add_hook("createRuntime", "sleep 1000 & wait");
        bundle.config["hooks"]["createRuntime"][0]["timeout"] = json!(1);
        let said = bundle.script("true").create();
        assert_eq!(said.code, 1);
        assert!(said.stderr.contains("createRuntime hook #0"), "{}", said.stderr);
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn one_that_fails_while_the_container_is_created_undoes_it_and_says_what_it_wrote() {
        for kind in CREATE_TIME {
            let mut bundle = Bundle::new("rt-hooks-fail");
            bundle.add_hook(kind, "true");
            bundle.add_hook(kind, "echo what went wrong >&2; exit 7");
            bundle.add_logging_hook(kind, "not-after-a-failure");
            bundle.add_logging_hook("poststop", "poststop");
            let said = bundle.script("echo ran > /data/ran").create();
            assert_eq!(said.code, 1, "{kind}");
            for word in [format!("error running {kind} hook #1"), "exit status 7".into(), "what went wrong".into()] {
                assert!(said.stderr.contains(&word), "{kind}: {word}: {}", said.stderr);
            }
            assert_eq!(names(&bundle.logged()), ["poststop"], "{kind}");
            assert!(!bundle.rootfs().join("data/ran").exists(), "{kind}");
            assert!(bundle.verb(&["state", "c"]).stderr.contains("does not exist"), "{kind}");
            bundle.assert_clean();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn one_that_fails_before_the_program_or_after_it_ends_and_deletes_the_container() {
        for kind in ["startContainer", "poststart"] {
            let mut bundle = Bundle::new("rt-hooks-start");
            bundle.add_hook(kind, "echo not today >&2; exit 7");
            bundle.add_logging_hook("poststop", "poststop");
            bundle.script("echo ran > /data/ran; exec sleep 1000").create().ok();
            let said = bundle.verb(&["start", "c"]);
            assert_eq!(said.code, 1, "{kind}");
            assert!(said.stderr.contains(&format!("error running {kind} hook #0")), "{kind}: {}", said.stderr);
            assert!(said.stderr.contains("not today"), "{kind}: {}", said.stderr);
            assert_eq!(names(&bundle.logged()), ["poststop"], "{kind}");
            if kind == "startContainer" {
                assert!(!bundle.rootfs().join("data/ran").exists());
            }
            assert!(bundle.verb(&["state", "c"]).stderr.contains("does not exist"), "{kind}");
            bundle.assert_clean();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn poststart_comes_when_the_program_runs_and_before_start_returns() {
        let mut bundle = Bundle::new("rt-hooks-poststart");
        bundle.add_hook(
            "poststart",
            &format!("readlink /proc/$(sed 's/.*\"pid\":\\([0-9]*\\).*/\\1/')/exe > {}", bundle.log().display()),
        );
        bundle.add_logging_hook("poststart", "poststart");
        bundle.script("exec sleep 1000").create().ok();
        assert_eq!(bundle.logged(), [""; 0]);
        bundle.verb(&["start", "c"]).ok();
        let logged = bundle.logged();
        assert_eq!(logged[0], "/bin/busybox");
        assert_eq!(states(&logged[1..])[0].1["status"], "running");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn poststop_hooks_that_fail_are_told_of_and_change_nothing() {
        let mut bundle = Bundle::new("rt-hooks-poststop");
        bundle.add_hook("poststop", "echo a pity; exit 1");
        bundle.add_logging_hook("poststop", "second");
        bundle.script("true").create().ok();
        let log = bundle.host.dir().join("json");
        let said = bundle.verb(&["--log", log.to_str().unwrap(), "--log-format", "json", "delete", "--force", "c"]);
        assert_eq!(said.code, 0, "{}", said.stderr);
        assert_eq!(names(&bundle.logged()), ["second"]);
        let line: Value = serde_json::from_str(&std::fs::read_to_string(log).unwrap()).unwrap();
        assert_eq!(line["level"], "warning");
        assert!(line["msg"].as_str().unwrap().contains("error running poststop hook #0"), "{line}");
        assert!(line["msg"].as_str().unwrap().contains("a pity"), "{line}");
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn those_before_the_program_have_no_more_rights_than_it_has() {
        let mut bundle = Bundle::new("rt-hooks-rights");
        bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34});
        bundle.config["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 28}]});
        for no_new_privileges in [true, false] {
            bundle.config["process"]["noNewPrivileges"] = json!(no_new_privileges);
            bundle.config["hooks"] = json!({});
            bundle.add_hook("startContainer", "id -u; grep CapEff /proc/self/status; mkdir /tmp/x; exit 1");
            let said = bundle.script("true").run();
            for word in ["33\n", "CapEff:\t0000000000000000", "No space left"] {
                assert!(said.stderr.contains(word), "{word}: {}", said.stderr);
            }
        }
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn features_name_all_of_them() {
        let bundle = Bundle::new("rt-hooks-features");
        let features: Value = serde_json::from_str(&bundle.verb(&["features"]).ok()).unwrap();
        let all = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
        assert_eq!(features["hooks"], json!(all));
    }
}

#[test]
#[ignore = "needs root"]
fn what_hooks_of_a_create_that_fails_leave_in_its_group_is_killed() {
    let mut bundle = Bundle::new("rt-hooks-left");
    // Nothing else ends them without a pid namespace of the container's own.
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
    bundle.add_hook("createContainer", "sleep 1000 </dev/null >/dev/null 2>&1 & exit 0");
    bundle.add_hook("createContainer", "exit 1");
    assert_eq!(bundle.script("true").create().code, 1);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn one_that_has_left_its_process_group_is_killed_by_its_timeout_as_well() {
    let mut bundle = Bundle::new("rt-hooks-group");
    // Into a group that a child has made.
    let leave = "import os, time\nc = os.fork()\nif c == 0: time.sleep(1000)\n\
        os.setpgid(c, c); os.setpgid(0, c); os.kill(c, 9); os.waitpid(c, 0); time.sleep(1000)";
    bundle.config["hooks"] = json!({"createRuntime": [
        {"path": "/usr/bin/python3", "args": ["python3", "-c", leave], "timeout": 1}]});
    bundle.script("true").write();
    let mut create = bundle.runtime();
    create.args(["create", "--bundle"]).arg(bundle.dir()).arg("c");
    let errors = bundle.host.dir().join("errors");
    create.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&errors).unwrap());
    let mut creating = bundle.host.spawn(&mut create);
    assert_eq!(creating.wait(PATIENCE).code(), Some(1));
    let said = std::fs::read_to_string(errors).unwrap();
    assert!(said.contains("took longer than its timeout of 1 s"), "{said}");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_run_that_is_interrupted_while_a_hook_hangs_leaves_nothing() {
    for kind in ["createRuntime", "createContainer", "startContainer", "poststart"] {
        let mut bundle = Bundle::new("rt-hook-hangs");
        let inside = kind == "startContainer";
        let file = if inside { "/data/hangs".into() } else { bundle.log().display().to_string() };
        bundle.add_hook(kind, &format!("PATH=/bin; echo > {file}; exec sleep 1000"));
        bundle.script("sleep 1000").write();
        let mut command = bundle.runtime();
        command.args(["run", "--bundle"]).arg(bundle.dir()).arg("c");
        let errors = std::fs::File::create(bundle.host.dir().join("errors")).unwrap();
        let mut running = bundle.host.spawn(command.stdout(std::process::Stdio::null()).stderr(errors));
        let seen = if inside { bundle.rootfs().join("data/hangs") } else { bundle.log() };
        berth_test_host::eventually("the hook", PATIENCE, || seen.exists().then_some(()));
        running.signal(nix::sys::signal::Signal::SIGTERM);
        assert_eq!(running.wait(PATIENCE).code(), Some(1), "{kind}");
        let said = std::fs::read_to_string(bundle.host.dir().join("errors")).unwrap();
        assert!(said.contains("interrupted by a signal"), "{kind}: {said}");
        assert!(bundle.verb(&["state", "c"]).stderr.contains("does not exist"));
        bundle.assert_clean();
    }
}

#[test]
#[ignore = "needs root"]
fn a_start_whose_init_is_killed_in_a_hook_fails_and_runs_no_hooks_of_a_program_that_runs() {
    let mut bundle = Bundle::new("rt-hooks-killed");
    bundle.add_hook("startContainer", "echo here > /data/here; exec sleep 1000");
    bundle.add_logging_hook("poststart", "poststart");
    bundle.script("exec sleep 1000").create().ok();
    let mut start = bundle.runtime();
    let mut start = bundle.host.spawn(start.args(["start", "c"]).stderr(std::process::Stdio::null()));
    let here = bundle.rootfs().join("data/here");
    berth_test_host::eventually("the hook", PATIENCE, || here.exists().then_some(()));
    bundle.verb(&["kill", "c", "KILL"]).ok();
    assert!(!start.wait(PATIENCE).success());
    assert_eq!(bundle.logged(), [""; 0]);
    // The start has heard of its end by a pipe, which is closed a moment before it is one.
    bundle.wait_status("stopped");
    bundle.done();
}
