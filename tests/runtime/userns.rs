//! User namespaces: root inside is nobody outside, and owns what is inside.

use crate::bundle::{Bundle, mount_at};
use berth_test_host::{not_here, output};
use serde_json::{Value, json};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, lchown};
use std::path::Path;

/// What uid and gid 0 are outside.
pub(crate) const BASE: u32 = 1_000_000;

/// Gives a tree to a user and its group.
pub(crate) fn give(path: &Path, user: u32) {
    lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

pub(crate) fn map(size: u32) -> Value {
    json!([{"containerID": 0, "hostID": BASE, "size": size}])
}

/// A bundle with a user namespace of its own.
pub(crate) fn remapped(name: &str) -> Bundle {
    let mut bundle = Bundle::new(name);
    give(&bundle.rootfs(), BASE);
    namespace(&mut bundle, json!({"type": "user"}));
    bundle.config["linux"]["uidMappings"] = map(65_536);
    bundle.config["linux"]["gidMappings"] = map(65_536);
    bundle
}

pub(crate) fn namespace(bundle: &mut Bundle, entry: Value) {
    let list = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|other| other["type"] != entry["type"]);
    list.push(entry);
}

pub(crate) fn without_namespace(bundle: &mut Bundle, kind: &str) {
    bundle.config["linux"]["namespaces"].as_array_mut().unwrap().retain(|other| other["type"] != kind);
}

/// What a shell on the host says.
pub(crate) fn on_host(bundle: &Bundle, script: &str) -> String {
    let output = output(bundle.host.command("sh").args(["-c", script]));
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
}

/// Whether root of this machine may raise limits, and protect processes in want of memory.
fn may_raise() -> bool {
    const SYS_RESOURCE: u64 = 1 << 24;
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap();
    u64::from_str_radix(held.trim(), 16).unwrap() & SYS_RESOURCE != 0
}

#[test]
#[ignore = "needs root"]
fn limits_and_the_memory_score_are_set_with_the_rights_of_the_host() {
    let mut bundle = remapped("rt-userns-limits");
    let look = "cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn";
    let open = |soft: u64, hard: u64| json!([{"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard}]);
    // Nobody's right but the host's: the runtime's own hard limit is lower.
    let (_, own) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let above = own.min(1 << 19) + 1;
    bundle.config["process"]["oomScoreAdj"] = json!(-7);
    bundle.config["process"]["rlimits"] = open(100, above);
    let lowered = ["sh", "-c", &format!("ulimit -n {}; exec \"$@\"", above - 1), "sh"].map(str::to_owned);
    if may_raise() {
        bundle.script(look).write();
        let mut words = lowered.to_vec();
        let runtime = bundle.runtime();
        words.extend(runtime.get_args().skip_while(|a| *a != "--").skip(1).map(|a| a.to_str().unwrap().to_owned()));
        let dir = bundle.dir();
        words.extend(["run", "--bundle", dir.to_str().unwrap(), "c"].map(str::to_owned));
        let words: Vec<&str> = words.iter().skip(1).map(String::as_str).collect();
        assert_eq!(bundle.host.run("sh", &words).trim_end(), format!("-7\n100\n{above}"));
        bundle.started();
        assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", look]).ok(), format!("-7\n100\n{above}"));
        bundle.verb(&["delete", "--force", "c"]).ok();
    } else {
        not_here("raised limits and scores, for which root lacks CAP_SYS_RESOURCE", "vm");
        let said = bundle.script(look).run();
        assert!(said.code != 0 && said.stderr.contains("set oom_score_adj to `-7`"), "{}", said.stderr);
        bundle.config["process"]["oomScoreAdj"] = json!(0);
        bundle.config["process"]["rlimits"] = open(100, own.saturating_add(1));
        if own < u64::MAX {
            let said = bundle.script(look).run();
            assert!(said.code != 0 && said.stderr.contains("raise `RLIMIT_NOFILE=100:"), "{}", said.stderr);
        }
    }
    // What takes no rights.
    bundle.config["process"]["oomScoreAdj"] = json!(300);
    bundle.config["process"]["rlimits"] = open(100, 200);
    assert_eq!(bundle.sh(look), "300\n100\n200");
    bundle.started();
    assert_eq!(bundle.verb(&["exec", "c", "sh", "-c", look]).ok(), "300\n100\n200");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn root_inside_is_another_user_outside() {
    let mut bundle = remapped("rt-userns");
    assert_eq!(
        bundle.sh("id -u; cat /proc/self/uid_map /proc/self/gid_map | tr -s ' '; grep Groups: /proc/self/status"),
        format!("0\n 0 {BASE} 65536\n 0 {BASE} 65536\nGroups:")
    );
    bundle.verb(&["delete", "--force", "c"]);
    bundle.started();
    let pid = bundle.state()["pid"].as_u64().unwrap();
    let outside = on_host(&bundle, &format!("grep -E '^(Uid|Gid)' /proc/{pid}/status"));
    let four = [BASE.to_string(), BASE.to_string(), BASE.to_string(), BASE.to_string()].join("\t");
    assert_eq!(outside, format!("Uid:\t{four}\nGid:\t{four}"));
    assert_ne!(
        on_host(&bundle, &format!("readlink /proc/{pid}/ns/user")),
        on_host(&bundle, "readlink /proc/self/ns/user")
    );
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn its_other_namespaces_belong_to_it() {
    let mut bundle = remapped("rt-userns-owner");
    // Mounting sysfs and writing a parameter of the network are rights over the network namespace.
    bundle.config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.shm_rmid_forced": "1"});
    let said = bundle
        .sh("ls /sys/class/net; cat /proc/sys/net/ipv4/ip_forward; hostname; stat -c %u /proc/sys/net/ipv4/ip_forward");
    assert_eq!(said, "lo\n1\ninside\n0");
    bundle.capable("CAP_SYS_ADMIN").capable("CAP_NET_ADMIN");
    assert_eq!(bundle.sh("hostname renamed && hostname; mount -t tmpfs t /tmp && echo mounted"), "renamed\nmounted");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn its_files_are_its_users_outside_and_devices_are_the_hosts() {
    let mut bundle = remapped("rt-userns-files");
    let said = bundle.sh(
        "touch /data/mine && touch /data/web && chown 33:34 /data/web && stat -c %u:%g /data/mine /data/web && \
         echo x > /dev/null && head -c 3 /dev/zero | wc -c && stat -c '%F %t:%T' /dev/null && \
         mknod /data/null c 1 3 2>&1 | grep -o 'not permitted'; cat /etc/passwd > /dev/full 2>&1 || echo full",
    );
    assert_eq!(said, "0:0\n33:34\n3\ncharacter special file 1:3\nnot permitted\nfull");
    let owner = |name: &str| {
        let found = bundle.rootfs().join("data").join(name).metadata().unwrap();
        (found.uid(), found.gid())
    };
    assert_eq!(owner("mine"), (BASE, BASE));
    assert_eq!(owner("web"), (BASE + 33, BASE + 34));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn it_may_not_touch_what_is_the_hosts_root() {
    let mut bundle = remapped("rt-userns-host");
    let volume = bundle.volume("volume");
    std::fs::write(volume.join("secret"), "of root").unwrap();
    std::fs::set_permissions(volume.join("secret"), std::fs::Permissions::from_mode(0o600)).unwrap();
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["bind"]}));
    let said =
        bundle.sh("stat -c %u /v/secret; cat /v/secret 2>&1 | grep -o 'denied'; touch /v/new 2>&1 | grep -o denied");
    assert_eq!(said, "65534\ndenied\ndenied");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_map_may_have_as_many_ranges_as_the_kernel_takes() {
    let mut bundle = remapped("rt-userns-ranges");
    let ranges: Vec<Value> = (0..340).map(|i| json!({"containerID": i, "hostID": 10_000 + 2 * i, "size": 1})).collect();
    bundle.config["linux"]["uidMappings"] = json!(ranges);
    chown(bundle.rootfs(), Some(10_000), Some(BASE)).unwrap();
    for dir in ["dev", "proc", "sys"] {
        chown(bundle.rootfs().join(dir), Some(10_000), Some(BASE)).unwrap();
    }
    assert_eq!(
        bundle.sh("wc -l < /proc/self/uid_map; sed -n '$p' /proc/self/uid_map | tr -s ' '"),
        "340\n 339 10678 1"
    );
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn exec_is_in_the_user_namespace_too() {
    let mut bundle = remapped("rt-userns-exec");
    bundle.started();
    let said = bundle
        .verb(&["exec", "c", "sh", "-c", "id -u; tr -s ' ' < /proc/self/uid_map; readlink /proc/self/ns/user"])
        .ok();
    let inside = bundle.verb(&["exec", "c", "readlink", "/proc/1/ns/user"]).ok();
    assert_eq!(said, format!("0\n 0 {BASE} 65536\n{inside}"));
    assert_eq!(
        bundle.verb(&["exec", "--user", "33", "c", "sh", "-c", "id -u; touch /tmp/x; cat < /dev/null"]).stdout,
        "33"
    );
    assert_eq!(bundle.verb(&["exec", "c", "touch", "/data/by-exec"]).code, 0);
    assert_eq!(bundle.rootfs().join("data/by-exec").metadata().unwrap().uid(), BASE);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_network_of_the_hosts_is_joined_before_the_user_namespace_is_made() {
    let mut bundle = remapped("rt-userns-netns");
    on_host(&bundle, "ip netns add given && ip -n given link add mark type bridge");
    namespace(&mut bundle, json!({"type": "network", "path": "/run/netns/given"}));
    bundle.config["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != "/sys");
    let said = bundle.sh("grep -c mark: /proc/net/dev; id -u");
    assert_eq!(said, "1\n0");
    on_host(&bundle, "ip netns del given && umount /run/netns");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_group_that_it_may_write_is_its_own_on_version_2() {
    let mut bundle = remapped("rt-userns-cgroup");
    bundle.mount(json!({"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup", "options": ["rw"]}));
    bundle.config["linux"]["cgroupsPath"] = json!("/rt-userns-cgroup");
    bundle.started();
    let owners = on_host(
        &bundle,
        "find /sys/fs/cgroup -path '*rt-userns-cgroup*' -maxdepth 2 -name 'cgroup.*' -o -path '*rt-userns-cgroup' -maxdepth 2 | xargs stat -c '%u %n'",
    );
    let of = |name: &str| {
        let line = owners.lines().find(|line| line.ends_with(name)).unwrap_or_else(|| panic!("{name}: {owners}"));
        line.split(' ').next().unwrap().parse::<u32>().unwrap()
    };
    if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        for name in ["rt-userns-cgroup", "cgroup.procs", "cgroup.subtree_control", "cgroup.threads"] {
            assert_eq!(of(name), BASE, "{name}");
        }
        assert_eq!(of("cgroup.freeze"), 0);
        let nested =
            bundle.verb(&["exec", "c", "sh", "-c", "mkdir /sys/fs/cgroup/below && ls -d /sys/fs/cgroup/below"]);
        assert_eq!(nested.ok(), "/sys/fs/cgroup/below");
    } else {
        // The owner of a version 1 group could change its limits.
        assert_eq!(of("rt-userns-cgroup"), 0);
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn devices_are_bound_again_where_dev_is_part_of_the_root() {
    let mut bundle = remapped("rt-userns-dev");
    bundle.config["mounts"].as_array_mut().unwrap().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    for _ in 0..2 {
        assert_eq!(bundle.sh("stat -c '%F %t:%T' /dev/null && echo x > /dev/null"), "character special file 1:3");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn with_the_hosts_network_it_has_the_hosts_sys() {
    let mut bundle = remapped("rt-user-host-net");
    without_namespace(&mut bundle, "network");
    let said = bundle.sh("grep -c ' /sys sysfs ro,' /proc/mounts; cat /sys/class/net/lo/operstate");
    assert_eq!(said, "1\nunknown");
    bundle.done();
}

/// Directories of the host for a container to have: one restricted, with something over its `under`.
fn restricted(bundle: &Bundle) -> std::path::PathBuf {
    let volume = bundle.volume("volume");
    std::fs::create_dir(volume.join("under")).unwrap();
    std::fs::write(volume.join("under/hidden"), "hidden").unwrap();
    let at = volume.display();
    on_host(
        bundle,
        &format!(
            "mount --bind {at} {at} && mount -o remount,bind,ro,nosuid,nodev {at} && mount -t tmpfs over {at}/under"
        ),
    );
    volume
}

/// Tries to get rid of what the host restricts and covers at `at`, in this way and that.
fn breaking_out(at: &str) -> String {
    format!(
        "for o in rw dev suid; do mount -o remount,bind,$o {at} 2>/dev/null && echo $o; done; \
         umount {at}/under 2>/dev/null && echo umount; mkdir /tmp/t; mount --bind {at} /tmp/t 2>/dev/null && echo bind; \
         mount --rbind {at} /tmp/t && umount /tmp/t/under 2>/dev/null && echo umount again; \
         cat {at}/under/hidden /tmp/t/under/hidden 2>/dev/null; echo done"
    )
}

#[test]
#[ignore = "needs root"]
fn what_the_host_restricts_and_covers_it_cannot_lay_bare() {
    let mut bundle = remapped("rt-userns-locked");
    let volume = restricted(&bundle);
    bundle.mount(json!({"destination": "/vol", "type": "bind", "source": volume, "options": ["rbind"]}));
    bundle.capable("CAP_SYS_ADMIN");
    assert_eq!(bundle.sh(&breaking_out("/vol")), "done");
    // Not less by a user namespace that is joined.
    bundle.verb(&["delete", "--force", "c"]);
    bundle.started();
    let mut config = bundle.config.clone();
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|entry| entry["type"] != "user");
    list.push(json!({"type": "user", "path": format!("/proc/{}/ns/user", bundle.state()["pid"])}));
    config["process"]["args"] = json!(["sh", "-c", breaking_out("/vol")]);
    assert_eq!(crate::namespaces::run_second(&bundle, &config).ok(), "done");
    on_host(&bundle, &format!("umount -R {}", volume.display()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn its_document_may_take_back_what_the_host_restricts() {
    let mut bundle = remapped("rt-userns-taken-back");
    let volume = restricted(&bundle);
    let options = ["rbind", "rw", "suid", "noatime"];
    bundle.mount(json!({"destination": "/vol", "type": "bind", "source": volume, "options": options}));
    bundle.mount(
        json!({"destination": "/single", "type": "bind", "source": volume.join("under"), "options": ["bind", "ro"]}),
    );
    let said = bundle.sh("cat /proc/self/mountinfo");
    assert_eq!(mount_at(&said, "/vol").0, "rw,nodev,noatime");
    assert_eq!(mount_at(&said, "/single").0, "ro,relatime");
    on_host(&bundle, &format!("umount -R {}", volume.display()));
    bundle.done();
}
