//! Network namespaces: made by a worker, kept alive by a pin, known to everybody else by descriptor.
//!
//! A pin is a bind mount of the namespace's file on a file of ours. The namespace lives as long as the pin, a process
//! in it, or a descriptor of it.
//!
//! That of a container with users of its own belongs to their user namespace, or the container could mount no sysfs and set
//! no parameter. It is made by a child, since a user namespace cannot be left again.

use crate::errno::{OpContext, OpError};
use crate::spec::{IdMaps, lines};
use crate::sys::clone::{CloneArgs, clone, enter_namespace};
use crate::sys::namespace::make_user;
use crate::sys::{fd, pidfd};
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

/// Moves the calling thread into a new namespace. It belongs to a new user namespace with the maps `ids`, unless those are
/// empty.
pub(crate) fn make(ids: &IdMaps) -> Result<OwnedFd, OpError> {
    if ids.is_empty() {
        unshare(CloneFlags::CLONE_NEWNET).op("make", "network namespace")?;
        return current();
    }
    let netns = make_for(ids)?;
    enter(&netns)?;
    Ok(netns)
}

fn make_for(ids: &IdMaps) -> Result<OwnedFd, OpError> {
    let (users, groups) = (lines(&ids.users), lines(&ids.groups));
    let user = make_user(&users, &groups).op("make a user namespace with the map", users.trim_end())?;
    let (ours, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let make_inside = || -> io::Result<()> {
        enter_namespace(&user, libc::CLONE_NEWUSER)?;
        unshare(CloneFlags::CLONE_NEWNET)?;
        let netns = File::open(CURRENT)?;
        fd::send_with(&theirs, b"n", &[netns.as_fd()]).map(drop)
    };
    let child = clone(&CloneArgs::default(), || match make_inside() {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(libc::EIO),
    })
    .op("clone for", "a network namespace")?;
    drop(theirs);
    let mut made = Vec::new();
    let heard = fd::receive_with(&ours, &mut [0], &mut made).op("hear of", "network namespace");
    let end = pidfd::wait(&child.pidfd).op("wait for", "the child that makes a network namespace")?;
    heard?;
    let why = || match end {
        pidfd::Ended::Code(errno) if errno > 0 => io::Error::from_raw_os_error(errno),
        _ => io::ErrorKind::Interrupted.into(),
    };
    made.pop().ok_or_else(why).op("make in a user namespace", "network namespace")
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
