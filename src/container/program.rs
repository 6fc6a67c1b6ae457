//! The last steps of every process of a container, its init's and those of exec: from a privileged process inside the
//! container's namespaces to the user's program.
//!
//! ```text
//! descriptors ─→ limits ─→ [seccomp, if privileged] ─→ identity (bounding set, groups, user) ─→ capabilities
//!             ─→ directory ─→ find the program ─→ [seccomp, if no_new_privs and with a listener] ─→ (ready, gate)
//!             ─→ [seccomp, if no_new_privs] ─→ execve
//! ```
//! Names that come from the image or the user are looked up by this process itself, and so is the interpreter of a script
//! by execve(2): all of them may lead through `/proc/self/fd`. So the descriptors of the host are closed first, and not
//! by execve (CVE-2024-21626). What stays until then is pipes, sockets, a terminal and a lock, and leads nowhere.
//!
//! A filter may forbid what comes after it, so it is loaded as late as it can be: without no_new_privs that takes
//! CAP_SYS_ADMIN and so comes before capabilities are given up. One that hands calls on to an agent is loaded while the
//! worker is there to pass the listener on, see [`super::listener`].

use super::listener;
use super::report::{AtStage, InitError, NEXT, Stage};
use crate::errno::{OpContext, OpError};
use crate::security::caps;
use crate::security::seccomp::{self, Filter};
use crate::spec::{Capabilities, Plan, Process, SpecError};
use crate::sys::clone::close_all_but;
use crate::sys::path::open_in;
use crate::sys::{identity, sched};
use nix::fcntl::OFlag;
use nix::sys::resource::{getrlimit, setrlimit};
use nix::sys::stat::Mode;
use nix::unistd::{AccessFlags, Gid, Uid};
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Where programs without a slash in their name are looked for when the environment does not say.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What this process has open when it looks for its program.
pub(super) struct Open<'a> {
    /// The socket to whoever has launched it.
    pub(super) worker: &'a OwnedFd,
    /// Further descriptors that it needs until the program runs.
    pub(super) kept: Vec<BorrowedFd<'a>>,
    /// How many from 3 on the program inherits.
    pub(super) preserve: u32,
}

/// Makes this process what `process` says, all but running the program. Gives the program's path. What is not `open`
/// is closed, and what is closes when the program runs. `held` is what the bounding set of this process holds.
pub(super) fn prepare(
    process: &mut Process,
    filter: Option<&Filter>,
    held: u64,
    mut open: Open<'_>,
) -> Result<CString, InitError> {
    let worker = open.worker;
    open.kept.push(worker.as_fd());
    close_all_but(3 + open.preserve, &open.kept).op("close", "all other descriptors").at(Stage::Identity)?;
    stdio_owner(process).at(Stage::Identity)?;
    limits(process).at(Stage::Identity)?;
    scheduling(process).at(Stage::Identity)?;
    home(process).at(Stage::Identity)?;
    let early = filter.filter(|_| !process.no_new_privileges);
    early.map_or(Ok(()), |filter| listener::load(filter, worker)).at(Stage::Seccomp)?;
    let given = caps::grantable(process.capabilities, held);
    // As root, because an image may name a directory that its user may not enter (`/root`). A file system that knows no
    // root of ours, as one over a network may, is asked again as the user.
    let entered = directory(&process.cwd);
    identity(process, given, held).at(Stage::Identity)?;
    match entered {
        Err(e) if e.errno() == Some(libc::EACCES) => directory(&process.cwd),
        other => other,
    }
    .at(Stage::Directory)?;
    let program = find(process).at(Stage::Program)?;
    let handed_on = filter.filter(|filter| process.no_new_privileges && filter.listener.is_some());
    handed_on.map_or(Ok(()), |filter| listener::load(filter, worker)).at(Stage::Seccomp)?;
    Ok(program)
}

/// Puts the filter of a process without new privileges in force, where that is left to the end. [`become_it`] gets none
/// then.
pub(super) fn confine(process: &Process, filter: Option<&Filter>) -> Result<(), InitError> {
    let Some(filter) = filter.filter(|filter| process.no_new_privileges && filter.listener.is_none()) else {
        return Ok(());
    };
    let loaded = crate::sys::seccomp::load(&filter.program, filter.flags);
    loaded.op("load seccomp filter of", "linux.seccomp").at(Stage::Seccomp).map(drop)
}

/// Becomes the program. `report` is told that this comes next.
pub(super) fn become_it(
    program: &CStr,
    process: &Process,
    filter: Option<&Filter>,
    report: Option<BorrowedFd<'_>>,
) -> Result<Infallible, InitError> {
    if let Some(report) = report {
        // While writing to nobody is no signal: who does not listen any more need not be told.
        let _ = nix::unistd::write(report, &[NEXT]);
    }
    crate::sys::spawn::reset_signals();
    // The last thing: a filter need not allow more than execve for the program to start.
    confine(process, filter)?;
    nix::unistd::execve(program, &process.args, &process.env)
        .op("execute", OsStr::from_bytes(program.to_bytes()))
        .at(Stage::Exec)
}

fn limits(process: &Process) -> Result<(), OpError> {
    for limit in &process.rlimits {
        setrlimit(limit.resource, limit.soft, limit.hard)
            .op("set", format!("{:?}={}:{}", limit.resource, limit.soft, limit.hard))?;
    }
    Ok(())
}

/// While this process may still raise itself above others.
fn scheduling(process: &Process) -> Result<(), OpError> {
    if let Some(policy) = process.scheduler {
        sched::set_policy(policy).op("set process.scheduler to", format!("{policy:?}"))?;
    }
    if let Some(priority) = process.io_priority {
        let said = format!("class {} level {}", priority >> 13, priority & 0x1fff);
        sched::set_io_priority(priority).op("set process.ioPriority to", said)?;
    }
    Ok(())
}

/// Takes back what the caller of the runtime is bound to: a container runs wherever its group lets it, also when the group
/// is given processors later. Not being let is no reason not to run.
pub(super) fn run_anywhere() {
    let _ = sched::set_affinity(&sched::EVERYWHERE);
}

/// What every process of a container is told of the machine, and where its memory comes from.
pub(super) fn set_environment(plan: &Plan) -> Result<(), OpError> {
    if let Some(persona) = plan.personality {
        identity::set_personality(persona).op("set linux.personality to", persona.to_string())?;
    }
    if let Some(policy) = &plan.memory_policy {
        identity::set_memory_policy(policy.mode, &policy.nodes)
            .op("set linux.memoryPolicy to", format!("{policy:?}"))?;
    }
    Ok(())
}

/// Sets the weight for the kernel's choice of whom to kill. While the host's /proc is in sight: the container's may be
/// anything, or missing. Raising it is everybody's right, lowering it takes CAP_SYS_RESOURCE.
pub(super) fn set_oom_score(process: &Process) -> Result<(), OpError> {
    set_oom_score_of("self", process)
}

fn set_oom_score_of(pid: &str, process: &Process) -> Result<(), OpError> {
    let Some(adj) = process.oom_score_adj else { return Ok(()) };
    std::fs::write(format!("/proc/{pid}/oom_score_adj"), adj.to_string()).op("set oom_score_adj to", adj.to_string())
}

/// Gives process `pid`, 0 for this one, what takes rights of the host's and so is out of reach in a user namespace: its
/// weight in want of memory, and hard limits above those that it has. What it can do then it does itself, in [`prepare`].
pub(super) fn endow(process: &Process, pid: u32) -> Result<(), OpError> {
    let name = if pid == 0 { "self".to_owned() } else { pid.to_string() };
    set_oom_score_of(&name, process)?;
    for limit in &process.rlimits {
        let (soft, hard) = getrlimit(limit.resource).op("read", format!("{:?}", limit.resource))?;
        if limit.hard > hard {
            identity::set_limit_of(pid, limit.resource as u32, soft, limit.hard)
                .op("raise", format!("{:?}={}:{}", limit.resource, limit.soft, limit.hard))?;
        }
    }
    Ok(())
}

/// The filter of a container.
pub(super) fn filter(plan: &Plan) -> Result<Option<Filter>, SpecError> {
    let compiled = plan.seccomp.as_ref().map(seccomp::compile).transpose();
    compiled.map_err(|e| SpecError { field: format!("linux.seccomp{}", e.field), problem: e.problem })
}

/// Gives the standard streams to the user of the process, who could not open /dev/stdout otherwise. In a user namespace
/// the worker has done so already.
fn stdio_owner(process: &Process) -> Result<(), OpError> {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    give_streams([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()], process.uid)
}

/// Gives streams to `user`. The null device and what cannot be given away (a socket, a read-only file) stay as they are.
pub(super) fn give_streams(streams: [BorrowedFd<'_>; 3], user: u32) -> Result<(), OpError> {
    for stream in streams {
        let stat = match nix::sys::stat::fstat(stream) {
            Ok(stat) => stat,
            // Started without it.
            Err(nix::Error::EBADF) => continue,
            Err(e) => return Err(e).op("look at", "a standard stream"),
        };
        let device = stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
        if stat.st_uid == user || device && stat.st_rdev == nix::sys::stat::makedev(1, 3) {
            continue;
        }
        match nix::unistd::fchown(stream, Some(Uid::from_raw(user)), None) {
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::EPERM | nix::Error::EROFS) => {}
            Err(e) => return Err(e).op("give away", "a standard stream"),
        }
    }
    Ok(())
}

/// Programs expect HOME. Without one in the environment it is that of the container's passwd file.
fn home(process: &mut Process) -> Result<(), OpError> {
    if process.env.iter().any(|e| e.to_bytes().strip_prefix(b"HOME=").is_some_and(|home| !home.is_empty())) {
        return Ok(());
    }
    process.env.retain(|e| e.to_bytes() != b"HOME=");
    let root = open_root()?;
    let passwd = super::user::read(root.as_fd(), "/etc/passwd");
    let home = format!("HOME={}", super::user::home(process.uid, &passwd).unwrap_or("/"));
    // A NUL in an image's file is no reason not to run it.
    process.env.push(CString::new(home).unwrap_or_else(|_| c"HOME=/".to_owned()));
    Ok(())
}

fn open_root() -> Result<OwnedFd, OpError> {
    nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).op("open", "/")
}

fn identity(process: &Process, given: Capabilities, held: u64) -> Result<(), OpError> {
    caps::bound(given.bounding, held).op("drop capabilities from", "the bounding set")?;
    let groups: Vec<Gid> = process.additional_gids.iter().copied().map(Gid::from_raw).collect();
    let (uid, gid) = (Uid::from_raw(process.uid), Gid::from_raw(process.gid));
    match nix::unistd::setgroups(&groups) {
        // A user namespace made without privileges: there are none to leave that its maker did not have.
        Err(nix::Error::EPERM) if groups.is_empty() && super::namespaces::setgroups_denied() => {}
        other => other.op("set (process.user.additionalGids)", "additional groups")?,
    }
    nix::unistd::setresgid(gid, gid, gid).op("become group", process.gid.to_string())?;
    nix::unistd::setresuid(uid, uid, uid).op("become user", process.uid.to_string())?;
    if process.no_new_privileges {
        nix::sys::prctl::set_no_new_privs().op("set", "no_new_privs")?;
    }
    caps::settle(given).op("set", "capabilities")?;
    // Not the caller's where the document gives none: see docs/SCOPE.md.
    let umask = Mode::from_bits_truncate(process.umask.unwrap_or(0o022));
    nix::sys::stat::umask(umask);
    Ok(())
}

/// Enters the working directory by a path that no link of /proc can lead out of the container (CVE-2024-21626).
fn directory(cwd: &Path) -> Result<(), OpError> {
    let dir = open_in(open_root()?, cwd, libc::O_PATH | libc::O_DIRECTORY, 0).op("change directory to", cwd)?;
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
    match refused.kind() {
        // What callers look for.
        io::ErrorKind::NotFound => Err(refused).op("executable file not found in $PATH: exec", object),
        _ => Err(refused).op("exec", object),
    }
}

fn runnable(path: &CStr) -> io::Result<()> {
    let stat = nix::sys::stat::stat(path)?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    nix::unistd::access(path, AccessFlags::X_OK).map_err(io::Error::from)
}
