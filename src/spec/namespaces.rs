//! Namespaces of a container: which are new, which are joined, and what the new ones are to hold.

use super::{IdMaps, Process, SpecError, idmap, refuse};
use oci_spec::runtime::{Linux, LinuxNamespaceType};
use std::path::PathBuf;

/// Namespaces of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespaces {
    /// `CLONE_NEW*` of the namespaces that are made new.
    pub new: i32,
    /// `CLONE_NEW*` and path of those that are joined.
    pub join: Vec<(i32, PathBuf)>,
    /// Users and groups of a new user namespace; for one that is joined, what it is expected to have.
    pub ids: IdMaps,
    /// Clocks of a new time namespace: name, seconds and nanoseconds by which they differ from the host's.
    pub clocks: Vec<(&'static str, i64, u32)>,
}

impl Namespaces {
    /// `CLONE_NEW*` of all that the container has of its own, made or joined.
    pub fn flags(&self) -> i32 {
        self.join.iter().fold(self.new, |flags, (kind, _)| flags | kind)
    }

    /// Whether the container has a namespace of its own (made or joined) of the kind `flag`.
    pub fn has(&self, flag: i32) -> bool {
        self.flags() & flag != 0
    }
}

/// What a kind of namespace is called in config.json.
pub fn kind_name(flag: i32) -> &'static str {
    match flag {
        libc::CLONE_NEWNS => "mount",
        libc::CLONE_NEWCGROUP => "cgroup",
        libc::CLONE_NEWUTS => "uts",
        libc::CLONE_NEWIPC => "ipc",
        libc::CLONE_NEWUSER => "user",
        libc::CLONE_NEWPID => "pid",
        libc::CLONE_NEWNET => "network",
        libc::CLONE_NEWTIME => "time",
        _ => "unknown",
    }
}

pub(super) fn check(linux: &Linux) -> Result<Namespaces, SpecError> {
    let mut found = Namespaces::default();
    let mut seen = 0;
    for (i, namespace) in linux.namespaces().iter().flatten().enumerate() {
        let field = format!("linux.namespaces[{i}]");
        // In place of `as`: the types of some versions of the crate and of libc differ for CLONE_NEWTIME.
        let flag = flag(namespace.typ());
        if seen & flag != 0 {
            return refuse(field, format!("a second {} namespace", kind_name(flag)));
        }
        seen |= flag;
        match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
            Some(path) if path.is_absolute() => found.join.push((flag, path.clone())),
            Some(path) => return refuse(field, format!("path `{}` is not absolute", path.display())),
            None => found.new |= flag,
        }
    }
    if !found.has(libc::CLONE_NEWNS) {
        return refuse(
            "linux.namespaces",
            "a container without a mount namespace would be mounted over the host's tree; this runtime does not do it",
        );
    }
    found.ids = ids(linux, &found)?;
    found.clocks = clocks(linux, &found)?;
    Ok(found)
}

fn flag(kind: LinuxNamespaceType) -> i32 {
    match kind {
        LinuxNamespaceType::Mount => libc::CLONE_NEWNS,
        LinuxNamespaceType::Cgroup => libc::CLONE_NEWCGROUP,
        LinuxNamespaceType::Uts => libc::CLONE_NEWUTS,
        LinuxNamespaceType::Ipc => libc::CLONE_NEWIPC,
        LinuxNamespaceType::User => libc::CLONE_NEWUSER,
        LinuxNamespaceType::Pid => libc::CLONE_NEWPID,
        LinuxNamespaceType::Network => libc::CLONE_NEWNET,
        LinuxNamespaceType::Time => libc::CLONE_NEWTIME,
    }
}

fn ids(linux: &Linux, namespaces: &Namespaces) -> Result<IdMaps, SpecError> {
    let maps = idmap::check("linux.", linux.uid_mappings(), linux.gid_mappings())?;
    if !namespaces.has(libc::CLONE_NEWUSER) {
        return match maps.is_empty() {
            true => Ok(maps),
            false => refuse("linux.uidMappings", "user namespace mappings specified, but there is no user namespace"),
        };
    }
    if namespaces.new & libc::CLONE_NEWUSER == 0 {
        return Ok(maps);
    }
    for (field, map, what) in [("uid", &maps.users, "uid"), ("gid", &maps.groups, "gid")] {
        let field = format!("linux.{field}Mappings");
        if map.is_empty() {
            return refuse(field, format!("user namespaces enabled, but no {what} mappings found"));
        }
        if idmap::outside(map, 0).is_none() {
            return refuse(field, format!("{what} 0, that the container is set up by, is not mapped"));
        }
    }
    Ok(maps)
}

/// A process of a new user namespace is one of its users.
pub(super) fn check_process(namespaces: &Namespaces, process: &Process) -> Result<(), SpecError> {
    if namespaces.new & libc::CLONE_NEWUSER == 0 {
        return Ok(());
    }
    let ids = &namespaces.ids;
    let groups = process.additional_gids.iter().enumerate();
    let groups = groups.map(|(i, gid)| (format!("process.user.additionalGids[{i}]"), &ids.groups, *gid));
    let own = [("process.user.uid", &ids.users, process.uid), ("process.user.gid", &ids.groups, process.gid)];
    for (field, map, number) in own.map(|(field, map, n)| (field.to_owned(), map, n)).into_iter().chain(groups) {
        if idmap::outside(map, number).is_none() {
            return refuse(field, format!("{number} is not mapped in the container's user namespace"));
        }
    }
    Ok(())
}

fn clocks(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<(&'static str, i64, u32)>, SpecError> {
    let mut found = Vec::new();
    for (name, offset) in linux.time_offsets().iter().flatten() {
        let field = format!("linux.timeOffsets.{name}");
        let name = match name.as_str() {
            "monotonic" => "monotonic",
            "boottime" => "boottime",
            _ => return refuse(field, "is no clock of a time namespace: monotonic and boottime are"),
        };
        let (seconds, nanoseconds) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanoseconds >= 1_000_000_000 {
            return refuse(field, format!("got {nanoseconds} nanosecs, limit 999999999"));
        }
        found.push((name, seconds, nanoseconds));
    }
    found.sort_unstable();
    if !found.is_empty() && namespaces.new & libc::CLONE_NEWTIME == 0 {
        return match namespaces.has(libc::CLONE_NEWTIME) {
            false => refuse("linux.timeOffsets", "time offsets specified, but there is no time namespace"),
            true => refuse("linux.timeOffsets", "the clocks of a time namespace that is joined cannot be set"),
        };
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(linux: Value) -> Result<Namespaces, SpecError> {
        check(&serde_json::from_value(linux).unwrap())
    }

    fn with_user(change: impl FnOnce(&mut Value)) -> Result<Namespaces, SpecError> {
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
        let mut linux = json!({
            "namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": map, "gidMappings": map});
        change(&mut linux);
        of(linux)
    }

    #[test]
    fn maps_are_of_a_user_namespace_and_hold_its_root() {
        let found = with_user(|_| ()).unwrap();
        assert_eq!(found.ids, IdMaps::from_zero(100_000, 1000));
        let field = |change: fn(&mut Value)| with_user(change).unwrap_err().field;
        assert_eq!(field(|l| l["uidMappings"] = json!([])), "linux.uidMappings");
        assert_eq!(field(|l| l["gidMappings"] = json!(null)), "linux.gidMappings");
        assert_eq!(field(|l| l["gidMappings"][0]["containerID"] = json!(1)), "linux.gidMappings");
        assert_eq!(field(|l| l["namespaces"] = json!([{"type": "mount"}])), "linux.uidMappings");
        assert_eq!(field(|l| l["uidMappings"][0]["size"] = json!(0)), "linux.uidMappings[0]");
    }

    #[test]
    fn clocks_are_set_of_a_new_time_namespace_only() {
        let with = |namespaces: Value, offsets: Value| of(json!({"namespaces": namespaces, "timeOffsets": offsets}));
        let new = json!([{"type": "mount"}, {"type": "time"}]);
        let found = with(new.clone(), json!({"monotonic": {"secs": -5}, "boottime": {"secs": 3, "nanosecs": 7}}));
        assert_eq!(found.unwrap().clocks, [("boottime", 3, 7), ("monotonic", -5, 0)]);
        let field = |namespaces: &Value, offsets: Value| with(namespaces.clone(), offsets).unwrap_err().field;
        assert_eq!(field(&new, json!({"realtime": {}})), "linux.timeOffsets.realtime");
        assert_eq!(field(&new, json!({"boottime": {"nanosecs": 1_000_000_000}})), "linux.timeOffsets.boottime");
        assert_eq!(field(&json!([{"type": "mount"}]), json!({"boottime": {}})), "linux.timeOffsets");
        let joined = json!([{"type": "mount"}, {"type": "time", "path": "/proc/1/ns/time"}]);
        assert_eq!(field(&joined, json!({"boottime": {}})), "linux.timeOffsets");
    }

    #[test]
    fn a_mount_namespace_is_new_or_joined_and_never_the_hosts() {
        assert_eq!(of(json!({"namespaces": [{"type": "pid"}]})).unwrap_err().field, "linux.namespaces");
        let joined = of(json!({"namespaces": [{"type": "mount", "path": "/run/ns"}, {"type": "pid", "path": ""}]}));
        let joined = joined.unwrap();
        assert_eq!((joined.new, joined.join), (libc::CLONE_NEWPID, vec![(libc::CLONE_NEWNS, "/run/ns".into())]));
    }
}
