//! Mounts of config.json: options as flags, destinations as clean paths.
//!
//! Options mean what they mean to mount(8). A bind mount keeps what its source is restricted to (`nodev`, `noexec`, `ro`)
//! unless an option takes it back by name, and takes no options of a file system. What only old kernels or mount(8) itself act on is taken and does nothing.

use super::{IdMaps, Namespaces, SpecError, c_string, idmap, refuse};
use crate::sys::mount::{Change, attr};
use crate::sys::path::clean;
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside: absolute, without `.` and `..`.
    pub destination: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Attributes of this mount.
    pub change: Change,
    /// Attributes of this mount and all under it (`rro` and its kin).
    pub change_recursive: Change,
    /// It becomes read-only when everything is in place: other mounts and devices may have to be made on it.
    pub readonly_last: bool,
    /// The contents of the image at the destination are copied into the new (tmpfs) mount.
    pub copy_up: bool,
    /// Owners of its files are mapped.
    pub owners: Option<Owners>,
}

/// How owners of the files of a bind mount are mapped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owners {
    /// From the numbers that the file system has to those that are seen outside. Empty: as the user namespace that the
    /// container joins.
    pub ids: IdMaps,
    /// Of all mounts below too.
    pub recursive: bool,
}

impl Mount {
    /// Gives SELinux's context to a file system that is made new. The kernel has its own for those that show itself,
    /// and takes none for message queues.
    pub(super) fn label(&mut self, label: Option<&CString>) {
        let (Some(label), MountKind::FileSystem { fs_type, options, .. }) = (label, &mut self.kind) else { return };
        let asked = options.iter().any(|(name, _)| name.to_bytes().ends_with(b"context"));
        if !asked && !matches!(fs_type.to_bytes(), b"proc" | b"sysfs" | b"mqueue") {
            options.push((c"context".to_owned(), Some(label.clone())));
        }
    }
}

/// What is mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A part of the host's tree.
    Bind(Bind),
    /// The container's view of the cgroup hierarchies.
    Cgroup,
    /// A file system made new.
    FileSystem {
        /// Its type.
        fs_type: CString,
        /// What stands as its source in the mount table.
        source: CString,
        /// Its own options: name, and value where it has one.
        options: Vec<(CString, Option<CString>)>,
        /// Its root has the permissions of the directory that it covers (a tmpfs that is given none).
        inherit_mode: bool,
    },
    /// What an earlier mount has put at the destination is changed.
    Remount {
        /// Options of the file system to change with it; `None` changes the mount alone (`bind,remount`).
        options: Option<Vec<(CString, Option<CString>)>>,
    },
}

/// A part of the host's tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// The host's path; relative to the bundle unless absolute.
    pub source: PathBuf,
    /// With what is mounted below it.
    pub recursive: bool,
}

/// Options by name that are no attribute of a mount and no propagation, with what [`Options::read`] makes of them; all
/// others belong to the file system.
const PLAIN: [&str; 9] =
    ["bind", "defaults", "idmap", "rbind", "remount", "ridmap", "rprivate", "private", "tmpcopyup"];

/// Attributes of mounts by their names; each also with an `r` before it, for all mounts below.
const ATTRIBUTES: [&str; 18] = [
    "atime",
    "dev",
    "diratime",
    "exec",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nosymfollow",
    "relatime",
    "ro",
    "rw",
    "strictatime",
    "suid",
    "symfollow",
];

/// Options of every file system, which the kernel reads itself.
const ANY_FILE_SYSTEM: [&str; 7] = ["async", "dirsync", "lazytime", "mand", "nolazytime", "nomand", "sync"];

/// What podman until 5.6 has done already when it passes it on, with the bind mounts of its volumes.
const OF_VOLUMES: [&str; 3] = ["copy", "nocopy", "volume-opt"];

/// Flags of mount(2) that have had no effect since before Linux 6.1: file systems decide by themselves.
const WITHOUT_EFFECT: [&str; 6] = ["acl", "iversion", "loud", "noacl", "noiversion", "silent"];

/// File systems of the kernel's own, which have no device whose writing `ro` must forbid.
const VIRTUAL: [&str; 6] = ["devpts", "mqueue", "proc", "ramfs", "sysfs", "tmpfs"];

/// Files of /proc that may be covered, by those who show a container its limits as the machine's (lxcfs).
const COVERED_IN_PROC: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// The names of all options that are taken, without those of single file systems.
pub fn options() -> Vec<String> {
    let recursive = ATTRIBUTES.iter().map(|name| format!("r{name}"));
    let propagation = ["shared", "slave", "unbindable", "rshared", "rslave", "runbindable"];
    let plain = PLAIN.iter().chain(&ATTRIBUTES).chain(&ANY_FILE_SYSTEM).chain(&WITHOUT_EFFECT).chain(&propagation);
    let all: std::collections::BTreeSet<String> = plain.map(ToString::to_string).chain(recursive).collect();
    all.into_iter().collect()
}

/// `MS_*` of a propagation's name, with `MS_REC` for the recursive ones.
pub(super) fn propagation(name: &str) -> Option<u64> {
    let (base, recursive) = match name.strip_prefix('r') {
        Some(base) => (base, libc::MS_REC),
        None => (name, 0),
    };
    let flag = match base {
        "private" => libc::MS_PRIVATE,
        "slave" => libc::MS_SLAVE,
        "shared" => libc::MS_SHARED,
        "unbindable" => libc::MS_UNBINDABLE,
        _ => return None,
    };
    Some(flag | recursive)
}

/// The attribute that an option's name sets (`true`) or clears.
fn attribute(name: &str) -> Option<(u64, bool)> {
    Some(match name {
        "ro" => (attr::RDONLY, true),
        "rw" => (attr::RDONLY, false),
        "nosuid" => (attr::NOSUID, true),
        "suid" => (attr::NOSUID, false),
        "nodev" => (attr::NODEV, true),
        "dev" => (attr::NODEV, false),
        "noexec" => (attr::NOEXEC, true),
        "exec" => (attr::NOEXEC, false),
        "noatime" => (attr::NOATIME, true),
        "strictatime" => (attr::STRICTATIME, true),
        // All of them mean the kernel's default, relatime: to go without it takes asking for another one.
        "atime" | "relatime" | "norelatime" | "nostrictatime" => (attr::ATIME, false),
        "nodiratime" => (attr::NODIRATIME, true),
        "diratime" => (attr::NODIRATIME, false),
        "nosymfollow" => (attr::NOSYMFOLLOW, true),
        "symfollow" => (attr::NOSYMFOLLOW, false),
        _ => return None,
    })
}

fn apply(change: &mut Change, (bits, set): (u64, bool)) {
    // The last word on an attribute counts, and the ways to keep access times exclude each other.
    let group = if bits & attr::ATIME != 0 { attr::ATIME } else { bits };
    change.set &= !group;
    change.clear &= !group;
    if set {
        change.set |= bits;
    } else {
        change.clear |= bits;
    }
}

/// What a mount's options say.
#[derive(Debug)]
struct Options {
    change: Change,
    change_recursive: Change,
    /// Bound from the host; with what is mounted below it.
    bind: Option<bool>,
    remount: bool,
    copy_up: bool,
    /// Owners are mapped; below it too.
    map_owners: Option<bool>,
    file_system: Vec<(CString, Option<CString>)>,
}

impl Options {
    fn read(field: &str, fs_type: &str, names: &[String]) -> Result<Self, SpecError> {
        let mut found = Self {
            change: Change::default(),
            change_recursive: Change { recursive: true, ..Change::default() },
            bind: (fs_type == "bind").then_some(false),
            remount: false,
            copy_up: false,
            map_owners: None,
            file_system: Vec::new(),
        };
        names.iter().try_for_each(|name| found.option(field, name))?;
        Ok(found)
    }

    fn option(&mut self, field: &str, name: &str) -> Result<(), SpecError> {
        if let Some(flags) = propagation(name) {
            let change = if flags & libc::MS_REC != 0 { &mut self.change_recursive } else { &mut self.change };
            change.propagation = flags & !libc::MS_REC;
            return Ok(());
        }
        if let Some(found) = attribute(name) {
            apply(&mut self.change, found);
            return Ok(());
        }
        if let Some(found) = name.strip_prefix('r').and_then(attribute) {
            apply(&mut self.change_recursive, found);
            return Ok(());
        }
        match name {
            "" | "defaults" => {}
            name if WITHOUT_EFFECT.contains(&name) => {}
            "bind" => self.bind = self.bind.or(Some(false)),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "tmpcopyup" => self.copy_up = true,
            "idmap" => self.map_owners = self.map_owners.or(Some(false)),
            "ridmap" => self.map_owners = Some(true),
            _ => self.file_system.push(file_system_option(field, name)?),
        }
        Ok(())
    }
}

/// A bind mount that is not of the document, with options as the document would have them.
pub fn bind_mount(source: &Path, destination: &Path, options: &[&str]) -> Result<Mount, SpecError> {
    let mut mount = oci_spec::runtime::Mount::default();
    mount.set_typ(Some("bind".into())).set_source(Some(source.into())).set_destination(destination.into());
    mount.set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    check(0, &mount)
}

fn file_system_option(field: &str, option: &str) -> Result<(CString, Option<CString>), SpecError> {
    match option.split_once('=') {
        Some((key, value)) => Ok((c_string(field, key)?, Some(c_string(field, value)?))),
        None => Ok((c_string(field, option)?, None)),
    }
}

pub(super) fn check(index: usize, mount: &oci_spec::runtime::Mount) -> Result<Mount, SpecError> {
    let field = format!("mounts[{index}] ({})", mount.destination().display());
    let fs_type = mount.typ().as_deref().unwrap_or("");
    let options = Options::read(&field, fs_type, mount.options().as_deref().unwrap_or_default())?;
    if options.copy_up && (fs_type != "tmpfs" || options.bind.is_some() || options.remount) {
        return refuse(field, "option `tmpcopyup` is for tmpfs only");
    }
    // Documents written for runc 1.0 have relative destinations; they count from the root.
    let destination = clean(mount.destination());
    c_string(&field, destination.as_os_str().as_encoded_bytes())?;
    if destination == Path::new("/") && !options.remount {
        return refuse(field, "the root file system is given by `root`, not by a mount");
    }
    let owners = owners(&field, mount, &options)?;
    let Options { mut change, change_recursive, copy_up, .. } = options;
    let kind = kind(&field, fs_type, mount.source().clone().unwrap_or_default(), options)?;
    if let Some(problem) = refused_in_proc(&destination, &kind) {
        return refuse(field, format!("{:?} {problem}", destination.display()));
    }
    let made_on = destination == Path::new("/dev") || fs_type == "tmpfs";
    let readonly_last = made_on && change.set & attr::RDONLY != 0 && !matches!(kind, MountKind::Remount { .. });
    if readonly_last {
        change.set &= !attr::RDONLY;
    }
    Ok(Mount { destination, kind, change, change_recursive, readonly_last, copy_up, owners })
}

/// Maps without an option that says how deep they go are for the one mount.
fn owners(field: &str, mount: &oci_spec::runtime::Mount, options: &Options) -> Result<Option<Owners>, SpecError> {
    let ids = idmap::check(&format!("{field}."), mount.uid_mappings(), mount.gid_mappings())?;
    let recursive = match (options.map_owners, ids.is_empty()) {
        (None, true) => return Ok(None),
        (asked, _) => asked.unwrap_or(false),
    };
    if options.bind.is_none() || options.remount {
        return refuse(field, "id-mapped mounts are only supported for bind-mounts");
    }
    Ok(Some(Owners { ids, recursive }))
}

/// Gives mounts whose owners are mapped without saying how the maps of the container's user namespace.
pub(super) fn fill_owners(mounts: &mut [Mount], namespaces: &Namespaces) -> Result<(), SpecError> {
    for (i, mount) in mounts.iter_mut().enumerate() {
        let Some(owners) = mount.owners.as_mut().filter(|owners| owners.ids.is_empty()) else { continue };
        if !namespaces.has(libc::CLONE_NEWUSER) {
            let field = format!("mounts[{i}] ({})", mount.destination.display());
            return refuse(field, "option `idmap` needs uidMappings and gidMappings, or a user namespace");
        }
        owners.ids = namespaces.ids.clone();
    }
    Ok(())
}

/// The file system of a bind mount is there already, as it is, and the kernel would pass over what it is asked for: but
/// for options of every file system, which callers set as flags and which have always counted for nothing here, and for
/// those of volumes.
fn check_no_file_system(field: &str, options: &[(CString, Option<CString>)]) -> Result<(), SpecError> {
    let taken = |name: &str, value: &Option<CString>| {
        OF_VOLUMES.contains(&name) || value.is_none() && ANY_FILE_SYSTEM.contains(&name)
    };
    let mut names = options.iter().map(|(name, value)| (name.to_string_lossy(), value));
    match names.find(|(name, value)| !taken(name, value)) {
        Some((name, _)) => {
            refuse(field, format!("option `{name}`: bind mounts cannot have any filesystem-specific options applied"))
        }
        None => Ok(()),
    }
}

fn kind(field: &str, fs_type: &str, source: PathBuf, options: Options) -> Result<MountKind, SpecError> {
    let Options { change, bind, remount, mut file_system, .. } = options;
    if bind.is_some() {
        check_no_file_system(field, &file_system)?;
    }
    Ok(match (bind, fs_type) {
        _ if remount => MountKind::Remount { options: bind.is_none().then_some(file_system) },
        (Some(_), _) if source.as_os_str().is_empty() => return refuse(field, "a bind mount needs a source"),
        (Some(recursive), _) => {
            c_string(field, source.as_os_str().as_encoded_bytes())?;
            MountKind::Bind(Bind { source, recursive })
        }
        (None, "cgroup" | "cgroup2") => MountKind::Cgroup,
        (None, "") => return refuse(field, "has no type"),
        (None, _) => {
            if change.set & attr::RDONLY != 0 && !VIRTUAL.contains(&fs_type) {
                // Else its device would have to be one that can be written.
                file_system.push((c"ro".to_owned(), None));
            }
            let inherit_mode = fs_type == "tmpfs" && !file_system.iter().any(|(name, _)| name.as_c_str() == c"mode");
            MountKind::FileSystem {
                fs_type: c_string(field, fs_type)?,
                source: c_string(field, source.into_os_string().into_encoded_bytes())?,
                options: file_system,
                inherit_mode,
            }
        }
    })
}

/// Why nothing of this kind may be mounted at `destination`, which is free of links.
///
/// The runtime writes to files of /proc while it makes a container, and so do programs in it that confine themselves: what
/// stands there must be the kernel's (CVE-2019-16884). A bind of a whole proc file system is looked at when it is mounted.
pub fn refused_in_proc(destination: &Path, kind: &MountKind) -> Option<&'static str> {
    let below = destination.strip_prefix("/proc").ok()?;
    match kind {
        MountKind::Remount { .. } => None,
        MountKind::Bind(_) if below.as_os_str().is_empty() => None,
        MountKind::FileSystem { fs_type, .. } if below.as_os_str().is_empty() && fs_type.as_c_str() == c"proc" => None,
        _ if below.as_os_str().is_empty() => Some("cannot be mounted because it is not of type proc"),
        _ if COVERED_IN_PROC.iter().any(|allowed| destination == Path::new(allowed)) => None,
        _ => Some("cannot be mounted because it is inside /proc"),
    }
}

/// A remount without `bind` changes a file system for everybody who has it mounted, so it must be one of this container.
pub(super) fn check_remounts(mounts: &[Mount]) -> Result<(), SpecError> {
    for (i, mount) in mounts.iter().enumerate() {
        let MountKind::Remount { options } = &mount.kind else { continue };
        let field = || format!("mounts[{i}] ({})", mount.destination.display());
        let earlier = mounts[..i]
            .iter()
            .rev()
            .find(|other| other.destination == mount.destination && !matches!(other.kind, MountKind::Remount { .. }));
        let root = mount.destination == Path::new("/");
        match earlier.map(|other| &other.kind) {
            None if !root => return refuse(field(), "option `remount` changes an earlier mount, and there is none"),
            Some(MountKind::FileSystem { .. }) => {}
            _ if options.is_none() => {}
            _ => return refuse(field(), "option `remount` without `bind` would change a file system of the host"),
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "mounts_tests.rs"]
mod tests;
