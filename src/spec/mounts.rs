//! Mounts of config.json: options as flags.

use super::{SpecError, c_string, refuse};
use crate::sys::mount::{Change, attr};
use std::ffi::CString;
use std::path::PathBuf;

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside.
    pub destination: PathBuf,
    /// What.
    pub kind: MountKind,
    /// Attributes of this mount.
    pub change: Change,
    /// Attributes of this mount and all under it (`rro` and its kin).
    pub change_recursive: Change,
    /// The contents of the image at the destination are copied into the new (tmpfs) mount.
    pub copy_up: bool,
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
        // All three mean the kernel's default, relatime.
        "atime" | "relatime" | "nostrictatime" => (attr::ATIME, false),
        "norelatime" => (attr::STRICTATIME, true),
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

pub(super) fn check(index: usize, mount: &oci_spec::runtime::Mount) -> Result<Mount, SpecError> {
    let field = format!("mounts[{index}] ({})", mount.destination().display());
    let mapped =
        |m: &Option<Vec<_>>| m.as_ref().is_some_and(|m: &Vec<oci_spec::runtime::LinuxIdMapping>| !m.is_empty());
    if mapped(mount.uid_mappings()) || mapped(mount.gid_mappings()) {
        return refuse(field, "mounts with mapped owners are not supported by this runtime");
    }
    let fs_type = mount.typ().as_deref().unwrap_or("");
    let mut change = Change::default();
    let mut change_recursive = Change { recursive: true, ..Change::default() };
    let mut bind = (fs_type == "bind").then_some(false);
    let mut copy_up = false;
    let mut options = Vec::new();
    for option in mount.options().iter().flatten() {
        let name = option.as_str();
        if let Some(flags) = propagation(name) {
            let change = if flags & libc::MS_REC != 0 { &mut change_recursive } else { &mut change };
            change.propagation = flags & !libc::MS_REC;
        } else if let Some(found) = attribute(name) {
            apply(&mut change, found);
        } else if let Some(found) = name.strip_prefix('r').and_then(attribute) {
            apply(&mut change_recursive, found);
        } else {
            match name {
                "" | "defaults" => {}
                "bind" => bind = bind.or(Some(false)),
                "rbind" => bind = Some(true),
                "tmpcopyup" => copy_up = true,
                "idmap" | "ridmap" => {
                    return refuse(field, "mounts with mapped owners are not supported by this runtime");
                }
                "remount" => return refuse(field, "option `remount` means nothing for a mount that is made new"),
                _ => options.push(file_system_option(&field, name)?),
            }
        }
    }
    let source = mount.source().clone().unwrap_or_default();
    let kind = match (bind, fs_type) {
        (Some(_), _) if source.as_os_str().is_empty() => return refuse(field, "a bind mount needs a source"),
        (Some(recursive), _) => {
            c_string(&field, source.as_os_str().as_encoded_bytes())?;
            MountKind::Bind(Bind { source, recursive })
        }
        (None, "cgroup" | "cgroup2") => MountKind::Cgroup,
        (None, "") => return refuse(field, "has no type"),
        (None, _) => MountKind::FileSystem {
            fs_type: c_string(&field, fs_type)?,
            source: c_string(&field, source.into_os_string().into_encoded_bytes())?,
            options,
        },
    };
    if copy_up && fs_type != "tmpfs" {
        return refuse(field, "option `tmpcopyup` is for tmpfs only");
    }
    // Documents written for runc 1.0 have relative destinations; they count from the root.
    let destination = std::path::Path::new("/").join(mount.destination());
    c_string(&field, destination.as_os_str().as_encoded_bytes())?;
    Ok(Mount { destination, kind, change, change_recursive, copy_up })
}

/// A bind mount that is not of the document, with options as the document would have them.
pub fn bind_mount(
    source: &std::path::Path,
    destination: &std::path::Path,
    options: &[&str],
) -> Result<Mount, SpecError> {
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
