//! The program file of this process, out of reach of whoever comes to see it.
//!
//! A process that enters a container, or is about to become a container's program, can be found there: as
//! `/proc/PID/exe`, or as the interpreter of a script that begins with `#!/proc/self/exe`. From such a handle the file of
//! the runtime could be opened for writing once nobody runs it, and the next container would run what was written
//! (CVE-2019-5736). So those processes run from a read-only mount of that one file, which is nowhere attached: through
//! it nobody can write, no path leads to it, and being no part of any mount namespace it cannot be made writable again.
//!
//! Cheaper than a sealed copy in memory (the pages are those of the file), and without state: a process sees from its own
//! mount whether it has been done. A process that runs from elsewhere exchanges its mappings ([`remap`]),
//! and where the kernel does not let it, it executes the file again.

use super::mount::{self, Change, attr};
use super::{procfs, remap};
use std::convert::Infallible;
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

const SELF: &std::ffi::CStr = c"/proc/self/exe";

/// Whether nobody can write to this process's program through it: a read-only mount, and one that is nowhere attached,
/// whose files the kernel can name by no path but `/`. What is attached can be made writable again by its host.
pub fn is_protected() -> io::Result<bool> {
    let found = nix::sys::statvfs::statvfs(SELF)?;
    let read_only = found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY);
    Ok(read_only && std::fs::read_link(OsStr::from_bytes(SELF.to_bytes()))? == Path::new("/"))
}

/// Makes this process one that runs from a read-only mount of its program, called `name`, and leaves of its descriptors
/// the standard streams and `inherited` from 3 on. Returns when that has been done; where it takes executing the program
/// again, with the same arguments and environment, in the new one. To be called before anything is opened.
pub fn protect(name: &std::ffi::CStr, inherited: u32) -> io::Result<()> {
    if !is_protected()? {
        close_from(3_u32.saturating_add(inherited))?;
        let file = read_only()?;
        if !runs_from(&file)? {
            return run_again(&file).map(|never| match never {});
        }
        *kept() = Some(file);
    }
    // Before Linux 6.14 a program run by descriptor is called by the descriptor's number.
    Ok(nix::sys::prctl::set_name(name)?)
}

/// The mount that this process runs from. Closing it waits for all processors to be through with what they read of
/// mounts, 50 µs and more.
static KEPT: Mutex<Option<OwnedFd>> = Mutex::new(None);

fn kept() -> MutexGuard<'static, Option<OwnedFd>> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes what [`protect`] has left open. For a moment when this process would wait anyway, and its children have closed
/// theirs; its end does it too.
pub fn settle() {
    drop(kept().take());
}

/// What the caller has left open was not meant for us, and still less for what we make.
fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: close_range takes three integers. What is open are descriptors that this process was started with, and
    // nobody owns one before it is told so by `fd::inherited`.
    match unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether this process could be made one that runs from the mount that `file` is.
fn runs_from(file: &OwnedFd) -> io::Result<bool> {
    let exchanged = procfs::reopen(file).and_then(|file| remap::run_from(&file));
    match exchanged {
        Ok(()) => is_protected(),
        Err(_) => Ok(false),
    }
}

/// This process's program on a read-only mount of its own, for [`spawn::respawn`](super::spawn::respawn): what is
/// started from it need not run again.
pub fn read_only() -> io::Result<OwnedFd> {
    if is_protected()? {
        // A detached mount cannot be cloned again, and need not be.
        let flags = nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC;
        return Ok(nix::fcntl::open(SELF, flags, nix::sys::stat::Mode::empty())?);
    }
    let file = mount::clone_tree(nix::fcntl::AT_FDCWD, SELF, false)?;
    mount::set_attributes(&file, Change { set: attr::RDONLY, ..Change::default() })?;
    Ok(file)
}

fn run_again(file: &OwnedFd) -> io::Result<Infallible> {
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let args: Vec<CString> = std::env::args_os().map(|a| text(a.as_bytes())).collect::<Result<_, _>>()?;
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let env: Vec<CString> = std::env::vars_os().map(entry).collect::<Result<_, _>>()?;
    Ok(nix::unistd::execveat(file, c"", &args, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH)?)
}
