//! openat2(2): paths that cannot leave their root.
//!
//! Every path inside a container's root file system is looked up by these: symbolic links, `..` and absolute paths in
//! foreign files all mean what they would mean inside, even while the container's processes rename things.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

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
    open(root.as_fd(), path, flags, mode, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS)
}

/// Means (`O_PATH`) what `path`, in which no name may be a link (`ELOOP`), is as if `root` were `/`.
pub fn open_real(root: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    open(root.as_fd(), path, libc::O_PATH, 0, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS)
}

/// Opens `path` below the mount that `root` is on: no link is followed and no other mount is entered (`ELOOP`, `EXDEV`).
pub fn open_plain(root: impl AsFd, path: &Path, flags: i32) -> io::Result<OwnedFd> {
    open(root.as_fd(), path, flags, 0, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS | libc::RESOLVE_NO_XDEV)
}

fn open(root: BorrowedFd<'_>, path: &Path, flags: i32, mode: u32, resolve: u64) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    loop {
        match openat2(root.as_raw_fd(), &path, flags, mode, resolve) {
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

/// What a place is made as where nothing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// An empty file.
    File,
}

/// A file or directory below a root, found or made.
#[derive(Debug)]
pub struct Place {
    /// Means it (`O_PATH`), whatever is renamed afterwards.
    pub handle: OwnedFd,
    /// The way by which `handle` was opened, from the root, with every link resolved.
    pub path: PathBuf,
    /// Nothing was there before.
    pub made: bool,
    /// A symbolic link was on the way.
    pub linked: bool,
}

/// The most symbolic links on one way; the kernel's own limit.
const MAX_LINKS: usize = 40;

/// Finds `path` as if `root` were `/`, and makes what is missing of it with the permissions `mode` (directories on the
/// way to a file with 0755). Its own `..` count as in the text, those of links as in the tree.
///
/// Links are followed inside the root, also those whose target is not there yet: images have `/var/run` as a link to a
/// `/run` that they do not hold. No name is looked up twice: a link that is swapped in meanwhile is seen as what it is or
/// not at all, and [`Place::path`] is the way that was really taken.
pub fn make_place(root: impl AsFd, path: &Path, kind: Kind, mode: u32) -> io::Result<Place> {
    let (root, path) = (root.as_fd(), clean(path));
    let flags = if kind == Kind::Directory { libc::O_PATH | libc::O_DIRECTORY } else { libc::O_PATH };
    match open(root, &path, flags, 0, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS) {
        Ok(handle) => Ok(Place { handle, path, made: false, linked: false }),
        Err(e) if e.raw_os_error() == Some(libc::ENOENT) => match make_last(root, &path, kind, mode)? {
            Some(handle) => Ok(Place { handle, path, made: true, linked: false }),
            None => walk(root, &path, kind, mode),
        },
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => walk(root, &path, kind, mode),
        Err(e) => Err(e),
    }
}

/// The walk of most: only the last name is missing, and no link is on the way. `None` when it is not so.
fn make_last(root: BorrowedFd<'_>, path: &Path, kind: Kind, mode: u32) -> io::Result<Option<OwnedFd>> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let flags = libc::O_PATH | libc::O_DIRECTORY;
    let Ok(dir) = open(root, parent, flags, 0, libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS) else {
        return Ok(None);
    };
    // What is there after all, such as a dangling link, is for the walk to look at.
    if !make(&dir, name, kind, mode)? {
        return Ok(None);
    }
    let found = open(dir.as_fd(), Path::new(name), libc::O_PATH, 0, libc::RESOLVE_BENEATH | libc::RESOLVE_NO_SYMLINKS);
    Ok(found.ok())
}

fn walk(root: BorrowedFd<'_>, path: &Path, kind: Kind, mode: u32) -> io::Result<Place> {
    let top = || open_in(root, Path::new("/"), libc::O_PATH | libc::O_DIRECTORY, 0);
    let mut place = Place { handle: top()?, path: "/".into(), made: false, linked: false };
    let mut ahead: Vec<OsString> = Vec::new();
    put_ahead(&mut ahead, path);
    let mut links = 0;
    let mut is_directory = true;
    while let Some(name) = ahead.pop() {
        if name == ".." {
            // Not by the directory's own `..`, which leads wherever it may have been moved to.
            place.path.pop();
            // All of it was no link when it was walked: one that is now was swapped in, and is not followed.
            let plain = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_SYMLINKS;
            place.handle = open(root, &place.path, libc::O_PATH | libc::O_DIRECTORY, 0, plain)?;
            continue;
        }
        let make = if ahead.is_empty() { (kind, mode) } else { (Kind::Directory, dir_mode(kind, mode)) };
        let (found, made) = step(&place.handle, &name, make)?;
        let format = nix::sys::stat::fstat(&found)?.st_mode & libc::S_IFMT;
        if format == libc::S_IFLNK {
            links += 1;
            if links > MAX_LINKS {
                return Err(io::Error::from_raw_os_error(libc::ELOOP));
            }
            place.linked = true;
            let target = PathBuf::from(nix::fcntl::readlinkat(&found, "")?);
            if target.is_absolute() {
                place.path = "/".into();
                place.handle = top()?;
            }
            put_ahead(&mut ahead, &target);
            continue;
        }
        is_directory = format == libc::S_IFDIR;
        place.path.push(name);
        (place.handle, place.made) = (found, made);
    }
    match kind == Kind::Directory && !is_directory {
        true => Err(io::Error::from_raw_os_error(libc::ENOTDIR)),
        false => Ok(place),
    }
}

fn dir_mode(kind: Kind, mode: u32) -> u32 {
    if kind == Kind::Directory { mode } else { 0o755 }
}

/// Puts the names of `path` in front of those that are still to be walked, the next one last.
fn put_ahead(ahead: &mut Vec<OsString>, path: &Path) {
    ahead.extend(path.components().rev().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    }));
}

/// Opens one name of `dir` without following it, made where it is missing; tells whether it was.
fn step(dir: &OwnedFd, name: &OsStr, (kind, mode): (Kind, u32)) -> io::Result<(OwnedFd, bool)> {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::Mode;
    let look = || openat(dir, name, OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC, Mode::empty());
    match look() {
        Err(nix::Error::ENOENT) => {}
        other => return Ok((other?, false)),
    }
    let made = make(dir, name, kind, mode)?;
    Ok((look()?, made))
}

/// Makes one name of `dir`; false when something of that name is there.
fn make(dir: &OwnedFd, name: &OsStr, kind: Kind, mode: u32) -> io::Result<bool> {
    use nix::fcntl::{OFlag, openat};
    use nix::sys::stat::{Mode, mkdirat};
    let mode = Mode::from_bits_truncate(mode);
    let made = match kind {
        Kind::Directory => mkdirat(dir, name, mode),
        Kind::File => {
            let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(dir, name, new, mode).map(drop)
        }
    };
    match made {
        Ok(()) => Ok(true),
        Err(nix::Error::EEXIST) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// The path without `.`, `..` and doubled slashes, as if it held no links.
pub fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            _ => {}
        }
    }
    cleaned
}

/// Makes the directory `path` and those above it, see [`make_place`], and gives a handle (`O_PATH`) to it.
pub fn make_dirs_in(root: impl AsFd, path: &Path, mode: u32) -> io::Result<OwnedFd> {
    Ok(make_place(root, path, Kind::Directory, mode)?.handle)
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
        let place = make_place(&handle, Path::new("/link/made"), Kind::File, 0o644).unwrap();
        assert_eq!((place.path.as_path(), place.made, place.linked), (Path::new("/etc/made"), true, true));
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
    fn what_a_dangling_link_leads_to_is_made_inside() {
        let (dir, handle) = root();
        symlink("../../../run/./deep", dir.path().join("link")).unwrap();
        let place = make_place(&handle, Path::new("/link/below"), Kind::Directory, 0o700).unwrap();
        assert_eq!(place.path, Path::new("/run/deep/below"));
        assert!(dir.path().join("run/deep/below").is_dir());
        symlink("/run/deep/file", dir.path().join("run/to-file")).unwrap();
        let place = make_place(&handle, Path::new("/run/to-file"), Kind::File, 0o600).unwrap();
        assert_eq!(place.path, Path::new("/run/deep/file"));
        assert!(dir.path().join("run/deep/file").is_file());
    }

    #[test]
    fn a_link_that_is_swapped_in_behind_a_walk_is_not_followed_on_the_way_back() {
        use std::os::unix::fs::MetadataExt;
        use std::sync::atomic::{AtomicBool, Ordering};
        let (dir, handle) = root();
        for name in ["real/below", "other/below"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        for name in ["real/file", "other/file"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let real = dir.path().join("real/file").metadata().unwrap().ino();
        symlink("/other", dir.path().join("swapped")).unwrap();
        symlink("/real/below/../file", dir.path().join("start")).unwrap();
        let names = ["real", "swapped"].map(|name| c_path(dir.path().join(name)).unwrap());
        let done = AtomicBool::new(false);
        let wrong = std::thread::scope(|threads| {
            threads.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let (here, exchange) = (nix::fcntl::AT_FDCWD, nix::fcntl::RenameFlags::RENAME_EXCHANGE);
                    nix::fcntl::renameat2(here, names[0].as_c_str(), here, names[1].as_c_str(), exchange).unwrap();
                }
            });
            let walks = (0..5_000).filter_map(|_| make_place(&handle, Path::new("/start"), Kind::File, 0o600).ok());
            let wrong = walks.filter(|place| {
                let found = nix::sys::stat::fstat(&place.handle).unwrap().st_ino;
                (found == real) != (place.path == Path::new("/real/file"))
            });
            let wrong = wrong.count();
            done.store(true, Ordering::Relaxed);
            wrong
        });
        assert_eq!(wrong, 0, "a file is not where it is said to be");
    }

    #[test]
    fn what_is_there_is_found_as_it_is() {
        let (dir, handle) = root();
        std::fs::create_dir(dir.path().join("d")).unwrap();
        let place = make_place(&handle, Path::new("/x/.././d"), Kind::Directory, 0o755).unwrap();
        assert_eq!((place.path.as_path(), place.made, place.linked), (Path::new("/d"), false, false));
        assert!(!dir.path().join("x").exists());
        std::fs::write(dir.path().join("f"), "").unwrap();
        for path in ["/f", "/f/below"] {
            let e = make_place(&handle, Path::new(path), Kind::Directory, 0o755).unwrap_err();
            assert_eq!(e.raw_os_error(), Some(libc::ENOTDIR), "{path}");
        }
    }

    #[test]
    fn links_in_a_circle_are_an_error() {
        let (dir, handle) = root();
        symlink("b", dir.path().join("a")).unwrap();
        symlink("a", dir.path().join("b")).unwrap();
        let e = make_place(&handle, Path::new("/a/x"), Kind::Directory, 0o755).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::ELOOP));
    }

    #[test]
    fn a_plain_path_goes_through_no_link_and_no_other_mount() {
        let (dir, handle) = root();
        symlink("f", dir.path().join("link")).unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        assert!(open_plain(&handle, Path::new("f"), libc::O_RDONLY).is_ok());
        let e = open_plain(&handle, Path::new("link"), libc::O_RDONLY).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::ELOOP));
        let top = std::fs::File::open("/").unwrap();
        let e = open_plain(&top, Path::new("proc/version"), libc::O_RDONLY).unwrap_err();
        assert_eq!(e.raw_os_error(), Some(libc::EXDEV));
    }
}
