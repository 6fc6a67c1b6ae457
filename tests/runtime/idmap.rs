//! Mounts whose files have other owners inside. runc knows them from 1.2 on.

use crate::bundle::Bundle;
use crate::userns::{on_host, remapped};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, chown};

fn owner(path: &std::path::Path) -> (u32, u32) {
    let found = path.metadata().unwrap();
    (found.uid(), found.gid())
}

#[test]
#[ignore = "needs root"]
fn owners_are_mapped_in_both_directions() {
    let mut bundle = Bundle::new("rt-idmap");
    let volume = bundle.volume("volume");
    chown(&volume, Some(1000), Some(1001)).unwrap();
    bundle.mount(json!({
        "destination": "/v", "type": "bind", "source": volume, "options": ["bind", "idmap"],
        "uidMappings": [{"containerID": 1000, "hostID": 33, "size": 1}],
        "gidMappings": [{"containerID": 1001, "hostID": 34, "size": 1}]}));
    bundle.config["process"]["user"] = json!({"uid": 33, "gid": 34});
    assert_eq!(bundle.sh("touch /v/new && stat -c %u:%g /v /v/new"), "33:34\n33:34");
    assert_eq!(owner(&volume.join("new")), (1000, 1001));
    bundle.done();
}

/// The map is that of a process, which is made while the network namespace may be in the making.
#[test]
#[ignore = "needs root"]
fn owners_are_mapped_whatever_else_is_made_meanwhile() {
    let mut bundle = Bundle::new("rt-idmap-often");
    let volume = bundle.volume("volume");
    let all = json!([{"containerID": 0, "hostID": 33, "size": 1}]);
    bundle.mount(json!({
        "destination": "/v", "type": "bind", "source": volume, "options": ["bind", "idmap"],
        "uidMappings": all, "gidMappings": all}));
    for _ in 0..30 {
        assert_eq!(bundle.sh("stat -c %u:%g /v"), "33:33");
    }
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_volume_of_the_hosts_root_is_that_of_the_containers_root() {
    let mut bundle = remapped("rt-idmap-userns");
    for name in ["one", "two"] {
        let volume = bundle.volume(name);
        // No mappings: those of the container's user namespace.
        bundle.mount(json!({
            "destination": format!("/{name}"), "type": "bind", "source": volume, "options": ["rbind", "idmap"]}));
    }
    assert_eq!(
        bundle.sh("touch /one/a /two/b && chown 33:34 /two/b && stat -c %u:%g /one /one/a /two/b"),
        "0:0\n0:0\n33:34"
    );
    assert_eq!(owner(&bundle.host.dir().join("one/a")), (0, 0));
    assert_eq!(owner(&bundle.host.dir().join("two/b")), (33, 34));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn mounts_below_are_mapped_where_that_is_asked_for() {
    let mut bundle = remapped("rt-idmap-below");
    let (volume, other) = (bundle.volume("volume"), bundle.volume("other"));
    std::fs::create_dir(volume.join("below")).unwrap();
    on_host(&bundle, &format!("mount --bind {} {}/below", other.display(), volume.display()));
    for (at, option) in [("/one", "idmap"), ("/all", "ridmap")] {
        bundle.mount(json!({"destination": at, "type": "bind", "source": volume, "options": ["rbind", option]}));
    }
    assert_eq!(bundle.sh("stat -c %u /one /one/below /all /all/below"), "0\n65534\n0\n0");
    on_host(&bundle, &format!("umount {}/below", volume.display()));
    bundle.done();
}

#[test]
#[ignore = "needs root"]
fn a_file_system_that_cannot_is_named() {
    let mut bundle = remapped("rt-idmap-cannot");
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": "/proc", "options": ["bind", "idmap"]}));
    let said = bundle.run();
    assert_ne!(said.code, 0);
    assert!(said.stderr.contains("/v") && said.stderr.contains("does not support idmapped mounts"), "{}", said.stderr);
    bundle.assert_clean();
}

#[test]
#[ignore = "needs root"]
fn maps_of_nobody_are_refused() {
    let mut bundle = Bundle::new("rt-idmap-refused");
    let volume = bundle.volume("volume");
    bundle.mount(json!({"destination": "/v", "type": "bind", "source": volume, "options": ["bind", "idmap"]}));
    let said = bundle.run();
    assert!(said.code != 0 && said.stderr.contains("(/v): option `idmap` needs"), "{}", said.stderr);
    bundle.assert_clean();
}
