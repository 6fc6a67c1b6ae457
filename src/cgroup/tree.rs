//! The groups below a group, however deep: a container that may write its own can nest more of them than a path can
//! name, than a stack has room for and than a process can have open.
//!
//! So the way down is by name from the directory above, and the way up by `..`: one directory is open at a time, and what
//! is left to see is on the heap, a list of names per level. The kernel moves no group from one to another.

use crate::errno::{OpContext as _, OpError};
use nix::dir::{Dir, Type};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, fstat};
use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

const DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC).union(OFlag::O_NOFOLLOW);

/// The links of a directory without any below: its own two, and one from each below it, where a file system counts them.
/// These do.
const OWN_LINKS: u64 = 2;

/// The error says that the group is not, or no longer, there.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Calls `enter` with each group below `top`, and `leave` with the group above and the name when all that is below it has
/// been seen. Groups that vanish meanwhile are left out. A branch that fails ends no other; the first error is told.
pub(super) fn below(
    top: &Path,
    enter: &mut dyn FnMut(BorrowedFd<'_>) -> io::Result<()>,
    leave: &mut dyn FnMut(BorrowedFd<'_>, &CStr),
) -> Result<(), OpError> {
    if fs::symlink_metadata(top).is_ok_and(|found| found.nlink() == OWN_LINKS) {
        return Ok(());
    }
    let mut here = match nix::fcntl::open(top, DIRECTORY, Mode::empty()).map_err(io::Error::from) {
        Err(e) if is_gone(&e) => return Ok(()),
        other => other.op("list", top)?,
    };
    let mut first = Ok(());
    let mut note = |done: io::Result<()>| match done {
        Err(e) if !is_gone(&e) && first.is_ok() => first = Err(e),
        _ => {}
    };
    let (mut left, mut names) = (vec![children(&here, &mut note)], Vec::new());
    loop {
        if let Some(name) = left.last_mut().and_then(Vec::pop) {
            match openat(&here, name.as_c_str(), DIRECTORY, Mode::empty()) {
                Ok(group) => here = group,
                Err(e) => {
                    note(Err(e.into()));
                    continue;
                }
            }
            note(enter(here.as_fd()));
            left.push(children(&here, &mut note));
            names.push(name);
            continue;
        }
        left.pop();
        let Some(name) = names.pop() else { break };
        here = openat(&here, "..", DIRECTORY, Mode::empty()).op("go up in", top)?;
        leave(here.as_fd(), &name);
    }
    first.op("list groups below", top)
}

/// The names of the groups in a directory; as many as could be read.
fn children(dir: &OwnedFd, note: &mut dyn FnMut(io::Result<()>)) -> Vec<CString> {
    let mut names = Vec::new();
    if fstat(dir).is_ok_and(|found| found.st_nlink == OWN_LINKS) {
        return names;
    }
    let mut open = match Dir::openat(dir, ".", DIRECTORY, Mode::empty()) {
        Ok(open) => open,
        Err(e) => {
            note(Err(e.into()));
            return names;
        }
    };
    for entry in open.iter() {
        match entry {
            Ok(entry) => {
                let name = entry.file_name();
                if entry.file_type() == Some(Type::Directory) && name != c"." && name != c".." {
                    names.push(name.to_owned());
                }
            }
            Err(e) => {
                note(Err(e.into()));
                break;
            }
        }
    }
    names
}

/// The text of a file of an open group.
pub(super) fn read_at(group: BorrowedFd<'_>, name: &str) -> io::Result<String> {
    let file = openat(group, name, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = String::with_capacity(4096);
    File::from(file).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a file of an open group by one write(2).
pub(super) fn write_at(group: BorrowedFd<'_>, name: &str, value: &str) -> io::Result<()> {
    let file = openat(group, name, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    File::from(file).write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::files;
    use super::*;

    #[test]
    fn groups_are_seen_and_removed_at_any_depth() {
        let top = tempfile::tempdir().unwrap();
        let dir = top.path().join("group");
        fs::create_dir(&dir).unwrap();
        let mut here: OwnedFd = File::open(&dir).unwrap().into();
        // Deeper than a process may have files open, and longer than a path may be.
        for _ in 0..3000 {
            for name in ["deep", "beside"] {
                nix::sys::stat::mkdirat(&here, name, Mode::S_IRWXU).unwrap();
            }
            here = openat(&here, "deep", DIRECTORY, Mode::empty()).unwrap();
        }
        drop(here);
        let (mut entered, mut left) = (0, 0);
        let mut enter = |_: BorrowedFd<'_>| {
            entered += 1;
            Ok(())
        };
        below(&dir, &mut enter, &mut |_, _| left += 1).unwrap();
        assert_eq!((entered, left), (6000, 6000));
        files::remove_tree(&dir).unwrap();
        assert!(!dir.exists());
    }

    #[test]
    fn a_branch_that_fails_ends_no_other() {
        let top = tempfile::tempdir().unwrap();
        for name in ["a/1", "b/2", "c/3"] {
            fs::create_dir_all(top.path().join(name)).unwrap();
        }
        let mut entered = 0;
        let mut enter = |_: BorrowedFd<'_>| {
            entered += 1;
            Err(io::Error::from_raw_os_error(libc::EIO))
        };
        assert_eq!(below(top.path(), &mut enter, &mut |_, _| ()).unwrap_err().errno(), Some(libc::EIO));
        assert_eq!(entered, 6);
    }
}
