//! Namespaces that are joined, and those of the host that a container stays in.

use crate::bundle::Bundle;
use crate::userns::{namespace, on_host, remapped, without_namespace};
use serde_json::json;

/// A second bundle on the same host, whose container is called `d`.
pub(crate) fn run_second(first: &Bundle, config: &serde_json::Value) -> crate::bundle::Said {
    let dir = first.host.dir().join("second");
    std::fs::create_dir_all(&dir).unwrap();
    let mut config = config.clone();
    config["root"]["path"] = json!(first.rootfs());
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    let said = first.verb(&["run", "--bundle", dir.to_str().unwrap(), "d"]);
    first.verb(&["delete", "--force", "d"]);
    said
}

#[test]
#[ignore = "needs root"]
fn a_container_stays_in_each_namespace_that_it_has_no_entry_for() {
    let mut bundle = Bundle::new("rt-ns-host");
    for (kind, file) in
        [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup"), ("user", "user")]
    {
        let all = bundle.config.clone();
        without_namespace(&mut bundle, kind);
        if kind == "uts" {
            bundle.config.as_object_mut().unwrap().remove("hostname");
        }
        let inside = bundle.sh(&format!("readlink /proc/self/ns/{file}"));
        assert_eq!(inside, on_host(&bundle, &format!("readlink /proc/self/ns/{file}")), "{kind}");
        bundle.config = all;
    }
    bundle.done();
}

/// Flags of the loopback device (its first bit: it is up), and an address of each family that it is to have.
const LOOPBACK: &str = "cat /sys/class/net/lo/flags; grep -c '^0\\{31\\}1 01 80 10 80 *lo$' /proc/net/if_inet6; \
                        grep -c '127.0.0.1$' /proc/net/fib_trie; true";

#[test]
#[ignore = "needs root"]
fn the_loopback_device_of_a_new_network_is_up() {
    let up = "0x9\n1\n2";
    let mut bundle = Bundle::new("rt-ns-lo");
    assert_eq!(bundle.sh(LOOPBACK), up);
    bundle.done();
    let mut bundle = remapped("rt-ns-lo-user");
    assert_eq!(bundle.sh(LOOPBACK), up);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn the_loopback_device_of_a_network_that_is_joined_or_the_hosts_stays_as_it_is() {
    let mut bundle = Bundle::new("rt-ns-lo-down");
    assert_eq!(on_host(&bundle, "ip link set lo down; cat /sys/class/net/lo/flags"), "0x8");
    without_namespace(&mut bundle, "network");
    assert_eq!(bundle.sh("cat /sys/class/net/lo/flags"), "0x8");
    let joined = bundle.host.dir().join("netns");
    on_host(&bundle, &format!("touch {0} && unshare --net={0} true", joined.display()));
    namespace(&mut bundle, json!({"type": "network", "path": joined}));
    assert_eq!(bundle.sh("cat /sys/class/net/lo/flags"), "0x8");
    on_host(&bundle, &format!("umount {}", joined.display()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn each_kind_is_joined_by_its_path() {
    let mut bundle = Bundle::new("rt-ns-join");
    bundle.started();
    let pid = bundle.state()["pid"].as_u64().unwrap();
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("cgroup", "cgroup")] {
        let mut config = bundle.config.clone();
        let list = config["linux"]["namespaces"].as_array_mut().unwrap();
        list.retain(|entry| entry["type"] != kind);
        list.push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
        config["process"]["args"] = json!(["readlink", format!("/proc/self/ns/{file}")]);
        let inside = run_second(&bundle, &config).ok();
        assert_eq!(inside, on_host(&bundle, &format!("readlink /proc/{pid}/ns/{file}")), "{kind}");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_user_namespace_is_joined_and_the_others_are_made_inside_it() {
    let mut bundle = remapped("rt-ns-user");
    bundle.started();
    let pid = bundle.state()["pid"].as_u64().unwrap();
    let mut config = bundle.config.clone();
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.retain(|entry| entry["type"] != "user");
    list.push(json!({"type": "user", "path": format!("/proc/{pid}/ns/user")}));
    config["process"]["args"] = json!(["sh", "-c", "readlink /proc/self/ns/user; echo $$; ls /sys/class/net"]);
    let inside = run_second(&bundle, &config).ok();
    assert_eq!(inside, format!("{}\n1\nlo", on_host(&bundle, &format!("readlink /proc/{pid}/ns/user"))));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_mount_namespace_is_joined_and_the_root_put_into_it() {
    let mut bundle = Bundle::new("rt-ns-mount");
    let started = on_host(&bundle, "setsid unshare --mount --propagation private sleep 1000 >/dev/null 2>&1 & echo $!");
    let own = on_host(&bundle, "readlink /proc/self/ns/mnt");
    let link = format!("readlink /proc/{started}/ns/mnt");
    let theirs = berth_test_host::eventually("unshare", crate::bundle::PATIENCE, || {
        Some(on_host(&bundle, &link)).filter(|theirs| *theirs != own)
    });
    namespace(&mut bundle, json!({"type": "mount", "path": format!("/proc/{started}/ns/mnt")}));
    assert_eq!(bundle.sh("readlink /proc/self/ns/mnt; ls -d /data"), format!("{theirs}\n/data"));
    on_host(&bundle, &format!("kill {started}"));
    bundle.done();
}
