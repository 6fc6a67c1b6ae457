//! The program file of this process, out of reach of whoever comes to see it.
//!
//! A process that enters a container, or is about to become a container's program, can be found there: as
//! `/proc/PID/exe`, or as the interpreter of a script that begins with `#!/proc/self/exe`. From such a handle the file of
//! the runtime could be opened for writing once nobody runs it, and the next container would run what was written
//! (CVE-2019-5736). So those processes run from a read-only mount of that one file, which is nowhere attached: through
//! it nobody can write, no path leads to it, and being no part of any mount namespace it cannot be made writable again.
//!
//! Cheaper than a sealed copy in memory (the pages are those of the file), and without state: a process sees from its own
//! mount whether it has been done.

use super::clone::close_on_exec_from;
use super::mount::{self, Change, attr};
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

const SELF: &std::ffi::CStr = c"/proc/self/exe";

/// Whether nobody can write to this process's program through it.
pub fn is_protected() -> io::Result<bool> {
    let found = nix::sys::statvfs::statvfs(SELF)?;
    Ok(found.flags().contains(nix::sys::statvfs::FsFlags::ST_RDONLY))
}

/// Runs this process's program again from a read-only mount of its own, with the same arguments and environment, and of
/// its descriptors the standard streams and `inherited` from 3 on. Returns at once when that has been done. To be called
/// before anything else.
pub fn protect(name: &std::ffi::CStr, inherited: u32) -> io::Result<()> {
    if is_protected()? {
        // Before Linux 6.14 a program run by descriptor is called by the descriptor's number.
        return Ok(nix::sys::prctl::set_name(name)?);
    }
    // What else the caller has left open was not meant for us, and still less for what we make.
    close_on_exec_from(3_u32.saturating_add(inherited))?;
    run_again().map(|never| match never {})
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

fn run_again() -> io::Result<Infallible> {
    let file = read_only()?;
    let text = |bytes: &[u8]| CString::new(bytes).map_err(io::Error::other);
    let args: Vec<CString> = std::env::args_os().map(|a| text(a.as_bytes())).collect::<Result<_, _>>()?;
    let entry = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        text(&[name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let env: Vec<CString> = std::env::vars_os().map(entry).collect::<Result<_, _>>()?;
    Ok(nix::unistd::execveat(&file, c"", &args, &env, nix::fcntl::AtFlags::AT_EMPTY_PATH)?)
}
