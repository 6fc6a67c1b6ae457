//! Options of the command line, and what callers rely on in its answers.

use crate::bundle::{Bundle, PATIENCE, Said};
use berth_test_host::{eventually, output};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

fn says(said: Said, code: i32, text: &str) {
    assert_eq!(said.code, code, "{}", said.stderr);
    assert!(said.stderr.contains(text), "{}", said.stderr);
}

#[test]
#[ignore = "needs root"]
fn what_a_state_does_not_allow_is_refused_in_the_words_that_callers_know() {
    let mut bundle = Bundle::new("rt-words");
    says(bundle.verb(&["state", "c"]), 1, "container does not exist");
    says(bundle.verb(&["exec", "c", "true"]), 255, "container does not exist");
    bundle.started();
    says(bundle.verb(&["start", "c"]), 1, "cannot start an already running container");
    says(bundle.verb(&["delete", "c"]), 1, "that is not stopped: running");
    says(bundle.verb(&["resume", "c"]), 1, "container not paused");
    says(bundle.verb(&["kill", "c", "NOPE"]), 1, "unknown signal");
    says(bundle.verb(&["exec", "c"]), 255, "process args cannot be empty");
    says(bundle.verb(&["exec", "c", "no-such-program"]), 255, "executable file not found in $PATH");
    says(bundle.verb(&["exec", "c", "/no/such/program"]), 255, "o such file or directory");
    says(bundle.verb(&["exec", "c", "/etc/passwd"]), 255, "ermission denied");
    says(bundle.verb(&["exec", "--cwd", "/no/where", "c", "true"]), 255, "o such file or directory");
    bundle.verb(&["pause", "c"]).ok();
    says(bundle.verb(&["exec", "c", "true"]), 255, "cannot exec in a paused container");
    bundle.verb(&["resume", "c"]).ok();
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    says(bundle.verb(&["kill", "c"]), 1, "container not running");
    bundle.verb(&["kill", "--all", "c", "0"]).ok();
    says(bundle.verb(&["pause", "c"]), 1, "container not running");
    says(bundle.verb(&["start", "c"]), 1, "cannot start a container that has stopped");
    says(bundle.verb(&["exec", "c", "true"]), 255, "cannot exec in a stopped container");
    says(bundle.verb(&["list", "--format", "nonsense"]), 1, "invalid format option");
    says(bundle.verb(&["--log-format", "nonsense", "list"]), 1, "invalid log-format");
    says(bundle.verb(&["no-such-verb"]), 3, "elp topic for 'no-such-verb'");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_table_that_is_asked_for_by_name_must_be_there_to_be_listed() {
    let bundle = Bundle::new("rt-list-root");
    let said = bundle.verb(&["list"]);
    assert_eq!((said.code, said.stdout.as_str()), (1, ""));
    assert!(said.stderr.contains("`/run/runtime`: no such file or directory"), "{}", said.stderr);
    // The usual one is there once there has been a container.
    let usual = berth_test_host::run(bundle.host.command(crate::bundle::program()).arg("list"));
    assert!(usual.starts_with("ID") && usual.trim_end().lines().count() == 1, "{usual}");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn the_list_is_one_line_of_states_in_the_order_of_their_fields() {
    let mut bundle = Bundle::new("rt-list");
    bundle.host.run("mkdir", &["-p", "/run/runtime", "/run/other"]);
    assert_eq!(bundle.verb(&["list", "--quiet"]).ok(), "");
    bundle.started();
    let line = bundle.verb(&["list", "--format", "json"]).ok();
    let (state, dir) = (bundle.state(), bundle.dir());
    assert_eq!(line.lines().count(), 1);
    let dir = dir.display();
    let begin = format!(
        "[{{\"ociVersion\":{},\"id\":\"c\",\"pid\":{},\"status\":\"running\",\"bundle\":\"{dir}\",\"rootfs\":\"{dir}/rootfs\",\"created\":\"",
        state["ociVersion"], state["pid"]
    );
    assert!(line.starts_with(&begin) && line.ends_with(",\"owner\":\"root\"}]"), "{line}");
    let table = bundle.verb(&["list"]).ok();
    let rows: Vec<Vec<&str>> = table.lines().map(|l| l.split_ascii_whitespace().collect()).collect();
    assert_eq!(rows[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!((rows[1][0], rows[1][2], rows[1][5]), ("c", "running", "root"));
    // Another table has other containers.
    let mut other = bundle.runtime();
    assert_eq!(berth_test_host::run(other.args(["--root", "/run/other", "list", "-q"])), "");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_is_done_is_told_where_it_is_asked_for() {
    let mut bundle = Bundle::new("rt-debug");
    bundle.script("true").write();
    let log = bundle.host.dir().join("log");
    let dir = bundle.dir();
    let run = |format: &str| {
        let _ = std::fs::remove_file(&log);
        let log = log.to_str().unwrap();
        let options = ["--debug", "--log", log, "--log-format", format, "run", "--bundle", dir.to_str().unwrap(), "c"];
        let said = bundle.verb(&options);
        assert_eq!((said.code, said.stderr.as_str()), (0, ""));
        std::fs::read_to_string(log).unwrap()
    };
    assert!(run("text").contains("level=debug"));
    let text = run("json");
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(first["level"], json!("debug"));
    assert!(first["msg"].is_string() && first["time"].is_string());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_kept_container_is_deleted_by_its_owner() {
    let mut bundle = Bundle::new("rt-keep");
    assert_eq!(bundle.script("exit 2").run_with(&["--keep"]).code, 2);
    assert_eq!(bundle.status(), "stopped");
    bundle.verb(&["delete", "c"]).ok();
    says(bundle.verb(&["state", "c"]), 1, "does not exist");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_detached_run_leaves_a_running_container_and_its_pid() {
    let mut bundle = Bundle::new("rt-detach");
    bundle.script("sleep 1000").write();
    let file = bundle.host.dir().join("pid");
    let mut command = bundle.runtime();
    command.args(["run", "--detach", "--pid-file", file.to_str().unwrap(), "--bundle"]).arg(bundle.dir()).arg("c");
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["pid"].to_string(), std::fs::read_to_string(file).unwrap());
    bundle.done();
}

/// Runs a verb with descriptor 3 open on a file that holds `kept`, by a shell: Rust's own are close-on-exec.
fn with_descriptor_3(bundle: &Bundle, args: &[&str], environment: &str) -> Said {
    let file = bundle.host.dir().join("third");
    std::fs::write(&file, "kept\n").unwrap();
    let runtime = bundle.runtime();
    let mut script = bundle.host.command("sh");
    let words: Vec<&str> = runtime.get_args().map(|a| a.to_str().unwrap()).collect();
    // What comes after nsenter's own options is the runtime's command line.
    let at = words.iter().position(|w| *w == "--").unwrap() + 1;
    let line = format!("exec 3<{}; {environment} exec \"$@\"", file.display());
    script.args(["-c", &line, "sh"]).args(&words[at..]).args(args).stdin(Stdio::null());
    Said::from(&output(&mut script))
}

#[test]
#[ignore = "needs root"]
fn descriptors_are_handed_on_where_they_are_asked_for() {
    let mut bundle = Bundle::new("rt-preserve");
    let script = "cat <&3; ls /proc/self/fd | wc -l";
    bundle.script(script).write();
    let dir = bundle.dir();
    let run = |options: &[&str]| {
        let tail = ["--bundle", dir.to_str().unwrap(), "c"];
        with_descriptor_3(&bundle, &[&["run"], options, &tail[..]].concat(), "")
    };
    assert_eq!(run(&["--preserve-fds", "1"]).ok(), "kept\n5");
    assert_ne!(run(&[]).stdout.lines().next(), Some("kept"));
    bundle.started();
    let said = with_descriptor_3(&bundle, &["exec", "--preserve-fds", "1", "c", "sh", "-c", script], "");
    assert_eq!(said.ok(), "kept\n5");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn sockets_of_the_service_manager_are_handed_on_and_announced() {
    let mut bundle = Bundle::new("rt-listen");
    bundle.script("echo $LISTEN_FDS $LISTEN_PID; cat <&3").write();
    let dir = bundle.dir();
    let args = ["run", "--bundle", dir.to_str().unwrap(), "c"];
    // The shell's pid is the runtime's: it becomes it.
    let said = with_descriptor_3(&bundle, &args, "export LISTEN_FDS=1 LISTEN_PID=$$;");
    assert_eq!(said.ok(), "1 1\nkept");
    // Those of another process are not ours.
    let said = with_descriptor_3(&bundle, &args, "export LISTEN_FDS=1 LISTEN_PID=1;");
    assert!(!said.stdout.contains("kept"), "{}", said.stdout);
    bundle.done();
}

fn manager(bundle: &Bundle) -> (UnixDatagram, String) {
    let path = bundle.host.dir().join("manager.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (socket, path.to_str().unwrap().to_owned())
}

fn hear(socket: &UnixDatagram) -> String {
    let mut buffer = [0; 4096];
    let n = socket.recv(&mut buffer).unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

/// Puts a static program into the image that sends its argument to `$NOTIFY_SOCKET`.
fn notifier(bundle: &Bundle) {
    let probe = std::env::var_os("BERTH_PROBE_STATIC").expect("BERTH_PROBE_STATIC names the static probe");
    std::fs::copy(probe, bundle.rootfs().join("bin/probe")).unwrap();
}

#[test]
#[ignore = "needs root"]
fn readiness_of_the_program_is_told_to_the_service_manager() {
    let mut bundle = Bundle::new("rt-notify");
    notifier(&bundle);
    let (socket, path) = manager(&bundle);
    // The directory is the runtime's: a program that could write it would choose what a link of it leads to.
    let script = "touch /run/notify/new && touch /data/written
        probe notify 'STATUS=no' && probe notify 'READY=1'; sleep 1000";
    bundle.script(script).write();
    let mut command = bundle.runtime();
    command.args(["run", "--detach", "--bundle"]).arg(bundle.dir()).arg("c").env("NOTIFY_SOCKET", &path);
    let mut running = bundle.host.spawn(command.stdout(Stdio::null()).stderr(Stdio::null()));
    assert!(running.wait(PATIENCE).success());
    let mut said = hear(&socket);
    if !said.contains("MAINPID=") {
        said += &hear(&socket);
    }
    let pid = bundle.state()["pid"].to_string();
    assert!(said.contains("READY=1") && said.contains(&format!("MAINPID={pid}")), "{said}");
    assert!(!said.contains("STATUS"), "{said}");
    assert!(!bundle.rootfs().join("data/written").exists());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn waiting_for_readiness_can_be_interrupted_and_leaves_nothing() {
    let mut bundle = Bundle::new("rt-notify-interrupt");
    let (_socket, path) = manager(&bundle);
    bundle.script("sleep 1000").write();
    let mut command = bundle.runtime();
    command.args(["run", "--detach", "--bundle"]).arg(bundle.dir()).arg("c").env("NOTIFY_SOCKET", &path);
    let errors = File::create(bundle.host.dir().join("errors")).unwrap();
    let mut running = bundle.host.spawn(command.stdout(Stdio::null()).stderr(errors));
    eventually("the program to run", PATIENCE, || {
        let state = bundle.verb(&["state", "c"]);
        (state.code == 0 && state.stdout.contains("\"running\"")).then_some(())
    });
    running.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(!running.wait(PATIENCE).success());
    let said = std::fs::read_to_string(bundle.host.dir().join("errors")).unwrap();
    assert!(said.contains("interrupted by a signal"), "{said}");
    assert_ne!(bundle.verb(&["state", "c"]).code, 0);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn start_waits_for_readiness_when_the_service_manager_does() {
    let mut bundle = Bundle::new("rt-notify-start");
    notifier(&bundle);
    let (socket, path) = manager(&bundle);
    bundle.script("probe notify 'READY=1'; sleep 1000").write();
    let mut create = bundle.runtime();
    create.args(["create", "--bundle"]).arg(bundle.dir()).arg("c").env("NOTIFY_SOCKET", &path);
    assert!(create.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    // One that was killed while it waited has left its socket.
    UnixDatagram::bind(bundle.host.outside("/run/runtime/c/notify/notify.sock")).unwrap();
    let mut start = bundle.runtime();
    let mut starting = bundle.host.spawn(start.args(["start", "c"]).env("NOTIFY_SOCKET", &path));
    assert!(starting.wait(PATIENCE).success());
    assert!(hear(&socket).contains("READY=1"));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn readiness_is_told_whatever_the_length_of_root_and_id() {
    let mut bundle = Bundle::new("rt-notify-long");
    notifier(&bundle);
    let (socket, path) = manager(&bundle);
    bundle.script("probe notify 'READY=1'; sleep 1000").write();
    let (root, id) = (format!("/run/{}", "r".repeat(100)), "i".repeat(200));
    let dir = bundle.dir();
    bundle.config["linux"]["cgroupsPath"] = json!("/runtime-long");
    bundle.write();
    let verb = |args: &[&str]| {
        let mut command = bundle.host.command(crate::bundle::program());
        command.args(["--root", &root]).args(args).arg(&id).current_dir("/").env("NOTIFY_SOCKET", &path);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut running = bundle.host.spawn(&mut command);
        assert!(running.wait(PATIENCE).success(), "{args:?}");
    };
    let bundle_dir = dir.to_str().unwrap();
    for steps in [&[&["create", "--bundle", bundle_dir][..], &["start"]][..], &[&["run", "-d", "--bundle", bundle_dir]]]
    {
        steps.iter().for_each(|step| verb(step));
        assert!(hear(&socket).contains("READY=1"));
        verb(&["delete", "--force"]);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn without_pivot_root_no_private_root_is_promised() {
    let mut bundle = Bundle::new("rt-no-pivot-private");
    for propagation in ["private", "rprivate"] {
        bundle.config["linux"]["rootfsPropagation"] = json!(propagation);
        let said = bundle.run_with(&["--no-pivot"]);
        let why = "rootfsPropagation of [r]private is not safe without pivot_root";
        assert!(said.code == 1 && said.stderr.contains(why), "{propagation}: {} {}", said.code, said.stderr);
        bundle.run().ok();
    }
    for propagation in ["rslave", "slave"] {
        bundle.config["linux"]["rootfsPropagation"] = json!(propagation);
        bundle.run_with(&["--no-pivot"]).ok();
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn without_pivot_root_the_container_sees_nothing_of_the_hosts_mounts() {
    let mut bundle = Bundle::new("rt-no-pivot");
    bundle.script("ls /; cut -d' ' -f2 /proc/mounts | sort | head -2; cat /proc/1/root/etc/group | head -1; pwd");
    let pivoted = bundle.run().ok();
    let said = bundle.run_with(&["--no-pivot"]).ok();
    assert_eq!(said, pivoted);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_further_process_has_the_groups_capabilities_and_privileges_it_is_given() {
    let mut bundle = Bundle::new("rt-exec-more");
    bundle.config["process"]["noNewPrivileges"] = json!(false);
    bundle.started();
    let exec =
        |options: &[&str], script: &str| bundle.verb(&[&["exec"], options, &["c", "sh", "-c", script]].concat()).ok();
    assert_eq!(exec(&["--additional-gids", "99", "--additional-gids", "100"], "id -G"), "0 99 100");
    let bits = "grep CapEff /proc/self/status | cut -f2";
    let before = u64::from_str_radix(&exec(&[], bits), 16).unwrap();
    let after = u64::from_str_radix(&exec(&["--cap", "CAP_NET_ADMIN"], bits), 16).unwrap();
    assert_eq!(after, before | 1 << 12);
    let privileges = "grep NoNewPrivs /proc/self/status | cut -f2";
    assert_eq!(exec(&[], privileges), "0");
    assert_eq!(exec(&["--no-new-privs"], privileges), "1");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_error_is_told_whatever_the_length_of_what_it_is_about() {
    let mut bundle = Bundle::new("rt-long-error");
    let name = format!("/{}", "n".repeat(5000));
    bundle.config["process"]["args"] = json!([name]);
    bundle.write();
    says(bundle.run(), 1, "nnn");
    bundle.started();
    says(bundle.verb(&["exec", "c", &name]), 255, "nnn");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_pid_file_does_not_go_where_a_link_in_its_way_leads() {
    let mut bundle = Bundle::new("rt-pid-link");
    let dir = bundle.host.dir().to_owned();
    std::fs::write(dir.join("victim"), "kept").unwrap();
    std::os::unix::fs::symlink("victim", dir.join(".pid")).unwrap();
    bundle.script("true").write();
    let said = bundle.create_with(&["--pid-file", dir.join("pid").to_str().unwrap()]);
    assert_ne!(said.code, 0);
    assert_eq!(std::fs::read_to_string(dir.join("victim")).unwrap(), "kept");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_bundle_whose_path_is_no_text_is_refused() {
    use std::os::unix::ffi::OsStrExt;
    let mut bundle = Bundle::new("rt-no-text");
    bundle.script("true").write();
    let link = bundle.host.dir().join(std::ffi::OsStr::from_bytes(b"b\xff"));
    std::fs::create_dir(&link).unwrap();
    std::fs::copy(bundle.dir().join("config.json"), link.join("config.json")).unwrap();
    let mut run = bundle.runtime();
    says(Said::from(&output(run.args(["run", "--bundle"]).arg(&link).arg("c"))), 1, "not UTF-8");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_id_that_could_not_be_taken_is_free() {
    let mut bundle = Bundle::new("rt-no-room");
    bundle.script("true").write();
    let root = bundle.host.dir().join("table");
    let at = root.to_str().unwrap();
    bundle.host.run("mkdir", &[at]);
    // Room for the container's directory, and none for its lock.
    bundle.host.run("mount", &["-t", "tmpfs", "-o", "nr_inodes=2", "tmpfs", at]);
    let (root, dir) = (["--root", at], bundle.dir());
    let run = [&root[..], &["run", "--bundle", dir.to_str().unwrap(), "c"]].concat();
    says(bundle.verb(&run), 1, "no space left");
    bundle.host.run("mount", &["-o", "remount,nr_inodes=100", at]);
    bundle.verb(&run).ok();
    bundle.host.run("umount", &[at]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_nobody_hears_changes_nothing() {
    let mut bundle = Bundle::new("rt-unheard");
    bundle.config["process"]["capabilities"]["bounding"] = json!(["CAP_KILL", "CAP_OF_NOBODY"]);
    bundle.script("sleep 1000").write();
    let full = || File::options().write(true).open("/dev/full").unwrap();
    let code = |args: &[&str], out: Stdio, err: Stdio| {
        let mut command = bundle.runtime();
        command.args(args).stdin(Stdio::null()).stdout(out).stderr(err).status().unwrap().code()
    };
    // The warning goes nowhere, and the container runs all the same.
    let dir = bundle.dir();
    let run = ["run", "--detach", "--bundle", dir.to_str().unwrap(), "c"];
    assert_eq!(code(&run, Stdio::null(), full().into()), Some(0));
    bundle.wait_status("running");
    assert_eq!(code(&["delete", "nobody"], Stdio::null(), full().into()), Some(1));
    for verb in
        [&["list"][..], &["list", "--quiet"], &["state", "c"], &["ps", "c"], &["features"], &["--version"], &["--help"]]
    {
        assert_eq!(code(verb, full().into(), Stdio::null()), Some(1), "{verb:?}");
        // Who has closed the pipe has read enough.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(code(verb, writer.into(), Stdio::null()), Some(0), "{verb:?}");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_further_process_runs_in_the_group_below_that_it_is_given() {
    let mut bundle = Bundle::new("rt-exec-below");
    bundle.config["linux"]["cgroupsPath"] = json!("/runtime-below");
    bundle.started();
    says(bundle.verb(&["exec", "--cgroup", "nowhere", "c", "true"]), 255, "nowhere");
    for dir in bundle.host.cgroup("runtime-below").into_iter().filter(|dir| dir.is_dir()) {
        std::fs::create_dir(dir.join("below")).unwrap();
    }
    // A new cpuset of version 1 takes no process; version 2 has no controllers to choose from.
    let below = if bundle.host.cgroup("").len() > 1 { "memory,pids:below" } else { "below" };
    let file = bundle.host.dir().join("pid");
    let mut command = bundle.runtime();
    command.args(["exec", "--detach", "--cgroup", below, "--pid-file", file.to_str().unwrap(), "c", "sleep", "1000"]);
    assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
    assert!(std::fs::read_to_string(&file).unwrap().parse::<u32>().is_ok());
    let members = |controller: &str, group: &str| {
        std::fs::read_to_string(bundle.host.controller(controller, group).join("cgroup.procs")).unwrap()
    };
    for controller in ["memory", "pids"] {
        assert_eq!(members(controller, "runtime-below/below").lines().count(), 1, "{controller}");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_further_process_in_a_paused_container_waits_where_that_is_wanted() {
    let mut bundle = Bundle::new("rt-exec-paused");
    bundle.started();
    bundle.verb(&["pause", "c"]).ok();
    let said = File::create(bundle.host.dir().join("further")).unwrap();
    let mut command = bundle.runtime();
    command.args(["exec", "--ignore-paused", "c", "echo", "went on"]).stdout(said);
    let mut running = bundle.host.spawn(&mut command);
    assert!(running.nsenter.try_wait().unwrap().is_none());
    bundle.verb(&["resume", "c"]).ok();
    assert_eq!(running.wait(PATIENCE).code(), Some(0));
    assert_eq!(std::fs::read_to_string(bundle.host.dir().join("further")).unwrap(), "went on\n");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_whole_process_may_say_no_more_than_what_it_runs_and_where() {
    let mut bundle = Bundle::new("rt-exec-least");
    bundle.started();
    let file = bundle.host.dir().join("process.json");
    std::fs::write(&file, json!({"args": ["/bin/pwd"], "cwd": "/tmp"}).to_string()).unwrap();
    assert_eq!(bundle.verb(&["exec", "--process", file.to_str().unwrap(), "c"]).ok(), "/tmp");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn without_a_pid_namespace_all_processes_end_with_the_container() {
    let mut bundle = Bundle::new("rt-host-pids");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
    bundle.started();
    for _ in 0..3 {
        bundle.exec_detached(&["sleep", "1000"]);
    }
    let processes = || bundle.verb(&["ps", "--format", "json", "c"]).ok();
    assert!(serde_json::from_str::<Vec<u32>>(&processes()).unwrap().len() >= 4);
    bundle.verb(&["kill", "c", "KILL"]).ok();
    bundle.wait_status("stopped");
    eventually("the others to end", PATIENCE, || matches!(processes().as_str(), "[]" | "null").then_some(()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_example_runs_as_it_is_written() {
    let mut bundle = Bundle::new("rt-spec");
    let spec = |bundle: &Bundle| bundle.verb(&["spec", "--bundle", bundle.dir().to_str().unwrap()]);
    spec(&bundle).ok();
    says(spec(&bundle), 1, "config.json exists");
    let text = std::fs::read_to_string(bundle.dir().join("config.json")).unwrap();
    bundle.config = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle.config["process"]["args"], json!(["sh"]));
    assert_eq!(
        bundle.sh("echo $TERM; tty; touch /x 2>/dev/null || echo kept").replace('\r', ""),
        "xterm\n/dev/pts/0\nkept"
    );
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn checkpoints_are_refused_by_name() {
    let bundle = Bundle::new("rt-checkpoint");
    for args in [&["checkpoint", "--image-path", "/tmp/x", "c"][..], &["restore", "c"], &["help", "checkpoint"]] {
        says(bundle.verb(args), 1, "checkpoint and restore are not supported");
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn who_is_not_root_is_told_so_before_anything_is_made() {
    let bundle = Bundle::new("rt-not-root");
    bundle.write();
    let runtime = bundle.runtime();
    let words: Vec<&str> = runtime.get_args().map(|a| a.to_str().unwrap()).collect();
    let at = words.iter().position(|w| *w == "--").unwrap() + 1;
    let dir = bundle.dir();
    for (verb, code) in [("create", 1), ("run", 1), ("exec", 255)] {
        let mut command = bundle.host.command("unshare");
        command.arg("--user").args(&words[at..]).arg(verb);
        match verb {
            "exec" => command.args(["c", "true"]),
            _ => command.args(["--bundle", dir.to_str().unwrap(), "c"]),
        };
        says(Said::from(&output(&mut command)), code, &format!("{verb} needs root"));
    }
    says(bundle.verb(&["--rootless", "maybe", "list"]), 1, "invalid rootless value `maybe`");
    bundle.host.run("mkdir", &["/run/runtime"]);
    for value in ["true", "false", "auto"] {
        bundle.verb(&["--rootless", value, "list"]).ok();
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn sockets_of_the_service_manager_that_are_not_there_are_refused() {
    let mut bundle = Bundle::new("rt-listen-none");
    bundle.script("true").write();
    let dir = bundle.dir();
    let tail = ["--bundle", dir.to_str().unwrap(), "c"];
    let run = |options: &[&str], n: &str| {
        let environment = format!("export LISTEN_FDS={n} LISTEN_PID=$$; exec 4<&- 5<&-;");
        with_descriptor_3(&bundle, &[&["run"], options, &tail[..]].concat(), &environment)
    };
    run(&[], "1").ok();
    says(run(&[], "2"), 1, "descriptor");
    says(run(&[], "4294967295"), 1, "LISTEN_FDS");
    says(run(&["--preserve-fds", "4294967295"], "1"), 1, "preserve-fds");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn an_interval_longer_than_time_itself_ends_with_the_container() {
    let mut bundle = Bundle::new("rt-events-long");
    bundle.started();
    let mut command = bundle.runtime();
    command.args(["events", "--interval", "3000000000000000h", "c"]).stdout(Stdio::null());
    let mut running = bundle.host.spawn(&mut command);
    bundle.verb(&["kill", "c", "KILL"]).ok();
    let status = running.wait(PATIENCE);
    // It may have come after the end.
    assert!(matches!(status.code(), Some(0 | 1)), "{status:?}");
}

#[test]
#[ignore = "needs root"]
fn a_damaged_record_is_told_of_and_hides_no_other_container() {
    let mut bundle = Bundle::new("rt-list-damaged");
    bundle.script("true").create().ok();
    let damaged = bundle.host.outside("/run/runtime/b");
    std::fs::create_dir(&damaged).unwrap();
    for contents in ["", "{}", "{\"oci"] {
        std::fs::write(damaged.join("state.json"), contents).unwrap();
        let said = bundle.verb(&["list", "-q"]);
        assert_eq!((said.code, said.stdout.as_str()), (0, "c"), "{}", said.stderr);
        assert!(said.stderr.contains("warning: read the state of container `b`"), "{}", said.stderr);
    }
    std::fs::remove_dir_all(damaged).unwrap();
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_else_lies_in_the_table_hides_no_container() {
    let mut bundle = Bundle::new("rt-stray");
    bundle.started();
    std::fs::write(bundle.host.outside("/run/runtime/stray"), "").unwrap();
    std::fs::create_dir(bundle.host.outside("/run/runtime/a b")).unwrap();
    assert_eq!(bundle.verb(&["list", "--quiet"]).ok(), "c");
    std::fs::remove_file(bundle.host.outside("/run/runtime/stray")).unwrap();
    std::fs::remove_dir(bundle.host.outside("/run/runtime/a b")).unwrap();
    bundle.done();
}
