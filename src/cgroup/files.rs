//! Reading and writing the small files of control groups.

pub(super) use super::tree::is_gone;

use super::tree;
use crate::errno::{OpContext as _, OpError};
use crate::spec::Resources;
use crate::sys::procfs;
use nix::unistd::{UnlinkatFlags, unlinkat};
use std::ffi::CStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long [`remove_tree`] waits for processes that are on their way out.
const REMOVE_PATIENCE: Duration = Duration::from_secs(2);
/// The first pause between two tries; it doubles up to [`REMOVE_PAUSE_MAX`].
const REMOVE_PAUSE: Duration = Duration::from_micros(100);
const REMOVE_PAUSE_MAX: Duration = Duration::from_millis(5);

/// Opens an existing file to write it; never makes one, which on a wrong path would be a file beside the groups.
pub(super) fn open_for_write(path: &Path) -> Result<File, OpError> {
    OpenOptions::new().write(true).open(path).op("open", path)
}

/// Writes one value by one write(2), as the kernel wants it.
pub(super) fn write(path: &Path, value: impl ToString) -> Result<(), OpError> {
    open_for_write(path)?.write_all(value.to_string().as_bytes()).op("write", path)
}

/// As [`write()`], but `Ok(false)` when the file does not exist.
pub(super) fn write_if_there(path: &Path, value: impl ToString) -> Result<bool, OpError> {
    match write(path, value) {
        Ok(()) => Ok(true),
        Err(e) if e.source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(e) => Err(e),
    }
}

/// The text of a file without white space around it.
pub(super) fn read(path: &Path) -> Result<String, OpError> {
    Ok(procfs::read(path).op("read", path)?.trim().to_owned())
}

/// As [`read`], but `None` when the file (or its group) does not exist. A group that is removed while its file is open
/// says ENODEV.
pub(super) fn read_if_there(path: &Path) -> Result<Option<String>, OpError> {
    match read(path) {
        Ok(text) => Ok(Some(text)),
        Err(e) if is_gone(&e.source) => Ok(None),
        Err(e) => Err(e),
    }
}

/// The error of a limit that could not be set, by the field that asks for it.
pub(super) fn refused(field: &str, value: &str, file: &Path, source: io::Error) -> OpError {
    OpError::new("set", format!("{field} to {value} by {}", file.display()), source)
}

/// Refuses memory limits below what is in use, of memory and of memory with swap.
pub(super) fn check_usage(r: &Resources, memory: u64, both: u64) -> Result<(), OpError> {
    for (field, limit, usage) in [
        ("linux.resources.memory.swap", r.memory_and_swap_bytes, both),
        ("linux.resources.memory.limit", r.memory_bytes, memory),
    ] {
        let Some(limit) = limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0) else {
            continue;
        };
        if limit < usage {
            let why = format!("rejecting memory limit {limit} < usage {usage}");
            return Err(OpError::new("set", field, io::Error::other(why)));
        }
    }
    Ok(())
}

/// A file that holds one number; a missing file is 0.
pub(super) fn read_number(path: &Path) -> Result<u64, OpError> {
    match read_if_there(path)? {
        None => Ok(0),
        Some(text) => parse(path, &text),
    }
}

/// A v2 limit: a number, or `max` for none; a missing file is none.
pub(super) fn read_limit(path: &Path) -> Result<Option<u64>, OpError> {
    match read_if_there(path)? {
        Some(text) if text != "max" => parse(path, &text).map(Some),
        _ => Ok(None),
    }
}

fn parse(path: &Path, text: &str) -> Result<u64, OpError> {
    text.parse().map_err(|e| OpError::new("parse number in", path.display().to_string(), io::Error::other(e)))
}

/// The value of `key` in lines of `key value`.
pub(super) fn keyed(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The processes of a group and of all groups below it.
pub(super) fn procs_below(dir: &Path) -> Result<Vec<u32>, OpError> {
    let (pids, complete) = listed(dir);
    complete.map(|()| pids)
}

/// As [`procs_below`], but those that could be read, and why not all.
pub(super) fn listed(dir: &Path) -> (Vec<u32>, Result<(), OpError>) {
    let mut pids = Vec::new();
    let complete = read_below(dir, "cgroup.procs", &mut |text| {
        pids.extend(text.lines().filter_map(|line| line.parse::<u32>().ok()));
    });
    (pids, complete)
}

/// Calls `each` with the text of file `name` of a group and of all groups below it that have one.
pub(super) fn read_below(dir: &Path, name: &str, each: &mut dyn FnMut(&str)) -> Result<(), OpError> {
    let own = read_if_there(&dir.join(name)).map(|text| text.iter().for_each(|text| each(text)));
    let mut enter = |group: BorrowedFd<'_>| match tree::read_at(group, name) {
        // A group of threads (v2): the processes are listed in the group above that is one of processes.
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(()),
        other => other.map(|text| each(&text)),
    };
    own.and(tree::below(dir, &mut enter, &mut |_, _| ()))
}

/// Removes a group and all groups below it.
pub(super) fn remove_tree(dir: &Path) -> Result<(), OpError> {
    let mut deadline = Instant::now() + REMOVE_PATIENCE;
    let mut pause = REMOVE_PAUSE;
    loop {
        let error = match fs::remove_dir(dir) {
            Ok(()) => return Ok(()),
            Err(e) if is_gone(&e) => return Ok(()),
            Err(e) => e,
        };
        // Groups below make the kernel say EBUSY as well (a plain directory: ENOTEMPTY).
        if !matches!(error.raw_os_error(), Some(libc::EBUSY | libc::ENOTEMPTY)) {
            return Err(error).op("remove cgroup", dir);
        }
        let mut removed = false;
        let mut remove = |above: BorrowedFd<'_>, name: &CStr| {
            removed |= unlinkat(above, name, UnlinkatFlags::RemoveDir).is_ok();
        };
        let seen = tree::below(dir, &mut |_| Ok(()), &mut remove);
        if removed {
            // However long those took, the others have not been tried without them yet.
            deadline = Instant::now() + REMOVE_PATIENCE;
            continue;
        }
        if Instant::now() >= deadline {
            return seen.and(Err(error).op("remove cgroup", dir));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(REMOVE_PAUSE_MAX);
    }
}
