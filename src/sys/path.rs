//! openat2(2): paths that cannot leave their root.
//!
//! Every path inside a container's root file system is looked up by these: symbolic links, `..` and absolute paths in
//! foreign files all mean what they would mean inside, even while the container's processes rename things.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

/// A path as the kernel takes it.
///
/// # Errors
/// `EINVAL` when it holds a NUL.
pub fn c_path(path: impl AsRef<OsStr>) -> io::Result<CString> {
    CString::new(path.as_ref().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Opens `path` as if `root` were `/`. Links of /proc that jump elsewhere are refused with `ELOOP`.
///
/// `flags` are `O_*`; close-on-exec is added. `mode` counts with `O_CREAT`.
pub fn open_in(root: impl AsFd, path: &Path, flags: i32, mode: u32) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    loop {
        match openat2(root.as_fd().as_raw_fd(), &path, flags, mode, resolve) {
            // A rename or mount somewhere raced with the walk: the kernel asks us to walk again.
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) => {}
            other => return other,
        }
    }
}

fn openat2(dir: i32, path: &CStr, flags: i32, mode: u32, resolve: u64) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct How {
        flags: u64,
        mode: u64,
        resolve: u64,
    }
    let how = How { flags: (flags | libc::O_CLOEXEC) as u32 as u64, mode: mode.into(), resolve };
    // SAFETY: `path` is NUL-terminated and `how` has the layout of struct open_how version 0 with its size given; both
    // outlive the call and are only read.
    let fd = unsafe { libc::syscall(libc::SYS_openat2, dir, path.as_ptr(), &raw const how, size_of::<How>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that openat2 just returned has no other owner.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Makes the directory `path` and those above it, as if `root` were `/`, and gives a handle (`O_PATH`) to it.
///
/// Links to directories on the way are followed inside the root; a dangling link is an error.
pub fn make_dirs_in(root: impl AsFd, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    let handle = libc::O_PATH | libc::O_DIRECTORY;
    match open_in(root, path, handle, 0) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
        other => return other,
    }
    // Walk by names: each step is looked up from the root again, so that a link on the way counts from there.
    let mut walked = std::path::PathBuf::from("/");
    let mut dir = open_in(root, &walked, handle, 0)?;
    for part in path.components() {
        let Component::Normal(name) = part else { continue };
        walked.push(name);
        dir = match open_in(root, &walked, handle, 0) {
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {
                match nix::sys::stat::mkdirat(&dir, name, nix::sys::stat::Mode::from_bits_truncate(mode)) {
                    Ok(()) | Err(nix::Error::EEXIST) => open_in(root, &walked, handle, 0)?,
                    Err(e) => return Err(e.into()),
                }
            }
            other => other?,
        };
    }
    Ok(dir)
}

/// Gives a handle (`O_PATH`) to the file `path`, made empty if nothing is there, as if `root` were `/`.
pub fn make_file_in(root: impl AsFd, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let root = root.as_fd();
    match open_in(root, path, libc::O_PATH, 0) {
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => {}
        other => return other,
    }
    if let Some(parent) = path.parent() {
        make_dirs_in(root, parent, 0o755)?;
    }
    open_in(root, path, libc::O_RDONLY | libc::O_CREAT | libc::O_NOCTTY, mode)?;
    open_in(root, path, libc::O_PATH, 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn root() -> (tempfile::TempDir, std::fs::File) {
        let dir = tempfile::tempdir().unwrap();
        let handle = std::fs::File::open(dir.path()).unwrap();
        (dir, handle)
    }

    #[test]
    fn an_absolute_link_means_a_place_inside_the_root() {
        let (dir, handle) = root();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        symlink("/etc", dir.path().join("link")).unwrap();
        make_file_in(&handle, Path::new("/link/made"), 0o644).unwrap();
        assert!(dir.path().join("etc/made").exists());
        assert!(!Path::new("/etc/made").exists());
    }

    #[test]
    fn dots_do_not_climb_out() {
        let (dir, handle) = root();
        make_dirs_in(&handle, Path::new("/../../a/b"), 0o755).unwrap();
        assert!(dir.path().join("a/b").is_dir());
    }

    #[test]
    fn a_dangling_link_on_the_way_is_an_error() {
        let (dir, handle) = root();
        symlink("/nowhere", dir.path().join("link")).unwrap();
        assert!(make_dirs_in(&handle, Path::new("/link/below"), 0o755).is_err());
    }
}
