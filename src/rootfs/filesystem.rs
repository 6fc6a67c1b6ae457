//! File systems made new for a container: proc, sysfs, tmpfs, devpts, mqueue and whatever else the kernel has.

use super::made::Attached;
use super::tree::change_attributes;
use super::{FsOption, Rootfs, clone_host_path, copy_up};
use crate::errno::{OpContext, OpError};
use crate::spec::{Mount, MountKind};
use crate::sys::mount::{self, Change, FsContext, attr};
use crate::sys::path::{Kind, Place, c_path, open_in};
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The longest value that fsconfig(2) takes.
const MAX_VALUE: usize = 255;

impl Rootfs {
    pub(super) fn mount_file_system(&self, mount: &Mount) -> Result<Attached, OpError> {
        let at = &mount.destination;
        let MountKind::FileSystem { fs_type, source, options, inherit_mode } = &mount.kind else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL)).op("mount at", at);
        };
        let place = self.place(mount, Kind::Directory)?;
        let mut values = options.iter().filter_map(|(_, value)| value.as_ref()).chain([source]);
        if values.any(|value| value.count_bytes() > MAX_VALUE) {
            return self.mount_with_page(mount, place);
        }
        let context = FsContext::open(fs_type).op("open file system type", OsStr::from_bytes(fs_type.to_bytes()));
        let context = match context {
            Ok(context) => context,
            Err(e) => return host_instead(mount, fs_type, place, e),
        };
        if !source.is_empty() {
            context.set(c"source", source).map_err(|e| refused(&context, at, e, c"source"))?;
        }
        if *inherit_mode && !place.made {
            let mode = nix::sys::stat::fstat(&place.handle).op("look at", at)?.st_mode & 0o7777;
            let text = CString::new(format!("{mode:o}")).expect("digits hold no NUL");
            context.set(c"mode", &text).map_err(|e| refused(&context, at, e, c"mode"))?;
        }
        for option in options {
            // All are new instances by themselves since Linux 4.7.
            if option.0.as_c_str() != c"newinstance" {
                set(&context, option).map_err(|e| refused(&context, at, e, &option.0))?;
            }
        }
        let tree = match context.mount(mount.change.set) {
            Ok(tree) => tree,
            Err(e) => return host_instead(mount, fs_type, place, refused(&context, at, e, fs_type)),
        };
        if mount.copy_up {
            let owner = !options.iter().any(|(name, _)| matches!(name.to_bytes(), b"uid" | b"gid"));
            copy_up::copy(&place.handle, &tree, owner).op("copy up into", at)?;
        }
        for change in [Change { set: 0, clear: 0, ..mount.change }, mount.change_recursive] {
            change_attributes(&tree, change, at)?;
        }
        mount::attach(&tree, place.handle.as_fd()).op("mount at", at)?;
        Ok(Attached { tree, at: place.path })
    }

    /// By mount(2), whose options take a page: an overlay names directories with paths of any length.
    fn mount_with_page(&self, mount: &Mount, place: Place) -> Result<Attached, OpError> {
        let at = &mount.destination;
        let MountKind::FileSystem { fs_type, source, options, .. } = &mount.kind else {
            return Err(io::Error::from_raw_os_error(libc::EINVAL)).op("mount at", at);
        };
        let target = c_path(format!("/proc/self/fd/{}", place.handle.as_raw_fd())).op("name", at)?;
        let data = page(options).op("name the options of the mount at", at)?;
        let flags = nix::mount::MsFlags::from_bits_truncate(mount_flags(mount.change.set));
        nix::mount::mount(
            Some(source.as_c_str()),
            target.as_c_str(),
            Some(fs_type.as_c_str()),
            flags,
            Some(data.as_c_str()),
        )
        .op("mount at", at)?;
        // Attached already, and by no name: where a walk may not climb above a directory, `..` is what is mounted on it.
        let tree = open_in(&place.handle, Path::new(".."), libc::O_PATH, 0).op("open the mount at", at)?;
        for change in [Change { set: 0, clear: 0, ..mount.change }, mount.change_recursive] {
            change_attributes(&tree, change, at)?;
        }
        Ok(Attached { tree, at: place.path })
    }
}

/// A container in a user namespace that shares the host's network may not mount a sysfs, which shows the network's
/// devices: it gets the host's, which its mounts were locked by. The same holds for message queues and IPC.
fn host_instead(mount: &Mount, fs_type: &CStr, place: Place, refused: OpError) -> Result<Attached, OpError> {
    let host = match fs_type.to_bytes() {
        b"sysfs" => Path::new("/sys"),
        b"mqueue" => Path::new("/dev/mqueue"),
        _ => return Err(refused),
    };
    if refused.errno() != Some(libc::EPERM) {
        return Err(refused);
    }
    // The refusal of the file system is the one to tell.
    let Ok(tree) = clone_host_path(host, true) else { return Err(refused) };
    let all = Change { propagation: libc::MS_SLAVE, recursive: true, ..mount.change };
    for change in [all, mount.change_recursive] {
        change_attributes(&tree, change, &mount.destination)?;
    }
    mount::attach(&tree, place.handle.as_fd()).op("bind mount at", &mount.destination)?;
    Ok(Attached { tree, at: place.path })
}

/// Sets one option of a file system.
pub(super) fn set(context: &FsContext, (name, value): &FsOption) -> io::Result<()> {
    match value {
        Some(value) => context.set(name, value),
        None => context.flag(name),
    }
}

/// The error of a mount, with what the file system says about it.
pub(super) fn refused(context: &FsContext, at: &Path, e: io::Error, what: &CStr) -> OpError {
    let what = what.to_string_lossy();
    match context.message() {
        Some(said) => OpError::new("mount at", format!("{} ({what}: {said})", at.display()), e),
        None => OpError::new("mount at", format!("{} ({what})", at.display()), e),
    }
}

/// Options as mount(2) takes them.
fn page(options: &[FsOption]) -> io::Result<CString> {
    let mut text: Vec<u8> = Vec::new();
    for (name, value) in options {
        if !text.is_empty() {
            text.push(b',');
        }
        text.extend(name.to_bytes());
        if let Some(value) = value {
            text.push(b'=');
            text.extend(value.to_bytes());
        }
    }
    if text.len() > 4095 {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    Ok(CString::new(text)?)
}

/// `MOUNT_ATTR_*` as `MS_*`.
fn mount_flags(attributes: u64) -> u64 {
    const MS_NOSYMFOLLOW: u64 = 256;
    let pairs = [
        (attr::RDONLY, libc::MS_RDONLY),
        (attr::NOSUID, libc::MS_NOSUID),
        (attr::NODEV, libc::MS_NODEV),
        (attr::NOEXEC, libc::MS_NOEXEC),
        (attr::NOATIME, libc::MS_NOATIME),
        (attr::STRICTATIME, libc::MS_STRICTATIME),
        (attr::NODIRATIME, libc::MS_NODIRATIME),
        (attr::NOSYMFOLLOW, MS_NOSYMFOLLOW),
    ];
    pairs.iter().filter(|(attribute, _)| attributes & attribute != 0).fold(0, |flags, (_, flag)| flags | flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_page_are_as_they_were_written() {
        let options = [(c"lowerdir".to_owned(), Some(c"/a:/b".to_owned())), (c"volatile".to_owned(), None)];
        assert_eq!(page(&options).unwrap().as_c_str(), c"lowerdir=/a:/b,volatile");
    }

    #[test]
    fn attributes_are_flags_of_mount() {
        assert_eq!(mount_flags(attr::RDONLY | attr::NODIRATIME), libc::MS_RDONLY | libc::MS_NODIRATIME);
    }
}
