//! A container's init between clone3 and execve, as stages in a fixed order.
//!
//! It is the only process in the container until the program runs, and not dumpable until then: what it holds of the
//! host (descriptors, memory of the worker it is a copy of) cannot be looked at from inside a pid namespace that it
//! shares with others. It runs nothing of the user's before the gate opens.

use super::hooks::Subject;
use super::launch::{Prepared, await_hosts_part, limit_files};
use super::namespaces::{become_root, setgroups_denied};
use super::program;
use super::report::{AtStage, InitError, Stage};
use super::talk::await_worker;
use crate::errno::{OpContext, OpError};
use crate::rootfs::{self, Rootfs, stage};
use crate::security::label::{self, Labels};
use crate::spec::{HookKind, Plan, Process};
use crate::sys::clone::new_session_keyring;
use crate::sys::identity;
use crate::sys::path::make_dirs_in;
use nix::sched::{CloneFlags, unshare};
use nix::sys::stat::Mode;
use std::convert::Infallible;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What the maker of an init does where the init [copies](super::namespaces::Ways::copies_mounts) its mounts from.
pub(super) fn stage(prepared: &mut Prepared<'_>) -> Result<(), OpError> {
    match &mut prepared.root {
        Some(root) => stage::out(root, &mut prepared.sources, prepared.plan, &prepared.attach_at),
        None => Ok(()),
    }
}

/// Everything up to the gate. `worker` is the socket to whoever has launched it. Gives the program's path and the master
/// end of the terminal where one was asked for.
pub(super) fn set_up(prepared: &mut Prepared<'_>, worker: &OwnedFd) -> Result<(CString, Option<OwnedFd>), InitError> {
    let labels = Labels::open(&prepared.process).at(Stage::Isolate)?;
    isolate(prepared, worker).at(Stage::Isolate)?;
    join_cgroup(prepared).at(Stage::Cgroup)?;
    let rootfs = build(prepared).at(Stage::Rootfs)?;
    await_hosts_part(worker, prepared.plan).at(Stage::Hooks)?;
    run_create_hooks(prepared, &rootfs)?;
    let terminal = match prepared.process.terminal {
        true => Some(terminal(prepared, &rootfs).at(Stage::Terminal)?),
        false => None,
    };
    let plan = prepared.plan;
    kernel(plan, &rootfs).at(Stage::Kernel)?;
    conceal(plan, rootfs, prepared.no_pivot).at(Stage::Rootfs)?;
    labels.settle().at(Stage::Identity)?;
    // The mounts are not open any more.
    prepared.files.map_or(Ok(()), limit_files).at(Stage::Identity)?;
    let kept = [prepared.gate, prepared.report].into_iter().chain(prepared.hold);
    let kept = kept.chain(terminal.as_ref().map(AsFd::as_fd)).collect();
    let open = program::Open { worker, kept, preserve: prepared.preserve };
    let program = program::prepare(&mut prepared.process, prepared.filter.as_ref(), prepared.held, open)?;
    Ok((program, terminal))
}

/// Waits for one byte, the word to go on. By read(2), which every program may need: a filter may be in force already.
pub(super) fn pass_gate(gate: BorrowedFd<'_>) -> Result<(), InitError> {
    let passed = loop {
        match nix::unistd::read(gate, &mut [0]) {
            // Whoever was to let us go has gone or has changed its mind.
            Ok(0) => break Err(io::Error::from_raw_os_error(libc::ECANCELED)),
            Ok(_) => break Ok(()),
            Err(nix::Error::EINTR) => {}
            Err(e) => break Err(e.into()),
        }
    };
    passed.op("wait at", "the gate").at(Stage::Gate)
}

/// Waits to be let go, and becomes the program, or fails.
pub(super) fn go(prepared: &Prepared<'_>, program: &CString) -> Result<Infallible, InitError> {
    pass_gate(prepared.gate)?;
    let hooks = prepared.plan.hooks.of(HookKind::StartContainer);
    if hooks.is_empty() {
        return program::become_it(program, &prepared.process, prepared.filter.as_ref(), Some(prepared.report));
    }
    // They may be files of the image: they get no more than the program itself.
    program::confine(&prepared.process, prepared.filter.as_ref())?;
    run_hooks(prepared, HookKind::StartContainer)?;
    program::become_it(program, &prepared.process, None, Some(prepared.report))
}

fn run_hooks(prepared: &Prepared<'_>, kind: HookKind) -> Result<(), InitError> {
    let subject = Subject::new(prepared.id, prepared.bundle, prepared.plan);
    subject.run(kind, prepared.plan.hooks.of(kind), Some(std::process::id())).map_err(InitError::of_hook)
}

/// In the container's namespaces, with the host's files in sight and the root file system as working directory.
fn run_create_hooks(prepared: &Prepared<'_>, rootfs: &Rootfs) -> Result<(), InitError> {
    if prepared.plan.hooks.of(HookKind::CreateContainer).is_empty() {
        return Ok(());
    }
    nix::unistd::fchdir(rootfs).op("enter", "the root file system").at(Stage::Hooks)?;
    let none = nix::sys::stat::umask(Mode::from_bits_truncate(0o022));
    let done = run_hooks(prepared, HookKind::CreateContainer);
    nix::sys::stat::umask(none);
    done
}

fn isolate(prepared: &Prepared<'_>, worker: &OwnedFd) -> Result<(), OpError> {
    stdio(prepared.stdio)?;
    nix::unistd::setsid().op("start", "a session")?;
    if prepared.ways.ids.is_none() {
        program::set_oom_score(&prepared.process)?;
    } else {
        // Whoever has the rights has set the score.
        if prepared.ways.makes_user() {
            await_worker(worker)?;
        }
    }
    if prepared.new_keyring {
        own_keyring(&prepared.process)?;
    }
    if prepared.ways.ids.is_some() {
        // Files of the host's that are written above are not its root's.
        become_root(setgroups_denied)?;
    }
    prepared.ways.enter_rest()
}

/// Leaves the session keyring of the caller for a new one. While this process is the host's root, which it then counts
/// for and not a user of the container's; and while the host's /proc is in sight.
pub(super) fn own_keyring(process: &Process) -> Result<(), OpError> {
    match label::keyring(process, new_session_keyring)? {
        // A kernel or a seccomp filter around us without keyrings: there is nothing to leak then.
        Err(e) if !matches!(e.raw_os_error(), Some(libc::ENOSYS | libc::EPERM)) => {
            Err(e).op("make", "a session keyring")
        }
        _ => Ok(()),
    }
}

/// Puts the three standard streams at 0, 1 and 2, whatever numbers they have now.
pub(super) fn stdio(streams: [BorrowedFd<'_>; 3]) -> Result<(), OpError> {
    use std::os::fd::AsRawFd;
    if streams.iter().map(AsRawFd::as_raw_fd).eq(0..3) {
        return Ok(());
    }
    // Copies above 2 first: one stream's number may be the place of another.
    let copy = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().op("copy", "a standard stream");
    let [stdin, stdout, stderr] = [copy(streams[0])?, copy(streams[1])?, copy(streams[2])?];
    nix::unistd::dup2_stdin(&stdin).op("place", "standard input")?;
    nix::unistd::dup2_stdout(&stdout).op("place", "standard output")?;
    nix::unistd::dup2_stderr(&stderr).op("place", "standard error")
}

fn join_cgroup(prepared: &Prepared<'_>) -> Result<(), OpError> {
    program::run_anywhere();
    if let Some(entry) = &prepared.cgroup_entry {
        entry.join().op("enter", "the cgroup")?;
    }
    // After entering: the namespace's root is the group its maker is in, and clone3 would take our parent's.
    if prepared.plan.namespaces.new & libc::CLONE_NEWCGROUP != 0 {
        unshare(CloneFlags::CLONE_NEWCGROUP).op("make", "a cgroup namespace")?;
    }
    Ok(())
}

fn build(prepared: &mut Prepared<'_>) -> Result<Rootfs, OpError> {
    let gone = || OpError::new("use twice", "the root file system", io::Error::from_raw_os_error(libc::EINVAL));
    let mut root = prepared.root.take().ok_or_else(gone)?;
    let mut sources = std::mem::take(&mut prepared.sources);
    rootfs::isolate()?;
    // Modes of nodes and mount points are meant as they are given.
    nix::sys::stat::umask(Mode::empty());
    let at = &prepared.attach_at;
    let mut rootfs = match prepared.ways.copies_mounts() {
        true => {
            let stage = stage::back(&mut root, &mut sources)?;
            Rootfs::attach_on(root, stage.as_fd()).op("attach the root file system at", at)?
        }
        false => Rootfs::attach(root, at)?,
    };
    rootfs.mount_all(prepared.plan, sources)?;
    rootfs.make_devices(prepared.plan)?;
    // An image may name a working directory that it does not have.
    make_dirs_in(rootfs.as_fd(), &prepared.process.cwd, 0o755)
        .op("make the working directory", &prepared.process.cwd)?;
    Ok(rootfs)
}

/// A pty of the container's own devpts, so that its name means the same inside.
fn terminal(prepared: &Prepared<'_>, rootfs: &Rootfs) -> Result<OwnedFd, OpError> {
    let master = super::terminal::open(rootfs.as_fd())?;
    rootfs.bind_console(&master.peer)?;
    master.take(prepared.process.console_size, prepared.process.uid)
}

fn kernel(plan: &Plan, rootfs: &Rootfs) -> Result<(), OpError> {
    if let Some(name) = &plan.hostname {
        nix::unistd::sethostname(name).op("set the host name to", name)?;
    }
    if let Some(name) = &plan.domainname {
        identity::set_domain_name(name).op("set the domain name to", name)?;
    }
    program::set_environment(plan)?;
    rootfs.set_sysctl(&plan.sysctl)
}

fn conceal(plan: &Plan, rootfs: Rootfs, no_pivot: bool) -> Result<(), OpError> {
    rootfs.mask(&plan.masked_paths)?;
    rootfs.protect(&plan.readonly_paths)?;
    rootfs.check_kernels(plan)?;
    rootfs.make_readonly(plan.root_readonly)?;
    match no_pivot {
        false => rootfs.enter(plan.root_propagation),
        true => rootfs.enter_by_chroot(plan.root_propagation),
    }
}
