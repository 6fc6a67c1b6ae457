//! Whose a group is, written on its directory: a name says who wants a group, a mark who has it.
//!
//! ```text
//! [no group] ──claim──→ [marked] ──remove──→ [no group]
//! [no mark]  ──claim──→    │ claim by another: told whose it is
//!                          └──hand_over──→ [marked by another]   where the mark's owner is known to be no more
//! ```
//! The mark is an extended attribute of the class `trusted`, which control groups have on versions 1 and 2 and which only
//! root of the machine can see or change: a container's own root cannot. It goes with the directory. Of several that claim
//! a group at once, the kernel lets one succeed. On version 1 it is on the directory that the group's members are read in,
//! which is the first to be made and the last to go: whoever has the mark has them all.

use super::Group;
use super::files::is_gone;
use crate::errno::{OpContext as _, OpError};
use crate::sys::xattr;
use nix::fcntl::{Flock, FlockArg};
use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

const NAME: &CStr = c"trusted.berth.owner";

/// How often a group is made that somebody else removes.
const TRIES: usize = 16;

/// What came of marking a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// It has the mark.
    Taken,
    /// It has another's.
    Of(Vec<u8>),
    /// There is no group.
    Missing,
    /// Groups cannot be marked: by this kernel, or by who is not root of the machine.
    Unsupported,
}

impl Group {
    /// Marks the group, the first of whose directories is made where there is none.
    pub fn claim(&self, mark: &[u8]) -> Result<Claim, OpError> {
        let dir = self.members();
        for _ in 0..TRIES {
            match fs::create_dir(&dir) {
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => fs::create_dir_all(&dir).op("create cgroup", &dir)?,
                other => other.op("create cgroup", &dir)?,
            }
            match self.mark(mark)? {
                Claim::Missing => {}
                done => return Ok(done),
            }
        }
        Err(io::Error::from(io::ErrorKind::ResourceBusy)).op("mark cgroup", &dir)
    }

    /// Marks the group, unless there is none or it is marked.
    pub fn mark(&self, mark: &[u8]) -> Result<Claim, OpError> {
        let dir = self.members();
        match xattr::create(&dir, NAME, mark) {
            Ok(()) => Ok(Claim::Taken),
            Err(e) if e.raw_os_error() == Some(libc::EEXIST) => Ok(self.marked()?.map_or(Claim::Missing, Claim::Of)),
            Err(e) if is_gone(&e) => Ok(Claim::Missing),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EOPNOTSUPP | libc::EPERM)) => Ok(Claim::Unsupported),
            Err(e) => Err(e).op("mark cgroup", &dir),
        }
    }

    /// The group's mark; `None` where it has none or is not there.
    pub fn marked(&self) -> Result<Option<Vec<u8>>, OpError> {
        let dir = self.members();
        open(&dir)?.map_or(Ok(None), |open| read(&open, &dir))
    }

    /// Replaces the mark `from` by `to`. False when it is not, or no longer, the group's, or another does the same just
    /// now: all who replace one hold a lock on the directory.
    pub fn hand_over(&self, from: &[u8], to: &[u8]) -> Result<bool, OpError> {
        let dir = self.members();
        let Some(open) = open(&dir)? else { return Ok(false) };
        let Ok(locked) = Flock::lock(open, FlockArg::LockExclusiveNonblock) else { return Ok(false) };
        if read(&locked, &dir)?.as_deref() != Some(from) {
            return Ok(false);
        }
        xattr::set(locked.as_fd(), NAME, to).op("mark cgroup", &dir)?;
        // What was marked may have been removed, and another made in its place.
        Ok(self.marked()?.as_deref() == Some(to))
    }
}

/// The directory; `None` when it is not there.
fn open(dir: &Path) -> Result<Option<File>, OpError> {
    match File::open(dir) {
        Err(e) if is_gone(&e) => Ok(None),
        other => other.op("open cgroup", dir).map(Some),
    }
}

fn read(open: &File, dir: &Path) -> Result<Option<Vec<u8>>, OpError> {
    match xattr::read(open.as_fd(), NAME) {
        Err(e) if is_gone(&e) => Ok(None),
        other => other.op("look whose is cgroup", dir),
    }
}
