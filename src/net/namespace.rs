//! Network namespaces: made by a worker, kept alive by a pin, known to everybody else by descriptor.
//!
//! A pin is a bind mount of the namespace's file on a file of ours. The namespace lives as long as the pin, a process
//! in it, or a descriptor of it.

use crate::errno::{OpContext, OpError};
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The calling thread's own: `/proc/self` would be the main thread's.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// A descriptor of the calling thread's network namespace.
pub fn current() -> Result<OwnedFd, OpError> {
    Ok(File::open(CURRENT).op("open", CURRENT)?.into())
}

/// Moves the calling thread into the namespace `netns`.
pub fn enter(netns: impl AsFd) -> Result<(), OpError> {
    setns(netns, CloneFlags::CLONE_NEWNET).op("enter", "network namespace")
}

/// Moves the calling thread into a new namespace.
pub(crate) fn make() -> Result<OwnedFd, OpError> {
    unshare(CloneFlags::CLONE_NEWNET).op("make", "network namespace")?;
    current()
}

/// Pins the calling thread's namespace at `pin`. A pin that is there already is an error: whoever made it has not
/// been torn down.
pub(crate) fn pin(pin: &Path) -> Result<(), OpError> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(pin).op("create namespace pin", pin)?;
    let mounted = mount(Some(CURRENT), pin, None::<&str>, MsFlags::MS_BIND, None::<&str>);
    mounted.op("pin network namespace at", pin).inspect_err(|_| {
        // The mount's error is the one to tell; an empty file that stays is found by the next `unpin`.
        let _ = fs::remove_file(pin);
    })
}

/// Opens a pinned namespace; `None` when nothing is pinned there.
pub fn open(pin: &Path) -> Result<Option<OwnedFd>, OpError> {
    let file = match File::open(pin) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(OpError::new("open namespace pin", pin.display().to_string(), e)),
    };
    // A plain file is what is left when a worker died between making the file and mounting on it.
    let kind = nix::sys::statfs::fstatfs(&file).op("examine namespace pin", pin)?.filesystem_type();
    Ok((kind == nix::sys::statfs::NSFS_MAGIC).then(|| file.into()))
}

/// Takes the pin at `pin` away, from whatever state it is in.
pub(crate) fn unpin(pin: &Path) -> Result<(), OpError> {
    loop {
        // More than one mount can lie on a pin only if somebody else put it there; take them all.
        match umount2(pin, MntFlags::MNT_DETACH) {
            Ok(()) => {}
            Err(Errno::EINVAL) => break,
            Err(Errno::ENOENT) => return Ok(()),
            Err(e) => return Err(OpError::new("unmount namespace pin", pin.display().to_string(), e)),
        }
    }
    match fs::remove_file(pin) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(OpError::new("remove namespace pin", pin.display().to_string(), e))
        }
        _ => Ok(()),
    }
}
