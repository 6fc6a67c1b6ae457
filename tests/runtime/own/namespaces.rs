//! Namespaces: what other runtimes leave to chance or to the kernel's errors.

use crate::bundle::Bundle;
use crate::namespaces::run_second;
use crate::userns::{BASE, give, map, namespace, on_host, remapped, without_namespace};
use berth_runtime::codec::Codec;
use berth_runtime::image::snapshot::Snapshot;
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

#[test]
#[ignore = "needs root"]
fn a_bundle_that_only_root_can_look_into_does() {
    let mut bundle = remapped("rt-userns-private");
    std::fs::set_permissions(bundle.dir(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(bundle.sh("pwd; ls -d /data"), "/\n/data");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn streams_belong_to_the_user_of_the_process() {
    let mut bundle = remapped("rt-userns-streams");
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34});
    bundle.script("echo again > /dev/stderr; echo up; sleep 1000").create().ok();
    bundle.verb(&["start", "c"]).ok();
    bundle.wait_status("running");
    let owner = |name: &str| bundle.host.dir().join(name).metadata().unwrap().uid();
    assert_eq!((owner("said"), owner("errors")), (BASE + 33, BASE + 33));
    berth_test_host::eventually("what it writes", crate::bundle::PATIENCE, || {
        bundle.said().contains("up").then_some(())
    });
    assert_eq!(std::fs::read_to_string(bundle.host.dir().join("errors")).unwrap(), "again\n");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn what_cannot_be_mapped_is_refused_by_field() {
    let mut bundle = remapped("rt-userns-refused");
    let refused = |bundle: &Bundle, what: &str| {
        let said = bundle.run();
        assert!(said.code != 0 && said.stderr.contains(what), "{what}: {}", said.stderr);
    };
    bundle.config["process"]["user"]["uid"] = json!(70_000);
    refused(&bundle, "process.user.uid");
    bundle.config["process"]["user"]["uid"] = json!(0);
    bundle.config["linux"]["uidMappings"] = json!([]);
    bundle.config["linux"]["gidMappings"] = json!([]);
    refused(&bundle, "no uid mappings found");
    for maps in ["uidMappings", "gidMappings"] {
        bundle.config["linux"][maps] = map(10);
    }
    without_namespace(&mut bundle, "user");
    refused(&bundle, "user namespace mappings specified");
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn a_terminal_is_the_users() {
    let mut bundle = remapped("rt-userns-tty");
    bundle.started();
    let said = bundle.verb(&[
        "exec",
        "--tty",
        "--user",
        "33",
        "c",
        "sh",
        "-c",
        "stat -c %u $(tty); test -t 0 && echo terminal",
    ]);
    assert_eq!(said.ok().replace('\r', ""), "33\nterminal");
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn all_namespaces_of_a_container_with_users_of_its_own_are_joined() {
    let mut bundle = remapped("rt-ns-join-user");
    bundle.started();
    let pid = bundle.state()["pid"].as_u64().unwrap();
    let mut config = bundle.config.clone();
    let list = config["linux"]["namespaces"].as_array_mut().unwrap();
    list.clear();
    let joined = [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid"), ("user", "user")];
    for (kind, file) in joined {
        list.push(json!({"type": kind, "path": format!("/proc/{pid}/ns/{file}")}));
    }
    list.push(json!({"type": "mount"}));
    config["linux"].as_object_mut().unwrap().remove("uidMappings");
    config["linux"].as_object_mut().unwrap().remove("gidMappings");
    config["process"]["args"] =
        json!(["sh", "-c", "for n in net ipc uts pid user; do readlink /proc/self/ns/$n; done; id -u"]);
    let inside = run_second(&bundle, &config).ok();
    let outside =
        on_host(&bundle, &format!("for n in net ipc uts pid user; do readlink /proc/{pid}/ns/$n; done; echo 0"));
    assert_eq!(inside, outside);
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_path_to_another_kind_of_namespace_is_refused_by_its_name() {
    let mut bundle = Bundle::new("rt-ns-kind");
    let whole = bundle.config.clone();
    for (path, problem) in [("/proc/1/ns/ipc", "ipc"), ("/etc/passwd", "/etc/passwd"), ("/not/there", "/not/there")] {
        bundle.config = whole.clone();
        namespace(&mut bundle, json!({"type": "network", "path": path}));
        let said = bundle.run();
        assert!(said.code != 0 && said.stderr.contains(problem), "{path}: {}", said.stderr);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn the_hosts_mount_namespace_is_no_containers() {
    let mut bundle = Bundle::new("rt-own-mounts");
    let entries = bundle.config["linux"]["namespaces"].as_array_mut().unwrap();
    entries.retain(|entry| entry["type"] != "mount");
    let others = entries.clone();
    for path in [None, Some("/proc/self/ns/mnt"), Some("/proc/1/ns/mnt")] {
        let mut entries = others.clone();
        entries.extend(path.map(|path| json!({"type": "mount", "path": path})));
        bundle.config["linux"]["namespaces"] = json!(entries);
        let said = bundle.run();
        assert!(said.code != 0 && said.stderr.contains("linux.namespaces"), "{path:?}: {}", said.stderr);
    }
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn layers_of_an_image_stay_the_hosts_and_are_the_containers_inside() {
    let mut bundle = remapped("rt-own-layers");
    // Unpacked by the host's root, once for everybody.
    give(&bundle.rootfs(), 0);
    let (top, upper, work) = (bundle.volume("top"), bundle.volume("upper"), bundle.volume("work"));
    std::fs::write(top.join("from-top"), "top\n").unwrap();
    let lower = vec![top.clone(), bundle.rootfs()];
    std::fs::write(
        bundle.dir().join("snapshot"),
        Snapshot { key: "k".into(), lower, upper: upper.clone(), work }.to_bytes(),
    )
    .unwrap();
    let said = bundle
        .sh("stat -c %u:%g / /from-top /etc/passwd; echo changed > /from-top; touch /new; chown 33:34 /new; \
         stat -c %u:%g /from-top /new; cat /from-top");
    assert_eq!(said, "0:0\n0:0\n0:0\n0:0\n33:34\nchanged");
    let owner = |path: std::path::PathBuf| path.metadata().unwrap().uid();
    assert_eq!((owner(upper.join("from-top")), owner(upper.join("new"))), (BASE, BASE + 33));
    assert_eq!((owner(top.join("from-top")), owner(bundle.rootfs().join("etc/passwd"))), (0, 0));
    assert_eq!(std::fs::read_to_string(top.join("from-top")).unwrap(), "top\n");
    // Again in the same place: what is the container's stays so.
    assert_eq!(bundle.sh("stat -c %u / /new"), "0\n33");
    bundle.done();
}
