//! Extended attributes by descriptor, and by name inside a directory without following a link.

use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Sets attribute `name` of an open file or directory (fsetxattr(2)); `fd` may not be one of `O_PATH`.
pub fn set(fd: BorrowedFd<'_>, name: &CStr, value: &[u8]) -> io::Result<()> {
    // SAFETY: the kernel reads the NUL-terminated name and `value.len()` bytes of `value` during the call and keeps
    // neither; both borrows outlive it, and a wrong descriptor is an error number.
    let done = unsafe { libc::fsetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sets attribute `name` of the entry `entry` of directory `dir`, which may be a link, a device or a FIFO and is neither
/// opened nor followed.
///
/// There is no `setxattrat` before Linux 6.13; `/proc/self/fd` stands for the directory.
pub fn set_at(dir: BorrowedFd<'_>, entry: &OsStr, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = in_directory(dir, entry)?;
    // SAFETY: `path` and `name` are NUL-terminated and owned or borrowed until after the call, of which the kernel reads
    // them and `value.len()` bytes of `value`; nothing is written to memory.
    let done = unsafe { libc::lsetxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives the file at `path` attribute `name`, which it must not have: of several that do so at once, one succeeds, and the
/// others are told EEXIST (setxattr(2), `XATTR_CREATE`).
pub fn create(path: &Path, name: &CStr, value: &[u8]) -> io::Result<()> {
    let path = super::path::c_path(path)?;
    // SAFETY: `path` and `name` are NUL-terminated and owned or borrowed until after the call, of which the kernel reads
    // them and `value.len()` bytes of `value`; nothing is written to memory.
    let done =
        unsafe { libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), libc::XATTR_CREATE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Reads attribute `name` of an open file or directory; `None` when it has none, or the file system keeps none.
pub fn read(fd: BorrowedFd<'_>, name: &CStr) -> io::Result<Option<Vec<u8>>> {
    // An attribute holds at most 64 KiB (xattr(7)), but nearly all are far smaller.
    let mut value = vec![0; 256];
    loop {
        // SAFETY: the kernel writes at most `value.len()` bytes into `value`, which this function alone holds, and reads
        // the NUL-terminated name.
        let got = unsafe { libc::fgetxattr(fd.as_raw_fd(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
        match usize::try_from(got) {
            Ok(len) => {
                value.truncate(len);
                return Ok(Some(value));
            }
            Err(_) => match io::Error::last_os_error() {
                e if e.raw_os_error() == Some(libc::ENODATA) || e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                    return Ok(None);
                }
                e if e.raw_os_error() == Some(libc::ERANGE) && value.len() < 64 << 10 => value.resize(64 << 10, 0),
                e => return Err(e),
            },
        }
    }
}

/// The names of all attributes of an open file or directory.
pub fn names(fd: BorrowedFd<'_>) -> io::Result<Vec<CString>> {
    // The kernel's limit of a list is 64 KiB (xattr(7)).
    let mut list = vec![0u8; 64 << 10];
    // SAFETY: the kernel writes at most `list.len()` bytes into `list`, which this function alone holds.
    let got = unsafe { libc::flistxattr(fd.as_raw_fd(), list.as_mut_ptr().cast(), list.len()) };
    let Ok(len) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return if error.raw_os_error() == Some(libc::EOPNOTSUPP) { Ok(Vec::new()) } else { Err(error) };
    };
    list.truncate(len);
    let names = list.split(|b| *b == 0).filter(|name| !name.is_empty());
    Ok(names.filter_map(|name| CString::new(name).ok()).collect())
}

/// A path that names `entry` of `dir` for calls that take no directory descriptor.
fn in_directory(dir: BorrowedFd<'_>, entry: &OsStr) -> io::Result<CString> {
    if entry.is_empty() || entry.as_bytes().contains(&b'/') {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(entry.as_bytes());
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    #[test]
    fn an_attribute_comes_back_and_a_missing_one_is_none() {
        let file = tempfile::tempfile_in("/var/tmp").unwrap();
        let name = c"user.berth.test";
        assert_eq!(read(file.as_fd(), name).unwrap(), None);
        let long = vec![7u8; 1000];
        set(file.as_fd(), name, &long).unwrap();
        assert_eq!(read(file.as_fd(), name).unwrap().as_deref(), Some(&long[..]));
        assert_eq!(names(file.as_fd()).unwrap(), [name.to_owned()]);
    }

    #[test]
    fn an_attribute_is_created_once() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        create(dir.path(), c"user.x", b"1").unwrap();
        assert_eq!(create(dir.path(), c"user.x", b"2").unwrap_err().raw_os_error(), Some(libc::EEXIST));
        assert_eq!(read(File::open(dir.path()).unwrap().as_fd(), c"user.x").unwrap().as_deref(), Some(&b"1"[..]));
    }

    #[test]
    fn a_link_is_not_followed() {
        let dir = tempfile::tempdir_in("/var/tmp").unwrap();
        let target = File::create(dir.path().join("target")).unwrap();
        std::os::unix::fs::symlink("target", dir.path().join("link")).unwrap();
        let fd = File::open(dir.path()).unwrap();
        // user.* is refused on links (xattr(7)): the error proves that the link itself was meant.
        assert!(set_at(fd.as_fd(), OsStr::new("link"), c"user.x", b"1").is_err());
        assert_eq!(read(target.as_fd(), c"user.x").unwrap(), None);
        set_at(fd.as_fd(), OsStr::new("target"), c"user.x", b"1").unwrap();
        assert_eq!(read(target.as_fd(), c"user.x").unwrap().as_deref(), Some(&b"1"[..]));
        assert!(set_at(fd.as_fd(), OsStr::new("../x"), c"user.x", b"1").is_err());
    }
}
