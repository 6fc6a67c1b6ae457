//! Removes directories of foreign content: by descriptor, never through a link, however deep they are.

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::path::Path;

/// Removes `name` of `dir` and everything in it; that it is not there is no error.
///
/// Depth is limited only by memory: a path too long to be named is flattened by moving its deep ends up.
pub(super) fn remove_at(dir: BorrowedFd<'_>, name: &OsStr) -> nix::Result<()> {
    match unlinkat(dir, name, UnlinkatFlags::NoRemoveDir) {
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(Errno::ENOENT) => return Ok(()),
        done => return done,
    }
    // One directory is open at a time, its subdirectories are moved beside it under names of their own and removed later.
    let mut pending: Vec<OsString> = vec![name.to_owned()];
    let mut moved = 0u64;
    while let Some(name) = pending.pop() {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut open = match Dir::openat(dir, name.as_os_str(), flags, Mode::empty()) {
            Err(Errno::ENOENT) => continue,
            opened => opened?,
        };
        let entries: Vec<CString> = open
            .iter()
            .filter_map(|entry| entry.ok().map(|entry| entry.file_name().to_owned()))
            .filter(|entry| !matches!(entry.as_bytes(), b"." | b".."))
            .collect();
        for entry in entries {
            match unlinkat(&open, entry.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR | Errno::EPERM) => {
                    if unlinkat(&open, entry.as_c_str(), UnlinkatFlags::RemoveDir).is_ok() {
                        continue;
                    }
                    let up = loop {
                        moved += 1;
                        let up = OsString::from(format!(".rm-{}-{moved}", std::process::id()));
                        if nix::sys::stat::fstatat(dir, up.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                            == Err(Errno::ENOENT)
                        {
                            break up;
                        }
                    };
                    nix::fcntl::renameat(&open, entry.as_c_str(), dir, up.as_os_str())?;
                    pending.push(up);
                }
                Err(Errno::ENOENT) => {}
                done => done?,
            }
        }
        drop(open);
        unlinkat(dir, name.as_os_str(), UnlinkatFlags::RemoveDir)?;
    }
    Ok(())
}

/// Removes the file or directory at `path`, whose parent is trusted.
pub(super) fn remove(path: &Path) -> nix::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(Errno::EINVAL) };
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    match nix::fcntl::open(parent, flags, Mode::empty()) {
        Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
        Ok(dir) => remove_at(std::os::fd::AsFd::as_fd(&dir), name),
    }
}

/// Whether a stat result is a whiteout of overlayfs: a character device 0/0.
pub(super) fn is_whiteout(stat: &nix::sys::stat::FileStat) -> bool {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits()) == SFlag::S_IFCHR && stat.st_rdev == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_deeper_than_any_path_is_removed_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let kept = dir.path().join("kept");
        std::fs::write(&kept, "x").unwrap();
        let mut at = std::os::fd::OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        let name = "d".repeat(200);
        for _ in 0..40 {
            nix::sys::stat::mkdirat(&at, name.as_str(), Mode::S_IRWXU).unwrap();
            nix::unistd::symlinkat(&kept, &at, "link").ok();
            at = nix::fcntl::openat(&at, name.as_str(), OFlag::O_DIRECTORY, Mode::empty()).unwrap();
        }
        std::os::unix::fs::symlink(dir.path(), dir.path().join(&name).join("up")).unwrap();
        remove(&dir.path().join(&name)).unwrap();
        assert!(kept.exists() && !dir.path().join(&name).exists());
        remove(&dir.path().join(&name)).unwrap();
    }
}
