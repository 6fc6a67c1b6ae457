use super::*;
use crate::cgroup::limits::Limits;
use crate::codec::Codec;
use crate::image::parse_config;
use crate::spec::IdMaps;
use oci_spec::runtime::Spec;
use serde_json::{Value, json};

fn image(config: Value) -> ImageConfiguration {
    let document = json!({
        "architecture": "amd64", "os": "linux", "config": config, "rootfs": { "type": "layers", "diff_ids": [] },
    });
    parse_config(document.to_string().as_bytes()).unwrap()
}

fn shell() -> ImageConfiguration {
    image(json!({ "Cmd": ["sh"], "Env": ["A=1", "PATH=/bin"] }))
}

/// Writes a bundle on a layer with this passwd and gives it with its document.
fn bundle(image: &ImageConfiguration, settings: &ContainerSettings) -> Result<(Bundle, Value), BundleError> {
    let dir = tempfile::tempdir().unwrap();
    let lower = dir.path().join("lower");
    fs::create_dir_all(lower.join("etc")).unwrap();
    fs::write(lower.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\napp:x:70:71::/app:/bin/sh\n").unwrap();
    fs::write(lower.join("etc/group"), "app:x:71:\nextra:x:90:app\n").unwrap();
    let snapshot =
        Snapshot { key: "t.c".into(), lower: vec![lower], upper: dir.path().join("u"), work: dir.path().join("w") };
    let out = dir.path().join("run/bundle");
    let bundle = write(&out, &snapshot, image, settings)?;
    let bytes = fs::read(out.join("config.json")).unwrap();
    serde_json::from_slice::<Spec>(&bytes).expect("is an OCI runtime configuration");
    let written = Snapshot::from_bytes(&fs::read(out.join("snapshot")).unwrap()).unwrap();
    assert_eq!(written, snapshot);
    assert!(out.join("rootfs").is_dir());
    Ok((bundle, serde_json::from_slice(&bytes).unwrap()))
}

fn document(settings: &ContainerSettings) -> Value {
    bundle(&shell(), settings).unwrap().1
}

fn args(image: &ImageConfiguration, entry_point: Option<&[&str]>, command: Option<&[&str]>) -> Vec<String> {
    let own = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect();
    let settings =
        ContainerSettings { entry_point: entry_point.map(own), command: command.map(own), ..Default::default() };
    bundle(image, &settings).unwrap().0.args
}

fn destinations(document: &Value) -> Vec<&str> {
    document["mounts"].as_array().unwrap().iter().map(|m| m["destination"].as_str().unwrap()).collect()
}

#[test]
fn a_container_is_closed_unless_it_asks() {
    let document = document(&ContainerSettings::default());
    let caps = &document["process"]["capabilities"];
    assert_eq!(caps["bounding"].as_array().unwrap().len(), 14);
    assert_eq!(caps["inheritable"], json!([]));
    assert_eq!(caps["ambient"], json!([]));
    let namespaces: Vec<&str> =
        document["linux"]["namespaces"].as_array().unwrap().iter().map(|n| n["type"].as_str().unwrap()).collect();
    assert_eq!(namespaces, ["mount", "cgroup", "pid", "ipc", "uts", "network"]);
    assert!(document["linux"]["maskedPaths"].as_array().unwrap().contains(&json!("/proc/kcore")));
    assert!(document["linux"]["readonlyPaths"].as_array().unwrap().contains(&json!("/proc/sys")));
    assert_eq!(document["linux"]["resources"]["devices"], json!([{ "allow": false, "access": "rwm" }]));
    assert_eq!(document["linux"]["seccomp"]["defaultAction"], "SCMP_ACT_ERRNO");
    let sys = document["mounts"].as_array().unwrap().iter().find(|m| m["destination"] == "/sys").unwrap();
    assert!(sys["options"].as_array().unwrap().contains(&json!("ro")));
}

#[test]
fn a_privileged_container_is_open() {
    let document = document(&ContainerSettings { privileged: true, ..Default::default() });
    assert!(document["process"]["capabilities"]["bounding"].as_array().unwrap().contains(&json!("CAP_SYS_ADMIN")));
    assert_eq!(document["linux"]["maskedPaths"], json!([]));
    assert_eq!(document["linux"]["resources"]["devices"][0]["allow"], json!(true));
    assert!(document["linux"].get("seccomp").is_none());
}

#[test]
fn every_other_container_is_filtered_by_what_its_capabilities_allow() {
    let allowed = |settings: ContainerSettings| document(&settings)["linux"]["seccomp"]["syscalls"][0]["names"].clone();
    let has = |names: &Value, name: &str| names.as_array().is_some_and(|names| names.contains(&json!(name)));
    let plain = allowed(ContainerSettings::default());
    assert!(has(&plain, "read") && has(&plain, "chroot") && !has(&plain, "mount"));
    let admin = allowed(ContainerSettings { cap_add: vec!["SYS_ADMIN".into()], ..Default::default() });
    assert!(has(&admin, "mount"));
    assert!(allowed(ContainerSettings { no_seccomp: true, ..Default::default() }).is_null());
}

#[test]
fn entry_point_and_command_go_together_as_in_docker() {
    let image = image(json!({ "Entrypoint": ["/entry"], "Cmd": ["serve"] }));
    assert_eq!(args(&image, None, None), ["/entry", "serve"]);
    assert_eq!(args(&image, None, Some(&["check"])), ["/entry", "check"]);
    assert_eq!(args(&image, Some(&["/bin/sh", "-c"]), Some(&["x"])), ["/bin/sh", "-c", "x"]);
    assert_eq!(args(&image, Some(&["/other"]), None), ["/other"], "the image's command is for its own entry point");
}

#[test]
fn nothing_to_run_is_an_error_and_leaves_nothing() {
    let empty = image(json!({}));
    assert!(matches!(bundle(&empty, &ContainerSettings::default()), Err(BundleError::NoCommand)));
}

#[test]
fn the_tasks_environment_wins_over_the_images() {
    let settings =
        ContainerSettings { env: vec![("A".into(), "2=3".into()), ("B".into(), String::new())], ..Default::default() };
    let document = document(&settings);
    let env: Vec<&str> = document["process"]["env"].as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
    assert_eq!(env, ["PATH=/bin", "HOME=/root", "A=2=3", "B="]);
    let bad = ContainerSettings { env: vec![("A=B".into(), "x".into())], ..Default::default() };
    assert!(matches!(bundle(&shell(), &bad), Err(BundleError::Value { field: "environment variable", .. })));
}

#[test]
fn the_user_is_looked_up_in_the_image() {
    let settings = ContainerSettings { user: Some("app".into()), ..Default::default() };
    let (bundle, document) = bundle(&shell(), &settings).unwrap();
    assert_eq!(document["process"]["user"], json!({ "uid": 70, "gid": 71, "additionalGids": [71, 90] }));
    assert_eq!(document["process"]["capabilities"]["effective"], json!([]));
    assert!(document["process"]["env"].as_array().unwrap().contains(&json!("HOME=/app")));
    assert_eq!(bundle.user.uid, 70);
}

#[test]
fn a_missing_user_is_named() {
    let settings = ContainerSettings { user: Some("ghost".into()), ..Default::default() };
    assert_eq!(bundle(&shell(), &settings).unwrap_err().to_string(), "user `ghost`: is not in the image's /etc/passwd");
}

#[test]
fn the_images_stop_signal_is_kept() {
    let with = |signal: &str| image(json!({ "Cmd": ["x"], "StopSignal": signal }));
    let signal = |image: &ImageConfiguration| bundle(image, &ContainerSettings::default()).map(|b| b.0.stop_signal);
    assert_eq!(signal(&shell()).unwrap(), 15);
    assert_eq!(signal(&with("SIGQUIT")).unwrap(), 3);
    assert!(signal(&with("SIGNOTHING")).is_err());
}

#[test]
fn volumes_are_mounted_after_those_above_them_and_in_place_of_defaults() {
    let bind = |destination: &str| Volume {
        source: VolumeSource::Bind("/host".into()),
        destination: destination.into(),
        read_only: true,
    };
    let settings = ContainerSettings {
        mounts: vec![bind("/data/deep//er"), bind("/data"), bind("/etc/hosts"), bind("/dev/shm/")],
        hosts: Some("/run/hosts".into()),
        ..Default::default()
    };
    let document = document(&settings);
    let all = destinations(&document);
    assert_eq!(&all[all.len() - 4..], ["/data", "/etc/hosts", "/dev/shm", "/data/deep/er"]);
    assert_eq!(all.iter().filter(|d| **d == "/dev/shm" || **d == "/etc/hosts").count(), 2);
    for bad in ["data", "/", "/a/../b"] {
        let settings = ContainerSettings { mounts: vec![bind(bad)], ..Default::default() };
        assert!(
            matches!(bundle(&shell(), &settings), Err(BundleError::Value { field: "container path", .. })),
            "{bad}"
        );
    }
}

#[test]
fn a_tmpfs_option_takes_back_its_default() {
    let source = VolumeSource::Tmpfs { size_bytes: Some(1 << 20), options: vec!["exec".into(), "mode=700".into()] };
    let volume = Volume { source, destination: "/t".into(), read_only: false };
    let document = document(&ContainerSettings { mounts: vec![volume], ..Default::default() });
    let mount = document["mounts"].as_array().unwrap().last().unwrap();
    assert_eq!(mount["options"], json!(["nosuid", "nodev", "rw", "size=1048576", "exec", "mode=700"]));
}

#[test]
fn limits_and_ulimits_are_in_the_kernels_words() {
    let settings = ContainerSettings {
        limits: Limits {
            memory_bytes: Some(64 << 20),
            swap_bytes: Some(0),
            cpu_shares: Some(256),
            pids: Some(10),
            ..Limits::default()
        },
        ulimits: vec![Ulimit { name: "nofile".into(), soft: 1024, hard: -1 }],
        ..Default::default()
    };
    let document = document(&settings);
    let resources = &document["linux"]["resources"];
    assert_eq!(resources["memory"], json!({ "limit": 64 << 20, "swap": 64 << 20 }));
    assert_eq!((&resources["cpu"], &resources["pids"]), (&json!({ "shares": 256 }), &json!({ "limit": 10 })));
    assert_eq!(document["process"]["rlimits"], json!([{ "type": "RLIMIT_NOFILE", "soft": 1024, "hard": u64::MAX }]));
    for (name, soft, hard) in [("files", 1, 1), ("nofile", 2, 1), ("nofile", -1, 5)] {
        let settings =
            ContainerSettings { ulimits: vec![Ulimit { name: name.into(), soft, hard }], ..Default::default() };
        assert!(
            matches!(bundle(&shell(), &settings), Err(BundleError::Value { field: "ulimit", .. })),
            "{name} {soft}"
        );
    }
}

#[test]
fn the_hosts_namespaces_are_left_out_and_pinned_ones_named() {
    let settings = ContainerSettings {
        network: Namespace::Host,
        uts: Namespace::Host,
        ipc: Namespace::At("/run/ipc".into()),
        hostname: Some("ignored".into()),
        ..Default::default()
    };
    let document = document(&settings);
    let namespaces = document["linux"]["namespaces"].as_array().unwrap();
    assert_eq!(namespaces.len(), 4);
    assert!(namespaces.contains(&json!({ "type": "ipc", "path": "/run/ipc" })));
    assert!(document.get("hostname").is_none());
}

#[test]
fn a_device_of_the_host_is_made_and_allowed() {
    let null = Device { host: "/dev/null".into(), container: "/dev/void".into(), access: "rw".into() };
    let found = document(&ContainerSettings { devices: vec![null], ..Default::default() });
    assert_eq!(found["linux"]["devices"][0]["path"], "/dev/void");
    assert_eq!(
        found["linux"]["resources"]["devices"][1],
        json!({ "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rw" })
    );
    let none = Device { host: "/etc/passwd".into(), container: "/dev/x".into(), access: "r".into() };
    let settings = ContainerSettings { devices: vec![none], ..Default::default() };
    assert!(matches!(bundle(&shell(), &settings), Err(BundleError::Value { field: "device", .. })));
}

#[test]
fn mapped_users_take_a_user_namespace_and_volumes_with_mapped_owners() {
    let volume = || Volume { source: VolumeSource::Bind("/srv".into()), destination: "/data".into(), read_only: true };
    let of = |users| document(&ContainerSettings { users, mounts: vec![volume()], ..Default::default() });
    let options = |document: &Value| {
        let mounts = document["mounts"].as_array().unwrap();
        mounts.iter().find(|m| m["destination"] == "/data").unwrap()["options"].clone()
    };
    let mapped = of(IdMaps::from_zero(1_000_000, 65_536));
    assert!(mapped["linux"]["namespaces"].as_array().unwrap().contains(&json!({ "type": "user" })));
    for map in ["uidMappings", "gidMappings"] {
        assert_eq!(mapped["linux"][map], json!([{ "containerID": 0, "hostID": 1_000_000, "size": 65_536 }]));
    }
    assert_eq!(options(&mapped), json!(["rbind", "rprivate", "ro", "ridmap"]));
    assert!(crate::spec::parse(mapped.to_string().as_bytes()).is_ok());
    let plain = of(IdMaps::default());
    assert!(!plain["linux"]["namespaces"].as_array().unwrap().contains(&json!({ "type": "user" })));
    assert_eq!((&plain["linux"]["uidMappings"], options(&plain)), (&Value::Null, json!(["rbind", "rprivate", "ro"])));
}
