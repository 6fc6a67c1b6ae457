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
fn zero_processes_are_a_limit_where_the_document_says_so_and_is_of_version_1_3() {
    let pids = |version: &str, pids: Value| {
        let change = |d: &mut Value| {
            d["ociVersion"] = json!(version);
            d["linux"]["resources"] = json!({"pids": pids});
        };
        document(change).unwrap().resources.pids
    };
    assert_eq!(pids("1.3.0", json!({"limit": 0})), Some(1));
    assert_eq!(pids("1.3.0-rc.1", json!({"limit": 0})), Some(1));
    assert_eq!(pids("1.3.0", json!({})), None);
    assert_eq!(pids("1.2.1", json!({"limit": 0})), None);
    assert_eq!(pids("1.0.2", json!({"limit": 7})), Some(7));
}

#[test]
fn every_document_of_major_version_1_is_taken() {
    for version in ["1.0.0", "1.0.2-dev", "1.3.0", "1.9.0"] {
        assert!(document(|d| d["ociVersion"] = json!(version)).is_ok(), "{version}");
    }
    for version in ["0.9.0", "2.0.0", "", "one"] {
        let e = document(|d| d["ociVersion"] = json!(version)).unwrap_err();
        assert_eq!(e.problem, format!("got `{version}`, this runtime takes versions 1.x"));
    }
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
fn words_that_mean_nothing_are_named_where_they_stand() {
    let e = document(|d| d["process"]["rlimits"] = json!([{"type": "RLIMIT_FOO", "soft": 1, "hard": 1}])).unwrap_err();
    assert_eq!(e.to_string(), "config.json: process.rlimits[0].type: wrong rlimit value: RLIMIT_FOO");
    let e = document(|d| d["linux"]["namespaces"][1] = json!({"type": "foo"})).unwrap_err();
    assert_eq!(e.to_string(), "config.json: linux.namespaces[1].type: namespace `foo` does not exist");
    let e = document(|d| d["linux"]["devices"] = json!([{"path": "/dev/x", "type": ""}])).unwrap_err();
    assert_eq!(e.to_string(), "config.json: linux.devices[0].type: got ``");
    let rules = json!({"devices": [{"allow": false, "type": ""}, {"allow": true, "type": "x"}]});
    let e = document(|d| d["linux"]["resources"] = rules).unwrap_err();
    assert_eq!(e.to_string(), "config.json: linux.resources.devices[1].type: got `x`");
    let e = document(|d| d["process"]["env"] = json!(["A=1", "B"])).unwrap_err();
    assert_eq!(e.to_string(), "config.json: process.env: `B` is no NAME=VALUE");
}

#[test]
fn null_is_a_field_that_is_missing() {
    for field in ["env", "capabilities", "user", "rlimits", "terminal"] {
        assert!(document(|d| d["process"][field] = Value::Null).unwrap().process.is_some(), "{field}");
    }
    let plan = document(|d| {
        d["annotations"] = json!({"a": null, "b": "c"});
        // Where nobody looks it may say what it likes.
        d["windows"] = json!({"layerFolders": [null]});
        d["linux"]["namespaces"][1] = json!({"type": "network", "path": null});
        d["linux"]["netDevices"] = json!({"eth0": null});
        d["linux"]["sysctl"] = json!({"net.ipv4.ping_group_range": null});
        d["linux"]["resources"] =
            json!({"devices": [{"allow": false, "type": "", "major": null}], "unified": {"a.b": null}});
        d["mounts"] = json!([{"destination": "/m", "type": "tmpfs", "source": null, "options": null}]);
    })
    .unwrap();
    assert_eq!(plan.annotations["a"], "");
    assert_eq!(plan.net_devices[0].name, "eth0");
    assert_eq!(plan.sysctl[0].1, "");
    assert_eq!((plan.resources.devices.len(), plan.resources.unified[0].1.as_str()), (1, ""));
    let seccomp = |rule: Value| {
        let change =
            |d: &mut Value| d["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]});
        document(change).unwrap().seccomp.unwrap().syscalls().clone().unwrap()[0].names().len()
    };
    assert_eq!(seccomp(json!({"names": null, "action": "SCMP_ACT_LOG"})), 0);
    assert_eq!(seccomp(json!({"action": "SCMP_ACT_LOG"})), 0);
}

#[test]
fn null_that_says_nothing_is_named_where_it_stands() {
    let said = |change: fn(&mut Value)| document(change).unwrap_err().to_string();
    assert_eq!(said(|d| d["process"]["args"] = Value::Null), "config.json: process.args: is empty");
    assert_eq!(
        said(|d| d["ociVersion"] = Value::Null),
        "config.json: ociVersion: got ``, this runtime takes versions 1.x"
    );
    assert_eq!(said(|d| d["process"]["env"] = json!(["A=1", null])), "config.json: process.env[1]: is null");
    let e = parse_process(br#"{"args":["a",null],"env":null,"cwd":"/"}"#).unwrap_err();
    assert_eq!(e.to_string(), "config.json: process.args[1]: is null");
    assert!(parse_process(br#"{"args":["a"],"env":null,"user":null,"cwd":"/"}"#).is_ok());
    let e = parse_resources(br#"{"devices":[null],"unified":{"a.b":null}}"#).unwrap_err();
    assert_eq!(e.to_string(), "config.json: linux.resources.devices[0]: is null");
    assert!(parse_resources(br#"{"devices":[{"allow":false,"type":""}],"rdma":{"m":null}}"#).is_ok());
    // What is wrong otherwise is told all the same.
    let e = document(|d| d["process"] = json!({"env": null, "args": 7})).unwrap_err();
    assert!(e.to_string().starts_with("config.json: document: invalid type: integer"), "{e}");
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

#[test]
fn names_that_are_no_capabilities_are_kept_to_be_told_of() {
    let plan = document(|d| {
        d["process"]["capabilities"] = json!({
            "bounding": ["CAP_CHOWN", "CAP_FLY"], "effective": ["CAP_FLY", "CAP_SWIM"], "permitted": ["kill"]});
    })
    .unwrap();
    let process = plan.process.unwrap();
    assert_eq!(process.capabilities.bounding, 1);
    assert_eq!(process.capabilities.effective, 0);
    assert_eq!(process.capabilities.permitted, 1 << 5);
    assert_eq!(process.unknown_capabilities, ["CAP_FLY", "CAP_SWIM"]);
}

#[test]
fn new_file_systems_get_the_mount_label_but_those_that_show_the_kernel() {
    let mounts = json!([
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {"destination": "/sys", "type": "sysfs", "source": "sysfs"},
        {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"},
        {"destination": "/t", "type": "tmpfs", "source": "tmpfs"},
        {"destination": "/own", "type": "tmpfs", "source": "tmpfs", "options": ["rootcontext=b:b:b:s0"]},
        {"destination": "/bind", "type": "bind", "source": "/x", "options": ["bind"]},
    ]);
    let labels = |plan: Plan| -> Vec<bool> {
        let label = (c"context".to_owned(), Some(c"a:a:a:s0:c1,c2".to_owned()));
        let has = |kind: &MountKind| matches!(kind, MountKind::FileSystem { options, .. } if options.contains(&label));
        plan.mounts.iter().map(|mount| has(&mount.kind)).collect()
    };
    let with = |label: &str| {
        document(|d| {
            d["mounts"] = mounts.clone();
            d["linux"]["mountLabel"] = json!(label);
        })
        .unwrap()
    };
    assert_eq!(labels(with("a:a:a:s0:c1,c2")), [false, false, false, true, false, false]);
    assert_eq!(labels(with("")), [false; 6]);
}

#[test]
fn of_a_variable_that_is_given_twice_the_last_counts() {
    let env = |given: Value| document(|d| d["process"]["env"] = given).map(|plan| plan.process.unwrap().env);
    let expected = [c"B=".to_owned(), c"A=last".to_owned(), c"AB=".to_owned()];
    assert_eq!(env(json!(["A=first", "B=", "A=", "A=last", "AB="])).unwrap(), expected);
}

#[test]
fn a_variable_has_a_name() {
    let e = document(|d| d["process"]["env"] = json!(["A=1", "=x"])).unwrap_err();
    assert_eq!(e.to_string(), "config.json: process.env: `=x`: environment variable name can't be empty");
}
