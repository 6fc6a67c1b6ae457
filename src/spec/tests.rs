use super::*;
use crate::sys::mount::attr;
use serde_json::{Value, json};

fn document(change: impl FnOnce(&mut Value)) -> Result<Plan, SpecError> {
    let mut value = json!({
        "ociVersion": "1.0.2",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]}
    });
    change(&mut value);
    parse(value.to_string().as_bytes())
}

#[test]
fn a_small_document_is_a_plan() {
    let plan = document(|_| ()).unwrap();
    assert_eq!(plan.namespaces.new, libc::CLONE_NEWNS | libc::CLONE_NEWPID);
    assert_eq!(plan.process.unwrap().args, [c"/bin/true".to_owned()]);
}

#[test]
fn what_cannot_be_carried_out_is_refused_by_field() {
    type Case = (fn(&mut Value), &'static str);
    let cases: [Case; 9] = [
        (|d| d["ociVersion"] = json!("2.0.0"), "ociVersion"),
        (|d| d["process"]["args"] = json!([]), "process.args"),
        (|d| d["process"]["cwd"] = json!("tmp"), "process.cwd"),
        (|d| d["process"]["env"] = json!(["A=\u{0}"]), "process.env[0]"),
        (|d| d["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 2, "hard": 1}]), "process.rlimits[0]"),
        (|d| d["hostname"] = json!("h"), "hostname"),
        (|d| d["linux"]["namespaces"] = json!([{"type": "mount"}, {"type": "mount"}]), "linux.namespaces[1]"),
        (|d| d["linux"]["intelRdt"] = json!({}), "linux.intelRdt"),
        (|d| d["linux"]["maskedPaths"] = json!(["proc/kcore"]), "linux.maskedPaths[0]"),
    ];
    for (change, field) in cases {
        assert_eq!(document(change).unwrap_err().field, field);
    }
}

#[test]
fn the_last_word_on_a_mount_option_counts() {
    let plan = document(|d| {
        d["mounts"] = json!([{"destination": "/m", "type": "tmpfs", "source": "t",
            "options": ["ro", "nosuid", "rw", "noatime", "strictatime", "size=64k", "rslave", "rro"]}]);
    })
    .unwrap();
    let mount = &plan.mounts[0];
    assert_eq!(mount.change.set, attr::NOSUID | attr::STRICTATIME);
    assert_eq!(mount.change.clear, attr::RDONLY);
    assert_eq!(mount.change_recursive.set, attr::RDONLY);
    assert_eq!(mount.change_recursive.propagation, libc::MS_SLAVE);
    let MountKind::FileSystem { options, .. } = &mount.kind else { panic!("not a file system") };
    assert_eq!(options, &[(c"size".to_owned(), Some(c"64k".to_owned()))]);
}

#[test]
fn a_bind_is_told_by_its_option_or_its_type() {
    let plan = document(|d| {
        d["mounts"] = json!([
            {"destination": "/a", "type": "none", "source": "/x", "options": ["rbind"]},
            {"destination": "b", "type": "bind", "source": "/y", "options": ["ro"]},
        ]);
    })
    .unwrap();
    let bind = |i: usize| match &plan.mounts[i].kind {
        MountKind::Bind(bind) => bind.clone(),
        other => panic!("{other:?}"),
    };
    assert!(bind(0).recursive);
    assert!(!bind(1).recursive);
    assert_eq!(plan.mounts[1].destination, Path::new("/b"));
}

#[test]
fn capabilities_are_the_kernels_bits() {
    let plan =
        document(|d| d["process"]["capabilities"] = json!({"bounding": ["CAP_CHOWN", "CAP_SYS_ADMIN"]})).unwrap();
    assert_eq!(plan.process.unwrap().capabilities.bounding, 1 | 1 << 21);
}
