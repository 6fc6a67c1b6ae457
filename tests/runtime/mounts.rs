//! Mounts and their options.

use crate::bundle::{Bundle, mount_at};
use berth_test_host::TestHost;
use serde_json::json;

#[test]
#[ignore = "needs root"]
fn a_slave_root_sees_what_the_host_mounts_below_it_later() {
    let mut bundle = Bundle::on(TestHost::with_shared_mounts("rt-slave"));
    bundle.config["linux"]["rootfsPropagation"] = json!("rslave");
    bundle.started();
    let at = bundle.rootfs().join("data");
    bundle.host.run("mount", &["-t", "tmpfs", "late", at.to_str().unwrap()]);
    assert!(bundle.verb(&["exec", "c", "cat", "/proc/self/mounts"]).ok().contains("late /data tmpfs"));
    bundle.host.run("umount", &[at.to_str().unwrap()]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_root_may_be_given_by_an_absolute_path() {
    let mut bundle = Bundle::new("rt-root");
    bundle.config["root"]["path"] = json!(bundle.rootfs());
    assert_eq!(bundle.sh("echo ran"), "ran");
    bundle.config["root"]["path"] = json!("no-such-root");
    let said = bundle.run();
    assert_eq!(said.code, 1);
    assert!(
        said.stderr.contains("no-such-root") && said.stderr.to_lowercase().contains("no such file"),
        "{}",
        said.stderr
    );
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn recursive_attributes_are_of_all_mounts_below_and_plain_ones_of_the_mount() {
    let mut bundle = Bundle::new("rt-rec");
    let volume = bundle.volume("volume");
    let below = volume.join("below");
    // Of its own: the machine's may be mounted with attributes that a clone keeps.
    bundle.host.run("mount", &["-t", "tmpfs", "top", volume.to_str().unwrap()]);
    bundle.host.run("mkdir", &[below.to_str().unwrap()]);
    bundle.host.run("mount", &["-t", "tmpfs", "-o", "nosuid", "low", below.to_str().unwrap()]);
    let cases: [(&[&str], &str, &str); 6] = [
        (&["rbind", "ro"], "ro,relatime", "rw,nosuid,relatime"),
        (&["rbind", "rro", "rnodev"], "ro,nodev,relatime", "ro,nosuid,nodev,relatime"),
        (
            &["rbind", "rnoexec", "rnosymfollow"],
            "rw,noexec,relatime,nosymfollow",
            "rw,nosuid,noexec,relatime,nosymfollow",
        ),
        (&["rbind", "rsuid", "rnoatime"], "rw,noatime", "rw,noatime"),
        (&["rbind", "rstrictatime", "rnodiratime", "rrw"], "rw,nodiratime", "rw,nosuid,nodiratime"),
        (
            &["rbind", "rro", "rrelatime", "rdiratime", "rexec", "rdev", "rsymfollow"],
            "ro,relatime",
            "ro,nosuid,relatime",
        ),
    ];
    for (options, top, low) in cases {
        bundle.config["mounts"].as_array_mut().unwrap().truncate(4);
        bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": options}));
        let said = bundle.sh("cat /proc/self/mountinfo");
        assert_eq!(mount_at(&said, "/v").0, top, "{options:?}");
        assert_eq!(mount_at(&said, "/v/below").0, low, "{options:?}");
    }
    bundle.host.run("umount", &[below.to_str().unwrap()]);
    bundle.host.run("umount", &[volume.to_str().unwrap()]);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_read_only_tmpfs_and_dev_take_what_is_made_on_them_first() {
    let mut bundle = Bundle::new("rt-ro-tmpfs");
    bundle.config["mounts"][1]["options"].as_array_mut().unwrap().push(json!("ro"));
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": ["ro", "nosuid"]}));
    bundle.mount(json!({"destination": "/t/below", "type": "tmpfs", "source": "low"}));
    let said = bundle
        .sh("touch /t/x 2>/dev/null || echo no; touch /dev/x 2>/dev/null || echo no; touch /t/below/x && echo yes; \
         echo > /dev/null && echo yes");
    assert_eq!(said, "no\nno\nyes\nyes");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn kernel_file_systems_take_their_options() {
    let mut bundle = Bundle::new("rt-kernel-fs");
    bundle.config["mounts"][0]["options"] = json!(["nosuid", "hidepid=invisible"]);
    bundle.mount(json!({"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue", "options": ["nosuid"]}));
    let options = json!(["newinstance", "ptmxmode=0600", "mode=0640", "gid=4", "max=7"]);
    bundle.mount(json!({"destination": "/dev/pts2", "type": "devpts", "source": "devpts", "options": options}));
    let said = bundle.sh("cat /proc/self/mountinfo; stat -c %a /dev/pts2/ptmx");
    assert_eq!(mount_at(&said, "/dev/mqueue"), ("rw,nosuid,relatime", String::new(), "mqueue mqueue rw"));
    assert_eq!(mount_at(&said, "/dev/pts2").2, "devpts devpts rw,gid=4,mode=640,ptmxmode=600,max=7");
    assert!(mount_at(&said, "/proc").2.contains("hidepid=invisible"), "{said}");
    assert!(said.ends_with("\n600"), "{said}");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn classic_flags_are_taken() {
    let mut bundle = Bundle::new("rt-flags");
    let options = json!([
        "async",
        "sync",
        "dirsync",
        "lazytime",
        "iversion",
        "noiversion",
        "silent",
        "loud",
        "acl",
        "noacl",
        "nomand",
        "mand",
        "rw",
        "suid",
        "dev",
        "exec",
        "diratime",
        "norelatime",
        "symfollow"
    ]);
    bundle.mount(json!({"destination": "/t", "type": "tmpfs", "source": "t", "options": options}));
    bundle.mount(
        json!({"destination": "/b", "type": "bind", "source": "rootfs/data", "options": ["rbind", "sync", "mand"]}),
    );
    let said = bundle.sh("grep ' /t ' /proc/mounts");
    assert!(said.starts_with("t /t tmpfs rw,sync,dirsync,mand,lazytime"), "{said}");
    let options = json!(["no-such-option"]);
    bundle.mount(json!({"destination": "/u", "type": "tmpfs", "source": "t", "options": options}));
    let said = bundle.run();
    assert_eq!(said.code, 1);
    if std::env::var_os("BERTH_TEST_RUNTIME").is_none() {
        assert!(said.stderr.contains("/u (no-such-option: ") && said.stderr.contains("Unknown"), "{}", said.stderr);
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_bind_mount_takes_no_options_of_a_file_system() {
    let mut bundle = Bundle::new("rt-bind-options");
    for (options, wrong) in [
        (json!(["bind", "size=10m"]), "size"),
        (json!(["ro", "nonsense", "rbind"]), "nonsense"),
        (json!(["bind", "remount", "mode=755"]), "mode"),
    ] {
        bundle.config["mounts"].as_array_mut().unwrap().truncate(4);
        bundle.mount(json!({"destination": "/data", "type": "none", "source": "rootfs/data", "options": ["bind"]}));
        bundle.mount(json!({"destination": "/data", "type": "bind", "source": "rootfs/data", "options": options}));
        let said = bundle.run();
        assert_eq!(said.code, 1, "{options}");
        let why = "bind mounts cannot have any filesystem-specific options applied";
        assert!(said.stderr.contains(why) && said.stderr.contains(wrong), "{options}: {}", said.stderr);
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn targets_are_made_and_links_to_them_lead_inside() {
    let mut bundle = Bundle::new("rt-targets");
    let (volume, file) = (bundle.volume("volume"), bundle.host.dir().join("file"));
    std::fs::write(volume.join("in-volume"), "").unwrap();
    std::fs::write(&file, "of the host\n").unwrap();
    let rootfs = bundle.rootfs();
    // Absolute, relative and dangling; out of the root by name only.
    std::os::unix::fs::symlink("/run", rootfs.join("var-run")).unwrap();
    std::os::unix::fs::symlink("../../../../../../../srv/real", rootfs.join("srv-link")).unwrap();
    std::fs::create_dir(rootfs.join("etc/deep")).unwrap();
    std::os::unix::fs::symlink("../../run/resolv", rootfs.join("etc/deep/resolv")).unwrap();
    for destination in ["/a/b/c", "var-run/secrets", "/srv-link"] {
        bundle.mount(json!({"destination": destination, "type": "bind", "source": volume, "options": ["bind"]}));
    }
    for destination in ["/etc/deep/resolv", "/new/file"] {
        bundle.mount(json!({"destination": destination, "type": "bind", "source": file, "options": ["bind"]}));
    }
    let said =
        bundle.sh("ls /a/b/c /run/secrets /srv/real | grep -c in-volume; cat /run/resolv /new/file; stat -c %a /a/b");
    assert_eq!(said, "3\nof the host\nof the host\n755");
    assert!(rootfs.join("run/secrets").is_dir() && rootfs.join("srv/real").is_dir());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn later_mounts_are_on_earlier_ones() {
    let mut bundle = Bundle::new("rt-order");
    let volume = bundle.volume("volume");
    std::fs::write(volume.join("file"), "").unwrap();
    bundle.mount(json!({"destination": "/m/low", "type": "tmpfs", "source": "hidden"}));
    bundle.mount(json!({"destination": "/m", "type": "bind", "source": volume, "options": ["rbind"]}));
    bundle.mount(json!({"destination": "/m/low", "type": "tmpfs", "source": "seen"}));
    assert_eq!(bundle.sh("ls /m; stat -f -c %T /m/low; echo x > /m/low/x; ls /m/low"), "file\nlow\ntmpfs\nx");
    assert!(volume.join("low").is_dir());
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_mount_that_cannot_be_is_an_error_with_its_source_or_destination() {
    let mut bundle = Bundle::new("rt-no-mount");
    let volume = bundle.volume("volume");
    let cases = [
        (
            json!({"destination": "/m", "type": "bind", "source": "/no/such/source", "options": ["bind"]}),
            "/no/such/source",
        ),
        (json!({"destination": "/m", "type": "no-such-type", "source": "x"}), "o such device"),
        (
            json!({"destination": "/proc/sys", "type": "bind", "source": volume, "options": ["bind"]}),
            "cannot be mounted because it is inside /proc",
        ),
        (json!({"destination": "/proc", "type": "bind", "source": volume, "options": ["bind"]}), "not of type proc"),
        (json!({"destination": "/etc/passwd", "type": "bind", "source": volume, "options": ["bind"]}), "/etc/passwd"),
    ];
    for (mount, expected) in cases {
        bundle.config["mounts"].as_array_mut().unwrap().truncate(4);
        bundle.mount(mount);
        let said = bundle.script("true").run();
        assert_eq!(said.code, 1, "{expected}");
        assert!(said.stderr.contains(expected), "{expected}: {}", said.stderr);
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_shows_limits_may_cover_files_of_proc() {
    let mut bundle = Bundle::new("rt-lxcfs");
    let file = bundle.host.dir().join("meminfo");
    std::fs::write(&file, "little\n").unwrap();
    bundle.mount(json!({"destination": "/proc/meminfo", "type": "bind", "source": file, "options": ["bind", "ro"]}));
    assert_eq!(bundle.sh("cat /proc/meminfo"), "little");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_dev_of_the_host_is_left_as_it_is() {
    let mut bundle = Bundle::new("rt-host-dev");
    let dev = bundle.volume("dev");
    bundle.host.run("mknod", &[dev.join("null").to_str().unwrap(), "c", "1", "3"]);
    bundle.config["mounts"].as_array_mut().unwrap().drain(1..3);
    bundle.mount(json!({"destination": "/dev", "type": "bind", "source": dev, "options": ["rbind"]}));
    bundle.sh("true");
    assert_eq!(std::fs::read_dir(&dev).unwrap().count(), 1);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_container_with_the_hosts_network_has_its_sys() {
    let mut bundle = Bundle::new("rt-host-net");
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().remove(1);
    assert_eq!(bundle.sh("grep -c ' /sys sysfs ro,' /proc/mounts; cat /sys/class/net/lo/operstate"), "1\nunknown");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_cgroup_mount_is_writable_where_asked_and_shows_no_other_group() {
    for own_namespace in [true, false] {
        let mut bundle = Bundle::new("rt-cgroup-rw");
        if !own_namespace {
            bundle.config["linux"]["namespaces"].as_array_mut().unwrap().pop();
        }
        bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
        let said = bundle.sh(
            "if test -d /sys/fs/cgroup/memory; then cd /sys/fs/cgroup/memory; else cd /sys/fs/cgroup; \
             cd ./$(sed -n s/^0:://p /proc/self/cgroup); fi; cat cgroup.procs | head -1; mkdir below && rmdir below && echo writable",
        );
        assert_eq!(said, "1\nwritable", "{own_namespace}");
        bundle.done();
    }
}

#[test]
#[ignore = "needs root"]
fn a_link_to_a_masked_path_is_masked_where_it_leads() {
    let mut bundle = Bundle::new("rt-mask-link");
    std::os::unix::fs::symlink("/data/secret", bundle.rootfs().join("link")).unwrap();
    std::fs::write(bundle.rootfs().join("data/secret"), "secret\n").unwrap();
    std::fs::write(bundle.rootfs().join("data/up"), "secret\n").unwrap();
    std::fs::create_dir(bundle.rootfs().join("data/dir")).unwrap();
    std::fs::write(bundle.rootfs().join("data/dir/file"), "").unwrap();
    bundle.config["linux"]["maskedPaths"] = json!(["/link", "/data/dir", "/data/dir/file", "/proc/../data/up"]);
    bundle.config["linux"]["readonlyPaths"] = json!(["/data", "/no/such/path"]);
    let said = bundle
        .sh("cat /data/secret /data/up | wc -c; ls -A /data/dir | wc -l; touch /data/dir/x 2>/dev/null || echo no; \
         touch /data/new 2>/dev/null || echo no");
    assert_eq!(said, "0\n0\nno\nno");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn there_may_be_more_mounts_than_files_that_a_program_may_open() {
    let mut bundle = Bundle::new("rt-many-mounts");
    for i in 0..300 {
        bundle.mount(
            json!({"destination": format!("/m/{i}"), "type": "tmpfs", "source": "tmpfs", "options": ["size=4k"]}),
        );
        bundle.mount(json!({"destination": format!("/b/{i}"), "type": "bind", "source": "/tmp", "options": ["bind"]}));
    }
    // Nor do hooks of the host see it.
    let hooks = bundle.host.dir().join("hooks");
    let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", format!("ulimit -Sn >> {}", hooks.display())]}]);
    bundle.config["hooks"] = json!({"createRuntime": hook, "poststop": hook});
    bundle.script("grep -c ' /[mb]/' /proc/mounts; ulimit -n").write();
    let run = format!("ulimit -Sn 256; exec {} run --bundle {} c", bundle.words().join(" "), bundle.dir().display());
    assert_eq!(bundle.host.run("sh", &["-c", &run]).trim(), "600\n256");
    assert_eq!(std::fs::read_to_string(hooks).unwrap(), "256\n256\n");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn devices_of_the_document_replace_the_default_ones_and_a_fifo_is_one() {
    let mut bundle = Bundle::new("rt-devices-more");
    bundle.config["linux"]["devices"] = json!([
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o600, "uid": 33, "gid": 34},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622},
        {"path": "/dev/disk/one", "type": "b", "major": 7, "minor": 0, "fileMode": 0o660, "gid": 4},
    ]);
    bundle.config["process"]["user"]["umask"] = json!(0o077);
    let said = bundle.sh("stat -c '%a %u %g %F' /dev/zero /dev/pipe /dev/disk/one /dev/null");
    let expected =
        "600 33 34 character special file\n622 0 0 fifo\n660 0 4 block special file\n666 0 0 character special file";
    assert_eq!(said, expected);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_is_mounted_over_a_default_device_stays_there() {
    let mut bundle = Bundle::new("rt-over-device");
    bundle.mount(json!({"destination": "/dev/random", "type": "bind", "source": "/dev/zero", "options": ["rbind"]}));
    assert_eq!(bundle.sh("head -c 2 /dev/random | od -An -tx1; ls /dev/urandom"), " 00 00\n/dev/urandom");
    bundle.done();
}
