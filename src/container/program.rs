//! The last steps of every process of a container, its init's and those of exec: from a privileged process inside the
//! container's namespaces to the user's program.
//!
//! ```text
//! limits ─→ identity (bounding set, groups, user) ─→ [seccomp, if privileged] ─→ capabilities ─→ directory
//!        ─→ find the program ─→ (ready, gate) ─→ [seccomp, if no_new_privs] ─→ execve
//! ```
//! A filter may forbid what comes after it, so it is loaded as late as it can be: without no_new_privs that takes
//! CAP_SYS_ADMIN and so comes before capabilities are given up.

use super::report::{AtStage, InitError, Stage};
use crate::errno::{OpContext, OpError};
use crate::security::caps;
use crate::spec::{Capabilities, Process};
use crate::sys::clone::close_on_exec_from;
use crate::sys::path::open_in;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{AccessFlags, Gid, Uid};
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where programs without a slash in their name are looked for when the environment does not say.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Makes this process what `process` says, all but running the program. Gives the program's path.
pub(super) fn prepare(process: &Process) -> Result<CString, InitError> {
    limits(process).at(Stage::Identity)?;
    let held = caps::held();
    let given = caps::grantable(process.capabilities, held);
    identity(process, given, held).at(Stage::Identity)?;
    directory(&process.cwd).at(Stage::Directory)?;
    find(process).at(Stage::Program)
}

/// Becomes the program. Descriptors from `3 + preserve` on are closed by it.
pub(super) fn become_it(program: &CStr, process: &Process, preserve: u32) -> Result<Infallible, InitError> {
    close_on_exec_from(3 + preserve).op("mark close-on-exec", "all other descriptors").at(Stage::Exec)?;
    crate::sys::spawn::reset_signals();
    nix::unistd::execve(program, &process.args, &process.env)
        .op("execute", OsStr::from_bytes(program.to_bytes()))
        .at(Stage::Exec)
}

fn limits(process: &Process) -> Result<(), OpError> {
    for limit in &process.rlimits {
        setrlimit(limit.resource, limit.soft, limit.hard)
            .op("set", format!("{:?}={}:{}", limit.resource, limit.soft, limit.hard))?;
    }
    // The soft limit is what select(2) can take; a runtime that raised its own does not hand that on.
    if !process.rlimits.iter().any(|l| l.resource == Resource::RLIMIT_NOFILE) {
        let (soft, hard) = nix::sys::resource::getrlimit(Resource::RLIMIT_NOFILE).op("read", "RLIMIT_NOFILE")?;
        if soft > 1024 {
            setrlimit(Resource::RLIMIT_NOFILE, 1024.min(hard), hard).op("set", "RLIMIT_NOFILE")?;
        }
    }
    if let Some(adj) = process.oom_score_adj {
        // Raising it is everybody's right, lowering it takes CAP_SYS_RESOURCE.
        std::fs::write("/proc/self/oom_score_adj", adj.to_string()).op("set oom_score_adj to", adj.to_string())?;
    }
    Ok(())
}

fn identity(process: &Process, given: Capabilities, held: u64) -> Result<(), OpError> {
    caps::bound(given.bounding, held).op("drop capabilities from", "the bounding set")?;
    let groups: Vec<Gid> = process.additional_gids.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    nix::unistd::setgroups(&groups).op("set", "additional groups")?;
    nix::unistd::setresgid(gid, gid, gid).op("become group", process.gid.to_string())?;
    nix::unistd::setresuid(uid, uid, uid).op("become user", process.uid.to_string())?;
    if process.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().op("set", "no_new_privs")?;
    }
    caps::settle(given).op("set", "capabilities")?;
    let umask = nix::sys::stat::Mode::from_bits_truncate(process.umask.unwrap_or(0o022));
    nix::sys::stat::umask(umask);
    Ok(())
}

/// Enters the working directory by a path that no link of /proc can lead out of the container (CVE-2024-21626).
fn directory(cwd: &Path) -> Result<(), OpError> {
    let root =
        nix::fcntl::open("/", nix::fcntl::OFlag::O_PATH | nix::fcntl::OFlag::O_CLOEXEC, nix::sys::stat::Mode::empty())
            .op("open", "/")?;
    let dir = open_in(root, cwd, libc::O_PATH | libc::O_DIRECTORY, 0).op("change directory to", cwd)?;
    nix::unistd::fchdir(dir).op("change directory to", cwd)?;
    match nix::unistd::getcwd() {
        Ok(path) if path.is_absolute() => Ok(()),
        Ok(_) => Err(io::Error::other("it is outside the container")).op("change directory to", cwd),
        Err(e) => Err(e).op("look up the working directory", cwd),
    }
}

/// The program as execve(2) takes it: searched for like shells do, as the user that will run it.
fn find(process: &Process) -> Result<CString, OpError> {
    let name = process.args[0].as_c_str();
    let object = OsStr::from_bytes(name.to_bytes());
    if name.to_bytes().contains(&b'/') {
        return runnable(name).map(|()| name.to_owned()).op("find program", object);
    }
    let path = process.env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    let mut refused = io::Error::from_raw_os_error(libc::ENOENT);
    for dir in path.unwrap_or(DEFAULT_PATH).split(|b| *b == b':') {
        let dir = if dir.is_empty() { b"." } else { dir };
        let candidate = CString::new([dir, b"/", name.to_bytes()].concat()).expect("parts of C strings hold no NUL");
        match runnable(&candidate) {
            Ok(()) => return Ok(candidate),
            // One that is there and may not be run says more than that others are not there.
            Err(e) if e.raw_os_error() == Some(libc::EACCES) => refused = e,
            Err(_) => {}
        }
    }
    Err(refused).op("find program", object)
}

fn runnable(path: &CStr) -> io::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    nix::unistd::access(path, AccessFlags::X_OK).map_err(io::Error::from)
}
