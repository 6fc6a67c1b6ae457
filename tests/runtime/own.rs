//! What only this runtime does, or does differently from runc.

use crate::bundle::Bundle;
use berth_runtime::codec::Codec;
use berth_runtime::image::snapshot::Snapshot;
use serde_json::json;
use std::fs::File;

fn program() -> std::path::PathBuf {
    berth_test_host::berth_runtime()
}

#[test]
#[ignore = "needs root"]
fn nobody_can_write_the_runtimes_program_through_a_process_of_a_container() {
    let mut bundle = Bundle::new("rt-exe");
    bundle.script("true").create().ok();
    let init = bundle.state()["pid"].as_u64().unwrap();
    // As the host's root, who may look at processes that are not dumpable: more than any container can.
    let exe = bundle.host.outside(format!("/proc/{init}/exe"));
    let flags = nix::sys::statvfs::statvfs(&exe).unwrap().flags();
    assert!(flags.contains(nix::sys::statvfs::FsFlags::ST_RDONLY), "{flags:?}");
    // A handle kept for when nobody runs the program any more, which is what "text file busy" would wait for.
    let handle = File::open(&exe).unwrap();
    bundle.verb(&["delete", "--force", "c"]).ok();
    let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&handle));
    assert!(File::options().write(true).open(again).is_err());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_script_interpreted_by_the_runtime_itself_cannot_write_it() {
    let mut bundle = Bundle::new("rt-interpreter");
    let before = std::fs::read(program()).unwrap();
    let script = bundle.rootfs().join("bin/trap");
    std::fs::write(&script, "#!/proc/self/exe\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    bundle.started();
    let writer = "while :; do for e in /proc/[0-9]*/exe; do case $(readlink $e) in /bin/busybox) ;; *) \
                  { echo pwned > $e; } 2>/dev/null && echo WROTE;; esac; done; done";
    bundle.exec_detached(&["sh", "-c", writer]);
    for _ in 0..10 {
        assert_ne!(bundle.verb(&["exec", "c", "/bin/trap"]).code, 0);
    }
    assert!(std::fs::read(program()).unwrap() == before);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_snapshot_beside_the_document_is_put_together_as_an_overlay() {
    let mut bundle = Bundle::new("rt-overlay");
    let dir = |name: &str| {
        let path = bundle.host.dir().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    };
    let (top, upper, work) = (dir("top"), dir("upper"), dir("work"));
    std::fs::write(top.join("from-top"), "top\n").unwrap();
    let snapshot = Snapshot { key: "k".into(), lower: vec![top.clone(), bundle.rootfs()], upper: upper.clone(), work };
    std::fs::write(bundle.dir().join("snapshot"), snapshot.to_bytes()).unwrap();
    assert_eq!(
        bundle.sh("cat /from-top; echo changed > /from-top; grep -o '^overlay / overlay' /proc/mounts"),
        "top\noverlay / overlay"
    );
    assert_eq!(std::fs::read_to_string(upper.join("from-top")).unwrap(), "changed\n");
    assert_eq!(std::fs::read_to_string(top.join("from-top")).unwrap(), "top\n");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn many_layers_with_long_paths_are_put_together() {
    let mut bundle = Bundle::new("rt-layers");
    let (upper, work) = (bundle.host.dir().join("upper"), bundle.host.dir().join("work"));
    std::fs::create_dir(&upper).unwrap();
    std::fs::create_dir(&work).unwrap();
    let mut lower = Vec::new();
    for i in 0..100 {
        let layer = bundle.host.dir().join(format!("a-layer-with-a-name-of-many-letters-{i}"));
        std::fs::create_dir(&layer).unwrap();
        std::fs::write(layer.join(format!("from-{i}")), "").unwrap();
        lower.push(layer);
    }
    lower.push(bundle.rootfs());
    std::fs::write(bundle.dir().join("snapshot"), Snapshot { key: "k".into(), lower, upper, work }.to_bytes()).unwrap();
    assert_eq!(bundle.sh("ls / | grep -c from-"), "100");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_default_filter_lets_a_shell_work_and_keeps_mount_away() {
    let mut bundle = Bundle::new("rt-default-filter");
    let profile = berth_runtime::security::seccomp::default_profile(0);
    bundle.config["linux"]["seccomp"] = serde_json::to_value(profile).unwrap();
    let all = json!(["CAP_SYS_ADMIN"]);
    bundle.config["process"]["capabilities"] = json!({"bounding": all, "effective": all, "permitted": all});
    let said =
        bundle.sh("ls / | sort | head -1; mount -t tmpfs x /tmp 2>/dev/null || echo kept; sleep 0; echo $(echo sub)");
    assert_eq!(said, "bin\nkept\nsub");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_user_of_exec_may_have_a_name() {
    let mut bundle = Bundle::new("rt-exec-name");
    bundle.started();
    let said = bundle.verb(&["exec", "--user", "nobody-here", "c", "true"]);
    assert_eq!(said.code, 255);
    assert!(said.stderr.contains("unable to find user nobody-here"), "{}", said.stderr);
    assert_eq!(bundle.verb(&["exec", "--user", "web", "c", "id", "-G"]).ok(), "34 4");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_is_not_supported_is_refused_by_name_and_leaves_nothing() {
    let mut bundle = Bundle::new("rt-refuse");
    bundle.config["linux"]["intelRdt"] = json!({"closID": "x"});
    let said = bundle.create();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("linux.intelRdt: is not supported"), "{}", said.stderr);
    assert!(bundle.verb(&["--systemd-cgroup", "list"]).stderr.contains("--systemd-cgroup"));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn an_explicit_limit_that_cannot_be_set_is_an_error() {
    let mut bundle = Bundle::new("rt-explicit");
    bundle.config["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 1u64 << 40, "hard": 1u64 << 40}]);
    let said = bundle.create();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("RLIMIT_NOFILE"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn proc_replaced_by_the_image_is_not_written_to() {
    let mut bundle = Bundle::new("rt-fake-proc");
    // CVE-2019-16884: what should be the kernel's is a directory of the image.
    bundle.config["mounts"].as_array_mut().unwrap().remove(0);
    std::fs::create_dir_all(bundle.rootfs().join("proc/sys/kernel")).unwrap();
    std::fs::write(bundle.rootfs().join("proc/sys/kernel/msgmax"), "").unwrap();
    bundle.config["linux"]["sysctl"] = json!({"kernel.msgmax": "4096"});
    let said = bundle.script("true").run();
    let written = std::fs::read_to_string(bundle.rootfs().join("proc/sys/kernel/msgmax")).unwrap();
    assert_ne!(said.code, 0);
    assert_eq!(written, "");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_program_of_device_rules_decides_for_a_version_2_group() {
    use berth_runtime::spec::DeviceRule;
    // Any cgroup2 mount does, also the one beside version 1 hierarchies that holds no controller.
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount = mounts.lines().find(|l| l.split(' ').nth(2) == Some("cgroup2")).expect("a cgroup2 mount is needed");
    let dir = std::path::Path::new(mount.split(' ').nth(1).unwrap()).join(format!("berth-test-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let rule = |allow, minor| DeviceRule { allow, kind: 'c', major: Some(1), minor, access: "rwm".into() };
    let group = File::open(&dir).unwrap();
    let put = berth_runtime::security::devices::restrict(
        std::os::fd::AsFd::as_fd(&group),
        &[rule(true, None), rule(false, Some(5))],
    );
    let script =
        format!("echo $$ > {}/cgroup.procs; head -c1 /dev/zero; echo a > /dev/null && echo fine", dir.display());
    let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    std::fs::remove_dir(&dir).unwrap();
    put.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("not permitted"), "{said}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "fine\n");
}

#[test]
#[ignore = "needs root"]
fn options_may_come_after_the_id_and_help_is_there_for_every_verb() {
    let mut bundle = Bundle::new("rt-options");
    bundle.script("true").write();
    let dir = bundle.dir();
    bundle.verb(&["run", "c", "--bundle", dir.to_str().unwrap()]).ok();
    let program = bundle.verb(&["--help"]).ok();
    assert_eq!(bundle.verb(&["help"]).ok(), program);
    let verbs = program.lines().skip_while(|l| *l != "COMMANDS:").skip(1).take_while(|l| !l.is_empty());
    let verbs: Vec<&str> = verbs.filter_map(|l| l.split_ascii_whitespace().next()).filter(|v| *v != "help").collect();
    assert!(verbs.len() >= 13, "{verbs:?}");
    for verb in verbs {
        assert!(bundle.verb(&[verb, "--help"]).ok().contains(&format!("berth-runtime {verb} - ")), "{verb}");
        assert_eq!(bundle.verb(&[verb, "-h"]).ok(), bundle.verb(&["help", verb]).ok());
        assert_eq!(bundle.verb(&[verb, "--no-such-option"]).stderr, "berth-runtime: unknown option `--no-such-option`");
    }
    assert!(bundle.verb(&["--version"]).ok().contains("\nspec: 1."));
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_descriptor_of_the_process_goes_to_the_pidfd_socket() {
    let mut bundle = Bundle::new("rt-pidfd");
    let path = bundle.host.dir().join("pidfd");
    let socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let passed = || {
        let (stream, _) = socket.accept().unwrap();
        let (mut bytes, mut fds) = ([0; 64], Vec::new());
        let n = berth_runtime::sys::fd::receive_with(&stream, &mut bytes, &mut fds).unwrap();
        (String::from_utf8_lossy(&bytes[..n]).into_owned(), fds.pop().expect("a descriptor is passed"))
    };
    bundle.script("sleep 1000").create_with(&["--pidfd-socket", path.to_str().unwrap()]).ok();
    let (kind, init) = passed();
    assert_eq!(kind, "standard");
    bundle.verb(&["start", "c"]).ok();
    let mut exec = bundle.runtime();
    exec.args(["exec", "--detach", "--pidfd-socket", path.to_str().unwrap(), "c", "sleep", "1000"]);
    assert!(exec.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).status().unwrap().success());
    let (kind, further) = passed();
    assert_eq!(kind, "setns");
    for process in [further, init] {
        assert!(!berth_runtime::sys::pidfd::wait_end(&process, Some(0)).unwrap());
        berth_runtime::sys::pidfd::signal(&process, 9).unwrap();
        assert!(berth_runtime::sys::pidfd::wait_end(&process, Some(10_000)).unwrap());
    }
    bundle.wait_status("stopped");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_create_that_was_killed_can_be_deleted() {
    let mut bundle = Bundle::new("rt-killed-create");
    bundle.script("true").write();
    // Writing the process id to a pipe that nobody reads lasts for ever.
    let pid_file = bundle.host.dir().join("pid");
    nix::unistd::mkfifo(&bundle.host.dir().join(".pid"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    for force in [true, false] {
        let mut create = bundle.runtime();
        create.args(["create", "--pid-file", pid_file.to_str().unwrap(), "--bundle"]).arg(bundle.dir()).arg("c");
        create.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let mut creating = bundle.host.spawn(&mut create);
        berth_test_host::eventually("the init", crate::bundle::PATIENCE, || {
            let said = bundle.verb(&["list", "--format", "json"]);
            said.stdout.contains("\"created\"").then_some(())
        });
        creating.signal(nix::sys::signal::Signal::SIGKILL);
        creating.wait(crate::bundle::PATIENCE);
        let options: &[&str] = if force { &["delete", "--force", "c"] } else { &["delete", "c"] };
        bundle.verb(options).ok();
        assert_eq!(bundle.verb(&["list", "-q"]).ok(), "");
        bundle.assert_clean();
    }
}

#[test]
#[ignore = "needs root"]
fn what_an_init_without_a_pid_namespace_leaves_behind_can_be_killed() {
    let mut bundle = Bundle::new("rt-orphans");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(0);
    for delete in [true, false] {
        bundle.started();
        bundle.exec_detached(&["sleep", "1000"]);
        let init = bundle.state()["pid"].to_string();
        bundle.host.run("kill", &["-9", &init]);
        bundle.wait_status("stopped");
        if !delete {
            bundle.verb(&["kill", "c", "KILL"]).ok();
            berth_test_host::eventually("the other to end", crate::bundle::PATIENCE, || {
                (bundle.verb(&["ps", "--format", "json", "c"]).ok() == "[]").then_some(())
            });
        }
        bundle.verb(&["delete", "c"]).ok();
        bundle.assert_clean();
    }
}

#[test]
#[ignore = "needs root"]
fn features_are_those_of_the_specifications_document() {
    let bundle = Bundle::new("rt-features");
    let features: serde_json::Value = serde_json::from_str(&bundle.verb(&["features"]).ok()).unwrap();
    for key in
        ["ociVersionMin", "ociVersionMax", "hooks", "mountOptions", "linux", "potentiallyUnsafeConfigAnnotations"]
    {
        assert!(!features[key].is_null(), "{key}");
    }
    let parts = [
        "namespaces",
        "capabilities",
        "cgroup",
        "seccomp",
        "apparmor",
        "selinux",
        "intelRdt",
        "memoryPolicy",
        "mountExtensions",
        "netDevices",
    ];
    for key in parts {
        assert!(!features["linux"][key].is_null(), "{key}");
    }
}
