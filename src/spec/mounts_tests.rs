use super::*;

fn parse(json: serde_json::Value) -> Result<Mount, SpecError> {
    check(0, &serde_json::from_value(json).unwrap())
}

#[test]
fn every_option_that_is_listed_is_taken_and_none_is_left_to_the_file_system() {
    for option in options() {
        if option.ends_with("idmap") {
            continue;
        }
        let kind = parse(serde_json::json!({
            "destination": "/m", "type": "tmpfs", "source": "/s", "options": [option]}))
        .unwrap_or_else(|e| panic!("{option}: {e}"))
        .kind;
        if let MountKind::FileSystem { options, .. } = kind {
            let own = ANY_FILE_SYSTEM.contains(&option.as_str());
            assert_eq!(options.len(), usize::from(own), "{option}");
        }
    }
}

#[test]
fn owners_are_mapped_of_bind_mounts_and_by_both_maps_or_those_of_the_container() {
    let map = serde_json::json!([{"containerID": 0, "hostID": 1000, "size": 10}]);
    let mount = |fs_type: &str, options: &[&str], users: bool, groups: bool| {
        let mut mount = serde_json::json!({
            "destination": "/m", "type": fs_type, "source": "/s", "options": options});
        if users {
            mount["uidMappings"] = map.clone();
        }
        if groups {
            mount["gidMappings"] = map.clone();
        }
        parse(mount)
    };
    let owners = |options: &[&str]| mount("bind", options, true, true).unwrap().owners.unwrap();
    assert_eq!(owners(&[]), Owners { ids: IdMaps::from_zero(1000, 10), recursive: false });
    assert!(owners(&["ridmap"]).recursive && !owners(&["idmap", "rbind"]).recursive);
    assert!(mount("tmpfs", &["idmap"], true, true).is_err());
    assert_eq!(mount("bind", &[], true, false).unwrap_err().field, "mounts[0] (/m).gidMappings");
    let mut mounts = [mount("bind", &["idmap"], false, false).unwrap()];
    assert!(fill_owners(&mut mounts, &Namespaces::default()).is_err());
    let ids = IdMaps::from_zero(7, 8);
    let own = Namespaces { new: libc::CLONE_NEWUSER, ids: ids.clone(), ..Namespaces::default() };
    fill_owners(&mut mounts, &own).unwrap();
    assert_eq!(mounts[0].owners.as_ref().unwrap().ids, ids);
}

#[test]
fn nothing_covers_proc_but_what_shows_limits() {
    let at = |destination: &str, fs_type: &str| {
        parse(serde_json::json!({"destination": destination, "type": fs_type, "source": "/s"}))
    };
    for (destination, fs_type) in
        [("/proc", "tmpfs"), ("proc/self/attr", "bind"), ("/x/../proc/sys", "proc"), ("/proc/cpuinfo/x", "bind")]
    {
        assert!(at(destination, fs_type).is_err(), "{destination} {fs_type}");
    }
    for (destination, fs_type) in
        [("/proc", "proc"), ("/proc", "bind"), ("/proc/cpuinfo", "bind"), ("/processes", "tmpfs"), ("/a/proc", "tmpfs")]
    {
        assert!(at(destination, fs_type).is_ok(), "{destination} {fs_type}");
    }
}

#[test]
fn a_tmpfs_and_dev_become_read_only_last_and_others_at_once() {
    let of = |destination: &str, fs_type: &str| {
        let mount = parse(serde_json::json!({
            "destination": destination, "type": fs_type, "source": "/s", "options": ["ro"]}))
        .unwrap();
        (mount.readonly_last, mount.change.set & attr::RDONLY != 0)
    };
    assert_eq!(of("/t", "tmpfs"), (true, false));
    assert_eq!(of("/dev", "bind"), (true, false));
    assert_eq!(of("/sys", "sysfs"), (false, true));
    assert_eq!(of("/b", "bind"), (false, true));
}

#[test]
fn a_read_only_file_system_with_a_device_is_told_so() {
    let options = |fs_type: &str| {
        let mount = parse(serde_json::json!({
            "destination": "/m", "type": fs_type, "source": "/dev/x", "options": ["ro"]}));
        match mount.unwrap().kind {
            MountKind::FileSystem { options, .. } => options,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(options("ext4"), [(c"ro".to_owned(), None)]);
    assert_eq!(options("sysfs"), []);
}

#[test]
fn a_remount_is_of_something_that_the_document_has_mounted() {
    let check_all = |mounts: serde_json::Value| {
        let mounts: Vec<oci_spec::runtime::Mount> = serde_json::from_value(mounts).unwrap();
        let mounts: Vec<Mount> = mounts.iter().enumerate().map(|(i, m)| check(i, m).unwrap()).collect();
        check_remounts(&mounts)
    };
    let tmpfs = serde_json::json!({"destination": "/m", "type": "tmpfs", "source": "t"});
    let bind = serde_json::json!({"destination": "/m", "type": "bind", "source": "/s"});
    let remount = |options: &[&str]| serde_json::json!({"destination": "/m", "type": "tmpfs", "options": options});
    assert!(check_all(serde_json::json!([tmpfs, remount(&["remount", "size=1m"])])).is_ok());
    assert!(check_all(serde_json::json!([bind, remount(&["bind", "remount", "ro"])])).is_ok());
    assert!(check_all(serde_json::json!([bind, remount(&["remount", "ro"])])).is_err());
    assert!(check_all(serde_json::json!([remount(&["remount", "ro"]), tmpfs])).is_err());
}

#[test]
fn a_bind_mount_takes_no_option_of_a_file_system_but_what_all_have_and_what_volumes_have() {
    let bind = |fs_type: &str, options: &[&str]| {
        parse(serde_json::json!({"destination": "/m", "type": fs_type, "source": "/s", "options": options}))
    };
    for (fs_type, options) in
        [("bind", &["size=10m"][..]), ("", &["rbind", "ro", "nonsense"]), ("none", &["bind", "remount", "sync=x"])]
    {
        let problem = bind(fs_type, options).unwrap_err().problem;
        assert!(problem.ends_with("bind mounts cannot have any filesystem-specific options applied"), "{options:?}");
    }
    let all: Vec<String> = options().into_iter().filter(|o| o != "tmpcopyup" && !o.ends_with("idmap")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    assert!(bind("bind", &all).is_ok());
    assert!(bind("bind", &["rbind", "nocopy", "volume-opt=type=tmpfs"]).is_ok());
    assert!(bind("tmpfs", &["size=10m"]).is_ok());
}
