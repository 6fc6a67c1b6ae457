//! clone3(2), namespaces and what runs between clone and exec.
//!
//! A child made here is a copy of its parent's memory (never `CLONE_VM`), so it may allocate and use everything its
//! parent could, under one condition that is checked: the parent has a single thread. In a process with more, a lock
//! held by another thread at the moment of the clone stays locked in the child for ever. A thread that ends by itself
//! soon is waited for, see [`expect_single_thread`].

use super::fd::gaps;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// `CLONE_INTO_CGROUP`, which does not fit the type that libc gives it.
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// How long a thread that is to end may take: as long as the kernel may take to make a namespace while many end.
const PATIENCE: Duration = Duration::from_secs(30);
/// Looks in vain after which the next ones come after a pause.
const QUICK_LOOKS: u32 = 10_000;
const PAUSE: Duration = Duration::from_micros(100);

/// Set once this process has started a thread that ends by itself soon.
static PASSING: AtomicBool = AtomicBool::new(false);

/// How a child is made.
#[derive(Debug, Default)]
pub struct CloneArgs<'a> {
    /// `CLONE_NEW*` flags of the namespaces the child starts in.
    pub namespaces: u64,
    /// The child becomes a child of our parent, which is told of its end as it would be of ours.
    pub sibling: bool,
    /// The child starts in this cgroup, a directory of a version 2 hierarchy (version 1 gives `EBADF`), and does not
    /// have it open.
    pub cgroup: Option<BorrowedFd<'a>>,
}

/// A child process and a descriptor that means it, and never another that got its number later.
#[derive(Debug)]
pub struct Child {
    /// The child's process id in our pid namespace.
    pub pid: u32,
    /// Becomes readable when the child ends; close-on-exec.
    pub pidfd: OwnedFd,
}

/// Makes a child that runs `child` and exits with what it returns.
///
/// # Errors
/// `EBUSY` when this process has more than one thread, and goes on having them where some are to end; else what clone3(2)
/// says.
pub fn clone(args: &CloneArgs<'_>, child: impl FnOnce() -> i32) -> io::Result<Child> {
    let alone = match PASSING.load(Ordering::Relaxed) {
        true => wait_for_single_thread()?,
        false => single_threaded()?,
    };
    if !alone {
        return Err(io::Error::from_raw_os_error(libc::EBUSY));
    }
    let mut pidfd: libc::c_int = -1;
    let mut flags = libc::CLONE_PIDFD as u64 | args.namespaces;
    if args.sibling {
        flags |= libc::CLONE_PARENT as u64;
    }
    if args.cgroup.is_some() {
        flags |= INTO_CGROUP;
    }
    let raw = libc::clone_args {
        flags,
        pidfd: &raw mut pidfd as u64,
        child_tid: 0,
        parent_tid: 0,
        // With CLONE_PARENT the kernel takes the signal that announces our own end, and refuses another.
        exit_signal: if args.sibling { 0 } else { libc::SIGCHLD as u64 },
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: args.cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: `raw` is a clone_args of the size given and lives across the call; the kernel writes only `pidfd`, a
    // local it points to. Neither CLONE_VM nor a stack is asked for, so the child returns here on its own copy of this
    // stack; this process has one thread, so no lock is held by anyone who does not exist in the child.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw const raw, size_of::<libc::clone_args>()) };
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            IN_CHILD.store(true, Ordering::Relaxed);
            if let Some(cgroup) = args.cgroup {
                // SAFETY: the number is the child's copy of a descriptor whose owner is in a frame of the parent, which
                // the child never returns to; `child` gets no part of `args`.
                unsafe { libc::close(cgroup.as_raw_fd()) };
            }
            let code = child();
            // SAFETY: _exit takes an integer and does not return; destructors and atexit handlers, which belong to
            // the parent, are left out on purpose.
            unsafe { libc::_exit(code) }
        }
        pid => {
            // SAFETY: clone3 succeeded with CLONE_PIDFD in the parent, so `pidfd` is a new descriptor nobody owns yet.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Child { pid: pid as u32, pidfd })
        }
    }
}

/// Says that threads of this process end by themselves soon, so that [`clone`] is to wait for their end.
pub fn expect_single_thread() {
    PASSING.store(true, Ordering::Relaxed);
}

/// Waits until this process has one thread, which even one that has been joined stays part of for some microseconds.
/// Says whether it has.
fn wait_for_single_thread() -> io::Result<bool> {
    let deadline = Instant::now() + PATIENCE;
    let mut looks = 0_u32;
    while !single_threaded()? {
        looks += 1;
        if looks < QUICK_LOOKS {
            std::thread::yield_now();
            continue;
        }
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Whether this process has exactly one thread.
pub fn single_threaded() -> io::Result<bool> {
    // Unsharing a thread group is done already where there is one thread, and refused where there are more. It asks
    // nothing of /proc, which in a container may be anything.
    // SAFETY: unshare takes an integer; with this flag it changes nothing.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return Ok(true);
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        Some(libc::EINVAL) => Ok(false),
        // A filter around us that lets nobody unshare: every thread is a directory, and so a link, besides `.` and the
        // entry in the parent.
        Some(libc::EPERM | libc::ENOSYS) => {
            use std::os::unix::fs::MetadataExt;
            Ok(std::fs::metadata("/proc/self/task")?.nlink() == 3)
        }
        _ => Err(error),
    }
}

/// Moves this process into namespaces of the process that `pidfd` means, in one step (Linux 5.8).
///
/// `flags` are `CLONE_NEW*`. A pid namespace takes effect for children made later.
pub fn enter_namespaces_of(pidfd: BorrowedFd<'_>, flags: i32) -> io::Result<()> {
    // SAFETY: setns takes a descriptor that is borrowed for the call, and integers; it touches no memory of ours.
    match unsafe { libc::setns(pidfd.as_raw_fd(), flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves this process into the one namespace that `namespace` is a descriptor of, which must be of the kind `flag`.
pub fn enter_namespace(namespace: impl AsFd, flag: i32) -> io::Result<()> {
    enter_namespaces_of(namespace.as_fd(), flag)
}

/// Set in processes that [`clone`] has made.
static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// Closes every descriptor from `first` on, whoever opened it, but those in `kept`, which are marked close-on-exec. Only
/// for a child that [`clone`] has made (`EPERM` elsewhere), and only once it uses no others any more.
pub fn close_all_but(first: u32, kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    if !IN_CHILD.load(Ordering::Relaxed) {
        return Err(io::Error::from_raw_os_error(libc::EPERM));
    }
    close_on_exec_from(first)?;
    for (from, to) in gaps(first, kept.iter().map(AsRawFd::as_raw_fd)) {
        // SAFETY: close_range takes three integers. What it closes is owned by frames of the parent that the child has
        // copies of: it never returns to them, as it ends by _exit or execve, so no owner acts on a number that means
        // another file by then.
        let result = unsafe { libc::syscall(libc::SYS_close_range, from, to, 0) };
        if result != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Marks every descriptor from `first` on close-on-exec, whoever opened it.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range takes three integers; with CLOEXEC it closes nothing, so no owner in this process is
    // deprived of its descriptor.
    let result = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Makes this process leave one that was inherited: a keyring of its own, so that the host's session keys are not the
/// container's. It has no name that another could have made one of.
pub fn new_session_keyring() -> io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: libc::c_long = 1;
    // SAFETY: keyctl takes no name here, and touches no memory of ours.
    let result =
        unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, std::ptr::null::<libc::c_char>()) };
    if result >= 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_in_a_process_with_threads_is_refused() {
        let waiting = std::sync::Arc::new(std::sync::Barrier::new(2));
        let other = std::thread::spawn({
            let waiting = waiting.clone();
            move || waiting.wait()
        });
        let refused = clone(&CloneArgs::default(), || 0).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EBUSY));
        waiting.wait();
        other.join().unwrap();
    }

    #[test]
    fn a_process_that_goes_on_does_not_lose_its_descriptors() {
        assert_eq!(close_all_but(3, &[]).unwrap_err().raw_os_error(), Some(libc::EPERM));
    }
}
