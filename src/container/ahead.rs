//! A new network namespace, made by a thread while the rest of a container is prepared.
//!
//! It is the most expensive of all namespaces, about half a millisecond in which the kernel registers every protocol, and
//! what comes before the init (the record, the groups) takes as long. A thread is what the kernel gives namespaces to;
//! this one makes its own, opens it and ends. It has ended for good before anything is cloned: not the init alone is, and
//! so [`clone`](mod@crate::sys::clone) itself waits for that.
//!
//! ```text
//! start ──→ thread: unshare(CLONE_NEWNET), `lo` up, open /proc/thread-self/ns/net, end
//!   │                                     │
//! groups, record …           get ←────────┘ the namespace, or why there is none
//! ```
//! Who drops it without [`get`](Ahead::get) ends soon, and the namespace with it.

use crate::errno::{OpContext, OpError};
use crate::spec::Plan;
use crate::sys::{clone, loopback, memory, sched};
use nix::sched::{CloneFlags, unshare};
use std::cell::{OnceCell, RefCell};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread::{Builder, JoinHandle};

/// For a thread that makes a few system calls, in bytes.
const STACK: usize = 64 * 1024;

/// What the thread makes, in words.
const MADE: &str = "a network namespace";

/// A network namespace that a container gets and its document has no path of.
#[derive(Debug, Clone, Copy)]
pub enum Netns<'a> {
    /// It is there.
    Made(BorrowedFd<'a>),
    /// It is being made.
    Ahead(&'a Ahead),
}

impl<'a> Netns<'a> {
    /// The namespace, see [`Ahead::get`].
    pub(super) fn get(self) -> Result<BorrowedFd<'a>, OpError> {
        match self {
            Self::Made(netns) => Ok(netns),
            Self::Ahead(ahead) => ahead.get(),
        }
    }
}

/// A network namespace in the making.
#[derive(Debug)]
pub struct Ahead {
    thread: RefCell<Option<JoinHandle<Result<OwnedFd, OpError>>>>,
    made: OnceCell<OwnedFd>,
}

impl Ahead {
    /// Begins, for a container that gets a new network namespace owned by the host. Threads inherit the signal mask:
    /// what is to be blocked in this process must be so by now. `None` where there is nothing to make, or no thread to
    /// be had: then the namespace is made with the init.
    pub(super) fn start(plan: &Plan) -> Option<Self> {
        let new = plan.namespaces.new & libc::CLONE_NEWNET != 0;
        if !new || plan.namespaces.has(libc::CLONE_NEWUSER) {
            return None;
        }
        memory::one_heap();
        clone::expect_single_thread();
        let thread = sched::spawn_elsewhere(Builder::new().stack_size(STACK), make).ok()?;
        Some(Self { thread: RefCell::new(Some(thread)), made: OnceCell::new() })
    }

    /// The namespace. Waits for it the first time.
    pub(super) fn get(&self) -> Result<BorrowedFd<'_>, OpError> {
        if let Some(thread) = self.thread.take() {
            let panicked = || Err(io::Error::other("its thread has panicked")).op("make", MADE);
            let made = thread.join().unwrap_or_else(|_| panicked());
            let _ = self.made.set(made?);
        }
        let failed = || OpError::new("make", MADE, io::Error::from_raw_os_error(libc::ECANCELED));
        self.made.get().map(AsFd::as_fd).ok_or_else(failed)
    }
}

fn make() -> Result<OwnedFd, OpError> {
    unshare(CloneFlags::CLONE_NEWNET).op("make", MADE)?;
    take_up_loopback()?;
    Ok(File::open("/proc/thread-self/ns/net").op("open", MADE)?.into())
}

/// What every container finds in a network namespace that was made for it.
pub(super) fn take_up_loopback() -> Result<(), OpError> {
    loopback::take_up().op("take up", "the loopback device")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec;

    fn plan(namespaces: &str) -> Plan {
        let document = format!(
            r#"{{"ociVersion":"1.2.0","root":{{"path":"rootfs"}},"process":{{"cwd":"/","args":["true"],"user":{{"uid":0,"gid":0}}}},
                "linux":{{"namespaces":[{namespaces}],"uidMappings":[],"gidMappings":[]}}}}"#
        );
        spec::parse(document.as_bytes()).unwrap()
    }

    #[test]
    fn a_namespace_that_is_joined_or_shared_is_not_made() {
        assert!(Ahead::start(&plan(r#"{"type":"mount"}"#)).is_none());
        assert!(Ahead::start(&plan(r#"{"type":"mount"},{"type":"network","path":"/run/netns/x"}"#)).is_none());
    }
}
