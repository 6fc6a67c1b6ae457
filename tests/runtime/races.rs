//! Verbs that meet on one container, and verbs that are killed.

use crate::bundle::{Bundle, PATIENCE, Said};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs the command lines at once, each in its own process.
fn at_once(bundle: &Bundle, lines: &[&[&str]]) -> Vec<Said> {
    let bundle = &bundle;
    std::thread::scope(|scope| {
        let running: Vec<_> = lines.iter().map(|line| scope.spawn(move || bundle.verb(line))).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[test]
#[ignore = "needs root"]
fn of_many_starts_one_starts_the_program_once() {
    let mut bundle = Bundle::new("rt-race-start");
    bundle.script("echo ran; exec sleep 1000").create().ok();
    let said = at_once(&bundle, &[&["start", "c"][..]; 8]);
    assert_eq!(said.iter().filter(|s| s.code == 0).count(), 1);
    berth_test_host::eventually("the program", PATIENCE, || bundle.said().contains("ran").then_some(()));
    assert_eq!(bundle.said(), "ran\n");
    assert_eq!(bundle.status(), "running");
    bundle.done();
}

/// Where runc of old is not as careful.
mod own {
    use super::*;

    #[test]
    #[ignore = "needs root"]
    fn of_many_deletes_one_deletes_and_all_find_it_gone() {
        let mut bundle = Bundle::new("rt-race-delete");
        for _ in 0..5 {
            bundle.script("exec sleep 1000").create().ok();
            let said = at_once(&bundle, &[&["delete", "c"][..]; 6]);
            assert_eq!(said.iter().filter(|s| s.code == 0).count(), 1);
            for refused in said.iter().filter(|s| s.code != 0) {
                assert!(refused.stderr.contains("does not exist"), "{}", refused.stderr);
            }
        }
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn verbs_of_all_kinds_at_once_end_and_leave_a_container_that_can_be_deleted() {
        let mut bundle = Bundle::new("rt-race-all");
        for _ in 0..5 {
            bundle.script("exec sleep 1000").create().ok();
            let lines: [&[&str]; 9] = [
                &["start", "c"],
                &["state", "c"],
                &["kill", "c", "KILL"],
                &["pause", "c"],
                &["resume", "c"],
                &["list"],
                &["kill", "c", "TERM"],
                &["start", "c"],
                &["delete", "c"],
            ];
            for said in at_once(&bundle, &lines) {
                // Refused, perhaps; never by a panic, and not because a file was half there.
                assert!(said.code == 0 || !said.stderr.is_empty(), "{}", said.code);
                for wrong in ["panicked", "read the state"] {
                    assert!(!said.stderr.contains(wrong), "{}", said.stderr);
                }
            }
            bundle.verb(&["delete", "--force", "c"]).ok();
            bundle.assert_clean();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn creates_and_forced_deletes_of_one_name_at_once_never_mix() {
        let mut bundle = Bundle::new("rt-race-create");
        bundle.script("exec sleep 1000").create().ok();
        bundle.verb(&["delete", "--force", "c"]).ok();
        let dir = bundle.dir().to_str().unwrap().to_owned();
        let created = AtomicUsize::new(0);
        // Its output to a file: a pipe would stay open as long as the container.
        let create = |thread: usize| {
            let errors = bundle.host.dir().join(format!("errors-{thread}"));
            let mut command = bundle.runtime();
            command.args(["create", "--bundle", &dir, "c"]).stdout(std::process::Stdio::null());
            if command.stderr(std::fs::File::create(&errors).unwrap()).status().unwrap().success() {
                created.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let said = std::fs::read_to_string(&errors).unwrap();
            // Too late, deleted before it was there, or killed by who deletes what is being made.
            let ends = ["already exists", "does not exist", "container process ended before it was ready"];
            assert!(ends.iter().any(|words| said.contains(words)), "{said}");
        };
        std::thread::scope(|scope| {
            let create = &create;
            for thread in 0..3 {
                scope.spawn(move || (0..6).for_each(|_| create(thread)));
                scope.spawn(|| (0..6).for_each(|_| drop(bundle.verb(&["delete", "--force", "c"]).ok())));
            }
        });
        assert!(created.into_inner() > 0, "none was created");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_run_that_cannot_hand_over_its_process_leaves_a_successor_of_its_name_alone() {
        use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, listen, socket};
        let mut bundle = Bundle::new("rt-race-hand-over");
        // Who connects waits: there is room for one who is not listened to.
        let path = bundle.host.dir().join("socket");
        let listener = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(std::os::fd::AsRawFd::as_raw_fd(&listener), &UnixAddr::new(&path).unwrap()).unwrap();
        listen(&listener, Backlog::new(0).unwrap()).unwrap();
        let _first = std::os::unix::net::UnixStream::connect(&path).unwrap();
        bundle.script("exec sleep 1000").write();
        let mut run = bundle.runtime();
        run.args(["run", "--detach", "--pidfd-socket"]).arg(&path).arg("--bundle").arg(bundle.dir()).arg("c");
        let errors = std::fs::File::create(bundle.host.dir().join("run-errors")).unwrap();
        let mut run = bundle.host.spawn(run.stdout(std::process::Stdio::null()).stderr(errors));
        berth_test_host::eventually("the program", PATIENCE, || {
            bundle.verb(&["state", "c"]).stdout.contains("\"running\"").then_some(())
        });
        bundle.verb(&["delete", "--force", "c"]).ok();
        bundle.create().ok();
        drop(listener);
        assert_eq!(run.wait(PATIENCE).code(), Some(1));
        let said = std::fs::read_to_string(bundle.host.dir().join("run-errors")).unwrap();
        assert!(said.contains("connect to"), "{said}");
        assert_eq!(bundle.status(), "created");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_create_that_is_killed_at_any_time_leaves_what_delete_removes() {
        let mut bundle = Bundle::new("rt-race-killed");
        bundle.script("exec sleep 1000").create().ok();
        bundle.verb(&["delete", "--force", "c"]).ok();
        let create = bundle.runtime();
        let words: Vec<_> = create.get_args().map(|a| a.to_str().unwrap()).skip_while(|a| *a != "--").skip(1).collect();
        let create = format!("{} create --bundle {} c >/dev/null 2>&1", words.join(" "), bundle.dir().display());
        let mut killed = 0;
        for step in 0..30 {
            // Another point of its life each time, counted in turns of a shell's loop, which are slow where it is.
            let script = format!(
                "cd /; {create} & i=0; while [ $i -lt {} ]; do i=$((i+1)); done; kill -9 $! 2>/dev/null; wait $!; echo $?",
                step * 300
            );
            killed += usize::from(bundle.host.run("sh", &["-c", &script]).trim() == "137");
            bundle.verb(&["delete", "--force", "c"]).ok();
            let state = bundle.verb(&["state", "c"]);
            assert!(state.stderr.contains("does not exist"), "{step}: {}{}", state.stdout, state.stderr);
            bundle.assert_clean();
        }
        assert!(killed > 0, "every create came to its end");
    }

    #[test]
    #[ignore = "needs root"]
    fn a_run_that_is_killed_before_it_opens_the_gate_leaves_no_process() {
        let mut bundle = Bundle::new("rt-race-run-killed");
        // The file that is renamed to the pid file: opening it takes a reader, whom there is none.
        bundle.host.run("mkfifo", &[bundle.host.dir().join(".pid").to_str().unwrap()]);
        let (dir, pid_file) = (bundle.dir(), bundle.host.dir().join("pid"));
        bundle.script("exec sleep 1000").write();
        let mut run = bundle.runtime();
        run.args(["run", "--pid-file", pid_file.to_str().unwrap(), "--bundle", dir.to_str().unwrap(), "c"]);
        let run = bundle.host.spawn(run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()));
        berth_test_host::eventually("the record of the init", PATIENCE, || {
            let said = bundle.verb(&["state", "c"]);
            let state: serde_json::Value = serde_json::from_str(&said.stdout).ok()?;
            state["pid"].as_u64().filter(|pid| *pid > 0)
        });
        drop(run);
        bundle.wait_status("stopped");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_start_that_is_killed_in_a_hook_leaves_a_container_that_runs_when_the_hook_has_ended() {
        let mut bundle = Bundle::new("rt-race-start-killed");
        let script = "echo here > /data/here; while ! test -e /data/go; do sleep 0.01; done";
        bundle.config["hooks"] = json!({"startContainer": [
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin"]}]});
        bundle.script("exec sleep 1000").create().ok();
        let start = bundle.host.spawn(bundle.runtime().args(["start", "c"]));
        let here = bundle.rootfs().join("data/here");
        berth_test_host::eventually("the hook", PATIENCE, || here.exists().then_some(()));
        assert_eq!(bundle.status(), "created");
        drop(start);
        std::fs::write(bundle.rootfs().join("data/go"), "").unwrap();
        bundle.wait_status("running");
        let again = bundle.verb(&["start", "c"]);
        assert!(again.stderr.contains("cannot start an already running container"), "{}", again.stderr);
        bundle.verb(&["kill", "c", "KILL"]).ok();
        bundle.wait_status("stopped");
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_hook_that_never_ends_does_not_keep_a_container_from_being_deleted() {
        for kind in ["startContainer", "poststart"] {
            let mut bundle = Bundle::new("rt-race-hook");
            let here = bundle.rootfs().join("data/here");
            let place = if kind == "startContainer" { "/data/here".into() } else { here.display().to_string() };
            let script = format!("echo $$ > {place}.new; mv {place}.new {place}; exec sleep 1000");
            std::os::unix::fs::symlink("busybox", bundle.rootfs().join("bin/mv")).unwrap();
            bundle.config["hooks"] = json!({kind: [
                {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
            bundle.script("exec sleep 1000").create().ok();
            let start = bundle.host.spawn(bundle.runtime().args(["start", "c"]));
            berth_test_host::eventually("the hook", PATIENCE, || here.exists().then_some(()));
            bundle.verb(&["delete", "--force", "c"]).ok();
            assert!(bundle.verb(&["state", "c"]).stderr.contains("does not exist"), "{kind}");
            drop(start);
            if kind == "poststart" {
                // It is the host's, and nobody's to end but whoever wrote it.
                bundle.host.run("kill", &[std::fs::read_to_string(&here).unwrap().trim()]);
            }
            bundle.assert_clean();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_hook_of_the_host_that_never_ends_is_ended_with_the_container_that_is_deleted() {
        for kind in ["prestart", "createRuntime"] {
            let mut bundle = Bundle::new("rt-race-host-hook");
            let here = bundle.host.dir().join("here");
            let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 1000", here.display());
            bundle.config["hooks"] = json!({kind: [
                {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
            bundle.script("exec sleep 1000").write();
            let mut create = bundle.runtime();
            create.args(["create", "--bundle"]).arg(bundle.dir()).arg("c").stdout(std::process::Stdio::null());
            let said = std::fs::File::create(bundle.host.dir().join("said")).unwrap();
            let mut create = bundle.host.spawn(create.stderr(said));
            berth_test_host::eventually("the hook", PATIENCE, || here.exists().then_some(()));
            at_last(&bundle, &["delete", "--force", "c"]);
            assert_eq!(create.wait(PATIENCE).code(), Some(1), "{kind}");
            let words = bundle.said();
            assert!(
                words.contains(&format!("error running {kind} hook #0: the container's process has ended")),
                "{words}"
            );
            // By its number in the host.
            let hook = format!("! test -e /proc/{}", std::fs::read_to_string(&here).unwrap().trim());
            bundle.host.run("sh", &["-c", &hook]);
            bundle.assert_clean();
        }
    }

    #[test]
    #[ignore = "needs root"]
    fn a_pause_that_is_killed_at_any_time_leaves_a_container_that_can_be_resumed_or_started() {
        let mut bundle = Bundle::new("rt-race-pause");
        bundle.script("exec sleep 1000");
        let pause = bundle.words().join(" ");
        let mut killed = 0;
        for step in 0..40 {
            bundle.create().ok();
            let script = format!(
                "cd /; {pause} pause c & i=0; while [ $i -lt {} ]; do i=$((i+1)); done; kill -9 $! 2>/dev/null; wait $!; echo $?",
                step * 100
            );
            killed += usize::from(bundle.host.run("sh", &["-c", &script]).trim() == "137");
            if bundle.status() == "paused" {
                bundle.verb(&["resume", "c"]).ok();
            }
            at_last(&bundle, &["start", "c"]);
            assert_eq!(bundle.status(), "running", "{step}");
            bundle.verb(&["delete", "--force", "c"]).ok();
        }
        assert!(killed > 0, "every pause came to its end");
        bundle.assert_clean();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_created_container_whose_freezer_alone_is_on_can_be_resumed() {
        let mut bundle = Bundle::new("rt-race-frozen");
        bundle.script("exec sleep 1000").create().ok();
        let dir = bundle.host.controller("freezer", "berth-runtime-c");
        match dir.join("freezer.state") {
            file if file.exists() => std::fs::write(file, "FROZEN").unwrap(),
            _ => std::fs::write(dir.join("cgroup.freeze"), "1").unwrap(),
        }
        let start = bundle.verb(&["start", "c"]);
        assert!(start.stderr.contains("cannot start a container that is paused"), "{} {}", start.code, start.stderr);
        bundle.verb(&["resume", "c"]).ok();
        assert_eq!(bundle.status(), "created");
        at_last(&bundle, &["start", "c"]);
        assert!(bundle.verb(&["resume", "c"]).stderr.contains("container not paused"));
        bundle.done();
    }

    /// Starts `run` of container `c`, with its output to nowhere.
    fn running(bundle: &Bundle) -> berth_test_host::Running {
        bundle.write();
        let mut run = bundle.runtime();
        run.args(["run", "--bundle"]).arg(bundle.dir()).arg("c");
        bundle.host.spawn(run.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()))
    }

    /// A verb that must not have to wait for another's end.
    fn at_last(bundle: &Bundle, args: &[&str]) {
        let words = bundle.words();
        let words: Vec<&str> =
            ["10"].into_iter().chain(words.iter().map(String::as_str)).chain(args.iter().copied()).collect();
        bundle.host.run("timeout", &words);
    }

    #[test]
    #[ignore = "needs root"]
    fn run_gives_the_exit_code_of_a_container_that_was_deleted_and_leaves_its_successor_alone() {
        let mut bundle = Bundle::new("rt-race-run");
        for again in [false, true] {
            bundle.script("echo > /data/here; exec sleep 1000");
            let (here, pid) = (bundle.rootfs().join("data/here"), bundle.host.dir().join("run"));
            // Through a shell: `nsenter` stops itself with a child that stops.
            let words = bundle.words().join(" ");
            bundle.write();
            let script =
                format!("{words} run --bundle {} c & echo $! > {}; wait $!", bundle.dir().display(), pid.display());
            let mut run = bundle.host.command("sh");
            run.args(["-c", &script]).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
            let mut run = bundle.host.spawn(run.current_dir("/"));
            berth_test_host::eventually("the program", PATIENCE, || here.exists().then_some(()));
            bundle.wait_status("running");
            // It comes to the end of its container last.
            let pid = std::fs::read_to_string(pid).unwrap();
            bundle.host.run("kill", &["-STOP", pid.trim()]);
            bundle.verb(&["delete", "--force", "c"]).ok();
            if again {
                bundle.script("true").create().ok();
            }
            bundle.host.run("kill", &["-CONT", pid.trim()]);
            assert_eq!(run.wait(PATIENCE).code(), Some(137), "{again}");
            if again {
                assert_eq!(bundle.status(), "created");
            }
            std::fs::remove_file(here).unwrap();
        }
        bundle.done();
    }

    #[test]
    #[ignore = "needs root"]
    fn a_poststart_hook_of_run_keeps_nobody_from_the_container_and_its_failure_is_of_that_one_alone() {
        let mut bundle = Bundle::new("rt-race-run-hook");
        let file = |name: &str| bundle.host.dir().join(name);
        let (here, go) = (file("here"), file("go"));
        let script = format!("touch {}; while ! test -e {}; do sleep 0.01; done; exit 1", here.display(), go.display());
        bundle.config["hooks"] = json!({"poststart": [
            {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}]});
        bundle.script("exec sleep 1000");
        let mut run = running(&bundle);
        berth_test_host::eventually("the hook", PATIENCE, || here.exists().then_some(()));
        at_last(&bundle, &["pause", "c"]);
        at_last(&bundle, &["resume", "c"]);
        at_last(&bundle, &["delete", "--force", "c"]);
        bundle.config["hooks"] = json!({});
        bundle.script("true").create().ok();
        std::fs::write(go, "").unwrap();
        assert_eq!(run.wait(PATIENCE).code(), Some(1));
        assert_eq!(bundle.status(), "created");
        bundle.done();
    }
}
