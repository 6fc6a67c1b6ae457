//! What only this runtime does, or does differently from runc.

mod interrupts;
mod namespaces;

use crate::bundle::{Bundle, mount_at};
use berth_runtime::codec::Codec;
use berth_runtime::image::snapshot::Snapshot;
use berth_test_host::TestHost;
use serde_json::json;
use std::fs::File;

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
fn a_program_on_a_read_only_mount_of_its_hosts_is_protected_all_the_same() {
    let mut bundle = Bundle::new("rt-exe-ro");
    bundle.script("true").write();
    // The host's administrator makes it writable one day, and a handle from before must not be by that.
    let dir = bundle.volume("programs");
    let at = dir.to_str().unwrap();
    bundle.host.run("mount", &["-t", "tmpfs", "tmpfs", at]);
    bundle.host.run("cp", &[berth_test_host::berth_runtime().to_str().unwrap(), at]);
    bundle.host.run("mount", &["-o", "remount,ro", at]);
    let mut command = bundle.host.command(dir.join("berth-runtime"));
    command.args(["--root", "/run/runtime", "create", "--bundle"]).arg(bundle.dir()).arg("c");
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    assert!(command.status().unwrap().success());
    let init = bundle.state()["pid"].as_u64().unwrap();
    let exe = std::fs::read_link(bundle.host.outside(format!("/proc/{init}/exe"))).unwrap();
    assert_eq!(exe, std::path::Path::new("/"), "it is on a mount that has no place");
    bundle.verb(&["delete", "--force", "c"]).ok();
    bundle.host.run("umount", &[at]);
    bundle.done();
}

/// strace's "when=1" is the first prctl of a runtime that has yet to protect itself: that which sets the program's file.
#[test]
#[ignore = "needs root"]
fn where_the_kernel_does_not_exchange_it_the_program_is_executed_again() {
    for (injected, executed) in
        [("prctl:error=EPERM:when=1", 1), ("mremap:error=EACCES:when=1", 1), ("gettid:delay_enter=1", 0)]
    {
        let mut bundle = Bundle::new("rt-exe-again");
        bundle.script("sleep 60").write();
        let calls = bundle.host.dir().join("calls");
        let mut command = bundle.host.command("strace");
        command
            .args(["-e", "trace=execveat,prctl,mremap,gettid", "-e", &format!("inject={injected}"), "-o"])
            .arg(&calls);
        command.arg(berth_test_host::berth_runtime()).args(["--root", "/run/runtime", "run", "--detach", "--bundle"]);
        command.arg(bundle.dir()).arg("c").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
        let status = command.stderr(std::process::Stdio::null()).status().unwrap();
        let calls = std::fs::read_to_string(&calls).unwrap();
        assert!(status.success(), "{injected}: {calls}");
        assert_eq!(calls.matches("execveat(").count(), executed, "{injected}: {calls}");
        bundle.verb(&["delete", "--force", "c"]).ok();
        bundle.done();
    }
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

/// Which the new mount interface does not take, so that a process is cloned to mount them, while the network namespace may
/// be in the making.
#[test]
#[ignore = "needs root"]
fn layers_with_paths_of_more_than_255_bytes_are_put_together_whatever_else_is_made_meanwhile() {
    let mut bundle = Bundle::new("rt-long-layers");
    let long = bundle.host.dir().join("l".repeat(200)).join("m".repeat(200));
    let [lower, upper, work] = ["lower", "upper", "work"].map(|name| long.join(name));
    for dir in [&lower, &upper, &work] {
        std::fs::create_dir_all(dir).unwrap();
    }
    std::fs::write(lower.join("from-below"), "").unwrap();
    let lower = vec![lower, bundle.rootfs()];
    std::fs::write(bundle.dir().join("snapshot"), Snapshot { key: "k".into(), lower, upper, work }.to_bytes()).unwrap();
    for _ in 0..30 {
        assert_eq!(bundle.sh("ls / | grep -c from-"), "1");
    }
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
fn what_a_mount_before_has_put_there_is_changed_by_a_remount() {
    let mut bundle = Bundle::new("rt-remount");
    let volume = bundle.volume("volume");
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["size=64k", "nosuid"]}));
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "options": ["remount", "size=128k"]}));
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["bind", "nodev"]}));
    bundle.mount(json!({"destination": "/v", "options": ["bind", "remount", "ro"]}));
    bundle.mount(json!({"destination": "/", "options": ["bind", "remount", "nosuid"]}));
    let said = bundle.sh("grep -e ' /t ' -e ' /v ' -e ' / ' /proc/mounts | cut -d' ' -f2,4 | sort");
    let lines: Vec<&str> = said.lines().collect();
    // How times of access are kept is as the machine keeps them.
    assert!(lines[0].starts_with("/ rw,nosuid,"), "{said}");
    assert!(lines[1].starts_with("/t rw,nosuid,relatime,size=128k"), "{said}");
    assert!(lines[2].starts_with("/v ro,nodev,"), "{said}");
    bundle.mount(json!({"destination": "/v", "options": ["remount", "ro"]}));
    let said = bundle.run();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("mounts[9] (/v): option `remount` without `bind`"), "{}", said.stderr);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_root_gets_its_propagation_and_nothing_reaches_the_host() {
    for shared_host in [false, true] {
        let host = if shared_host { TestHost::with_shared_mounts("rt-prop") } else { TestHost::new("rt-prop") };
        let mut bundle = Bundle::on(host);
        bundle.capable("CAP_SYS_ADMIN");
        let before = bundle.host.run("cat", &["/proc/self/mounts"]);
        let slave = if shared_host { "master" } else { "" };
        for (name, expected) in [("private", ""), ("slave", slave), ("shared", "shared"), ("unbindable", "unbindable")]
        {
            for name in [name.to_owned(), format!("r{name}")] {
                bundle.config["linux"]["rootfsPropagation"] = json!(name);
                let said = bundle.sh("mount -t tmpfs inner /data && cat /proc/self/mountinfo");
                assert_eq!(mount_at(&said, "/").1, expected, "{name} {shared_host}");
            }
        }
        assert_eq!(bundle.host.run("cat", &["/proc/self/mounts"]), before);
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn mounts_inside_go_out_only_where_mount_and_root_are_shared() {
    let mut bundle = Bundle::on(TestHost::with_shared_mounts("rt-share"));
    bundle.capable("CAP_SYS_ADMIN");
    let volume = bundle.volume("volume");
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["rbind", "rshared"]}));
    for (root, expected) in [("rprivate", false), ("rslave", false), ("rshared", true)] {
        bundle.config["linux"]["rootfsPropagation"] = json!(root);
        bundle.sh("mkdir -p /v/x && mount -t tmpfs inner /v/x");
        assert_eq!(bundle.host.run("cat", &["/proc/self/mounts"]).contains("inner"), expected, "{root}");
    }
    bundle.host.run("umount", &[volume.join("x").to_str().unwrap()]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_tmpfs_takes_the_permissions_of_what_it_covers_and_those_of_its_option_first() {
    let mut bundle = Bundle::new("rt-mode");
    for name in ["covered", "told"] {
        std::fs::create_dir(bundle.rootfs().join(name)).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o751);
        std::fs::set_permissions(bundle.rootfs().join(name), mode).unwrap();
    }
    bundle.mount(json!({"destination": "/covered", "type": "tmpfs", "source": "t"}));
    bundle.mount(json!({"destination": "/told", "type": "tmpfs", "source": "t", "options": ["mode=700", "size=8k"]}));
    assert_eq!(bundle.sh("stat -c %a /covered /told"), "751\n700");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_the_image_has_is_copied_up_into_a_tmpfs() {
    let mut bundle = Bundle::new("rt-copyup");
    let data = bundle.rootfs().join("data");
    std::fs::create_dir(data.join("d")).unwrap();
    std::fs::write(data.join("d/file"), "of the image\n").unwrap();
    std::fs::hard_link(data.join("d/file"), data.join("second")).unwrap();
    std::os::unix::fs::symlink("d/file", data.join("link")).unwrap();
    std::os::unix::fs::chown(data.join("d"), Some(33), Some(34)).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(data.join("d/file"), mode).unwrap();
    bundle.mount(json!({"destination": "/data", "type": "tmpfs", "source": "t", "options": ["tmpcopyup", "ro"]}));
    let said = bundle.sh("cat /data/link; stat -c '%a %h' /data/second; stat -c '%u %g' /data/d; \
         touch /data/new 2>/dev/null || echo protected; grep -c '^t /data tmpfs ro' /proc/mounts");
    assert_eq!(said, "of the image\n4755 2\n33 34\nprotected\n1");
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 3);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn nothing_is_mounted_over_proc() {
    let mut bundle = Bundle::new("rt-over-proc");
    let volume = bundle.volume("volume");
    for (mount, why) in [
        (json!({"destination": "/proc", "type": "bind", "source": volume, "options": ["rbind"]}), "not of type proc"),
        (
            json!({"destination": "/proc", "type": "bind", "source": "/proc/sys", "options": ["bind"]}),
            "not of type proc",
        ),
        (json!({"destination": "/proc", "type": "tmpfs", "source": "t"}), "not of type proc"),
        (json!({"destination": "/proc/self/attr", "type": "tmpfs", "source": "t"}), "inside /proc"),
    ] {
        bundle.config["mounts"].as_array_mut().unwrap().truncate(4);
        let said = bundle.mount(mount).script("true").run();
        assert_eq!(said.code, 1, "{why}");
        assert!(said.stderr.contains(why), "{why}: {}", said.stderr);
    }
    bundle.config["mounts"][4] =
        json!({"destination": "/proc", "type": "bind", "source": "/proc", "options": ["rbind"]});
    assert_eq!(bundle.sh("grep -c ' /proc proc ' /proc/mounts"), "2");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_bind_keeps_what_its_source_is_restricted_to_unless_it_is_taken_back_by_name() {
    let mut bundle = Bundle::new("rt-keep");
    let volume = bundle.volume("volume");
    bundle.host.run("mount", &["-t", "tmpfs", "-o", "nosuid,nodev,noexec,noatime", "low", volume.to_str().unwrap()]);
    bundle.mount(
        json!({"destination": "/kept", "type": "bind", "source": volume, "options": ["bind", "ro", "nodiratime"]}),
    );
    bundle
        .mount(json!({"destination": "/taken", "type": "bind", "source": volume, "options": ["bind", "exec", "suid"]}));
    let said = bundle.sh("grep -e ' /kept ' -e ' /taken ' /proc/mounts | cut -d' ' -f4 | sed 's/,inode64//'");
    assert_eq!(said, "ro,nosuid,nodev,noexec,noatime,nodiratime\nrw,nodev,noatime");
    bundle.host.run("umount", &[volume.to_str().unwrap()]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn an_overlay_with_options_of_any_length_is_mounted() {
    let mut bundle = Bundle::new("rt-long-overlay");
    let mut lower = Vec::new();
    for i in 0..4 {
        let layer = bundle.volume(&format!("{i}{}", "-with-a-long-name".repeat(8)));
        std::fs::write(layer.join(format!("from-{i}")), "").unwrap();
        lower.push(layer.display().to_string());
    }
    let (upper, work) = (bundle.volume("upper"), bundle.volume("work"));
    let options = json!([
        format!("lowerdir={}", lower.join(":")),
        format!("upperdir={}", upper.display()),
        format!("workdir={}", work.display()),
        "nosuid",
        "private"
    ]);
    bundle.mount(json!({"destination": "/o", "type": "overlay", "source": "overlay", "options": options}));
    assert_eq!(
        bundle.sh("ls /o; touch /o/new; grep -c ' /o overlay rw,nosuid' /proc/mounts"),
        "from-0\nfrom-1\nfrom-2\nfrom-3\n1"
    );
    assert!(upper.join("new").exists());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_device_never_takes_the_place_of_another_file() {
    let mut bundle = Bundle::new("rt-wrong-device");
    bundle.config["mounts"].as_array_mut().unwrap().drain(1..3);
    std::fs::write(bundle.rootfs().join("dev/zero"), "no device\n").unwrap();
    let said = bundle.script("true").run();
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("make device `/dev/zero`"), "{}", said.stderr);
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
        assert_eq!(
            bundle.verb(&[verb, "--no-such-option"]).stderr,
            "berth-runtime: flag provided but not defined: -no-such-option"
        );
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
    assert_eq!(features["potentiallyUnsafeConfigAnnotations"], serde_json::json!(["org.systemd.property."]));
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

#[test]
#[ignore = "needs root"]
fn a_descriptor_to_preserve_that_is_not_open_is_an_error() {
    let mut bundle = Bundle::new("rt-preserve-none");
    let said = bundle.script("true").run_with(&["--preserve-fds", "200"]);
    assert_eq!(said.code, 1);
    assert!(said.stderr.contains("find preserved descriptor"), "{}", said.stderr);
    bundle.assert_clean();
}
