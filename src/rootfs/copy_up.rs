//! The contents of a directory of the image in a new file system (`tmpcopyup`).
//!
//! Everything by descriptor and without following a link: the directory may be a volume that others change meanwhile,
//! and what is copied must be of this directory and nothing else. Files, directories, links, devices and FIFOs are
//! copied, with owner, permissions, times, extended attributes, and hard links among themselves. Sockets are not: without
//! the process that listens they are nothing.

use crate::sys::xattr;
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{
    FchmodatFlags, FileStat, Mode, SFlag, UtimensatFlags, fchmodat, fstat, fstatat, mkdirat, mknodat, utimensat,
};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, LinkatFlags, Uid, fchownat, linkat, symlinkat};
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

/// Files with more than one name that have been copied, by device and inode: the copy's directory and name.
type Linked = HashMap<(u64, u64), (Rc<OwnedFd>, CString)>;

/// What was copied, and the copy: for attributes, which need both open.
type Pair = (OwnedFd, OwnedFd);

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// Copies what is in the directory `from`, and its attributes and times, to the root of the mount `to`; its owner too
/// when `owner` says so. Permissions are an option of the mount.
pub(super) fn copy(from: &OwnedFd, to: &OwnedFd, owner: bool) -> io::Result<()> {
    let from = openat(from, ".", DIRECTORY, Mode::empty())?;
    let to = Rc::new(openat(to, ".", DIRECTORY, Mode::empty())?);
    let stat = fstat(&from)?;
    contents(&from, &to, &mut Linked::new())?;
    if owner {
        fchownat(&*to, c".", Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)), AtFlags::empty())?;
    }
    attributes(&from, &to)?;
    times(&to, c".", &stat)
}

fn contents(from: &OwnedFd, to: &Rc<OwnedFd>, linked: &mut Linked) -> io::Result<()> {
    let mut dir = Dir::from_fd(openat(from, ".", DIRECTORY, Mode::empty())?)?;
    for entry in dir.iter() {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        match fstatat(from, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => one(from, to, name, &stat, linked)?,
            // Gone since it was listed.
            Err(nix::Error::ENOENT) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

fn one(from: &OwnedFd, to: &Rc<OwnedFd>, name: &CStr, stat: &FileStat, linked: &mut Linked) -> io::Result<()> {
    let kind = SFlag::from_bits_truncate(stat.st_mode & libc::S_IFMT);
    let key = (stat.st_dev, stat.st_ino);
    let several = kind != SFlag::S_IFDIR && stat.st_nlink > 1;
    if several && let Some((dir, first)) = linked.get(&key) {
        return Ok(linkat(&**dir, first.as_c_str(), &**to, name, LinkatFlags::empty())?);
    }
    let mut pair = None;
    match kind {
        SFlag::S_IFREG => pair = Some(file(from, to, name)?),
        SFlag::S_IFDIR => pair = Some(directory(from, to, name, linked)?),
        SFlag::S_IFLNK => symlinkat(readlinkat(from, name)?.as_os_str(), &**to, name)?,
        SFlag::S_IFCHR | SFlag::S_IFBLK | SFlag::S_IFIFO => mknodat(&**to, name, kind, Mode::empty(), stat.st_rdev)?,
        _ => return Ok(()),
    }
    // In this order: a new owner takes away set-user-id bits and capabilities, and all of it changes times.
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fchownat(&**to, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if kind != SFlag::S_IFLNK {
        // The copy is nobody else's yet, and no link: it may be changed by its name.
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o7777);
        fchmodat(&**to, name, mode, FchmodatFlags::FollowSymlink)?;
    }
    if let Some((source, copy)) = pair {
        attributes(&source, &copy)?;
    }
    times(to, name, stat)?;
    if several {
        linked.insert(key, (to.clone(), name.to_owned()));
    }
    Ok(())
}

fn file(from: &OwnedFd, to: &OwnedFd, name: &CStr) -> io::Result<Pair> {
    // Not waited for, should it have become a FIFO since it was looked at.
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mut source = File::from(openat(from, name, flags, Mode::empty())?);
    if !source.metadata()?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let new = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    let mut copy = File::from(openat(to, name, new, Mode::S_IRUSR | Mode::S_IWUSR)?);
    io::copy(&mut source, &mut copy)?;
    Ok((source.into(), copy.into()))
}

fn directory(from: &OwnedFd, to: &OwnedFd, name: &CStr, linked: &mut Linked) -> io::Result<Pair> {
    let source = openat(from, name, DIRECTORY, Mode::empty())?;
    mkdirat(to, name, Mode::S_IRWXU)?;
    let copy = Rc::new(openat(to, name, DIRECTORY, Mode::empty())?);
    contents(&source, &copy, linked)?;
    // Others hold it only where files with several names are in it.
    let copy = Rc::try_unwrap(copy).or_else(|shared| shared.try_clone())?;
    Ok((source, copy))
}

fn attributes(from: &OwnedFd, to: &OwnedFd) -> io::Result<()> {
    for name in xattr::names(from.as_fd())? {
        let Some(value) = xattr::read(from.as_fd(), &name)? else { continue };
        match xattr::set(to.as_fd(), &name, &value) {
            // A tmpfs keeps those of users since Linux 6.6 only, and labels where a security module keeps them.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            other => other?,
        }
    }
    Ok(())
}

fn times(dir: &OwnedFd, name: &CStr, stat: &FileStat) -> io::Result<()> {
    let accessed = TimeSpec::new(stat.st_atime, stat.st_atime_nsec);
    let modified = TimeSpec::new(stat.st_mtime, stat.st_mtime_nsec);
    Ok(utimensat(dir, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
    use std::path::Path;

    fn open(path: &Path) -> OwnedFd {
        File::open(path).unwrap().into()
    }

    #[test]
    fn a_tree_is_copied_with_its_links_modes_and_times() {
        let (from, to) = (tempfile::tempdir_in("/var/tmp").unwrap(), tempfile::tempdir_in("/var/tmp").unwrap());
        let at = |name: &str| from.path().join(name);
        std::fs::create_dir_all(at("d/e")).unwrap();
        std::fs::write(at("d/file"), "content").unwrap();
        std::fs::set_permissions(at("d/file"), std::fs::Permissions::from_mode(0o4751)).unwrap();
        std::fs::hard_link(at("d/file"), at("second")).unwrap();
        symlink("/etc/passwd", at("link")).unwrap();
        xattr::set(open(&at("d/file")).as_fd(), c"user.berth.test", b"value").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000);
        File::open(at("d/e")).unwrap().set_modified(long_ago).unwrap();
        copy(&open(from.path()), &open(to.path()), true).unwrap();
        let copied = |name: &str| std::fs::symlink_metadata(to.path().join(name)).unwrap();
        assert_eq!(std::fs::read_to_string(to.path().join("second")).unwrap(), "content");
        assert_eq!(copied("second").ino(), copied("d/file").ino());
        assert_eq!(copied("d/file").mode() & 0o7777, 0o4751);
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc/passwd"));
        assert_eq!(copied("d/e").modified().unwrap(), long_ago);
        let value = xattr::read(open(&to.path().join("d/file")).as_fd(), c"user.berth.test").unwrap();
        assert_eq!(value.as_deref(), Some(&b"value"[..]));
        assert!(!to.path().join("socket").exists());
    }
}
