//! Making a container's init: what the worker does in the host's namespaces, and its wait for the init to be ready.
//!
//! ```text
//! worker                                                       init
//! config.json ─→ Plan; snapshot ─→ detached overlay
//! binds, cgroup ─→ detached mounts; namespaces opened
//! clone3 (namespaces, cgroup on v2; see `namespaces`) ───────→ set_up: stages of `init`
//! [identities mapped ──────────── go on ───────────────────→  root of a new user namespace]
//! [the host's part  ←────────────── its mounts are there ───── waits, where there is a part for the host
//!  network devices, hooks ───────── go on ──────────────────→] hooks of its own, the rest of set_up
//! wait on a socket  ←──────────── ready (and the terminal) ─── or the InitError; before it the listener of a filter
//! Launched                                                     waits at the gate for one byte, then execve
//!                                                              (an error goes to `report`, else it closes by itself)
//! ```
//! Only for single-threaded workers that end soon: joining a pid namespace changes what children of the worker become.

use super::ahead::Netns;
use super::hooks::{HookError, Subject};
use super::listener::{self, Told};
use super::namespaces::Ways;
use super::report::{self, InitError};
use super::status::start_time;
use super::talk::{BUILT, MAPPED, Word, announce, announce_ready, await_worker, hear, hear_ready};
use super::{init, program};
use crate::cgroup::{Controller, Entry, Group};
use crate::codec::{Codec, DecodeError};
use crate::errno::{OpContext, OpError};
use crate::image::snapshot::Snapshot;
use crate::interrupt::Interrupt;
use crate::net::device;
use crate::rootfs::{self, CgroupSource, Sources, overlay};
use crate::security::seccomp::Filter;
use crate::security::{caps, label};
use crate::spec::{self, HookKind, IdMaps, Mount, MountKind, Plan, Process, SpecError};
use crate::sys::clone::{Child, CloneArgs};
use crate::sys::mount::attr;
use crate::sys::{fd, pidfd};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

/// What to launch and with what.
#[derive(Debug)]
pub struct Launch<'a> {
    /// The container's id.
    pub id: &'a str,
    /// Holds `config.json` and, where the root is an overlay, `snapshot`.
    pub bundle: &'a Path,
    /// Already made. The init is in it before anything of the user's runs.
    pub cgroup: &'a Group,
    /// The network namespace to join; `None` does as config.json says.
    pub netns: Option<Netns<'a>>,
    /// Standard input, output and error; with a terminal they are used until there is one.
    pub stdio: [BorrowedFd<'a>; 3],
    /// The init becomes the child of our parent.
    pub sibling: bool,
    /// The init waits to read one byte here just before execve; at the end of file it exits without running.
    pub gate: BorrowedFd<'a>,
    /// Close-on-exec write end: the init writes an [`InitError`] here when it fails after `launch` has returned, see
    /// [`report::failure`]. The end of file without one means that execve has succeeded.
    pub report: BorrowedFd<'a>,
    /// Ends the launch with an error.
    pub interrupt: Interrupt<'a>,
    /// Stays open until the program runs, besides what is needed until then: a lock on what the caller works on. No
    /// directory, as the program is looked up while it is open.
    pub hold: Option<BorrowedFd<'a>>,
    /// Descriptors from 3 on that the program inherits.
    pub preserve: u32,
    /// The root is changed by mount and chroot, for roots that pivot_root(2) does not leave: the initial ramdisk.
    pub no_pivot: bool,
    /// The program gets a session keyring of its own instead of the caller's.
    pub new_keyring: bool,
}

/// A container's init that waits at the gate.
#[derive(Debug)]
pub struct Launched {
    /// Process id in the host's pid namespace.
    pub pid: u32,
    /// When an init began, in the kernel's ticks since boot. None if it is gone already, and of a process of exec, which
    /// nobody records.
    pub start_time: Option<u64>,
    /// Means the init and no later process.
    pub pidfd: OwnedFd,
    /// The master end of its terminal, where config.json asks for one.
    pub terminal: Option<OwnedFd>,
    /// What of its configuration counts for nothing.
    pub warnings: Vec<String>,
}

/// Why a container could not be launched. Nothing of it is left but what the caller made.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The configuration cannot be carried out.
    #[error("configure container")]
    Spec(#[from] SpecError),
    /// A file of the bundle does not hold what it should.
    #[error("read `{path}`")]
    Bundle {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: DecodeError,
    },
    /// The worker's part failed.
    #[error("prepare container")]
    Prepare(#[from] OpError),
    /// The init said why it failed.
    #[error("unable to start container process")]
    Init(#[from] InitError),
    /// A hook that runs in the host's namespaces failed.
    #[error("create container")]
    Hook(#[from] HookError),
    /// The init died without a word: killed, for want of memory more often than not.
    #[error("container process ended before it was ready")]
    Died,
}

impl LaunchError {
    /// The exit code that shells give such an end, see [`InitError::shell_code`].
    pub fn shell_code(&self) -> i32 {
        match self {
            Self::Init(e) => e.shell_code(),
            _ => 125,
        }
    }
}

/// What the init is made of; all of it opened by the worker.
#[derive(Debug)]
pub(super) struct Prepared<'a> {
    pub(super) plan: &'a Plan,
    pub(super) id: &'a str,
    pub(super) process: Process,
    /// What its bounding set holds to begin with.
    pub(super) held: u64,
    pub(super) filter: Option<Filter>,
    pub(super) bundle: &'a Path,
    /// The directory that the root file system is attached at until it is entered.
    pub(super) attach_at: PathBuf,
    pub(super) root: Option<OwnedFd>,
    pub(super) sources: Sources,
    pub(super) cgroup_entry: Option<Entry>,
    pub(super) ways: &'a Ways<'a>,
    pub(super) stdio: [BorrowedFd<'a>; 3],
    /// The soft limit of open files that the program gets, where the mounts take more.
    pub(super) files: Option<u64>,
    /// It gets a session keyring of its own.
    pub(super) new_keyring: bool,
    pub(super) no_pivot: bool,
    pub(super) gate: BorrowedFd<'a>,
    pub(super) report: BorrowedFd<'a>,
    pub(super) hold: Option<BorrowedFd<'a>>,
    pub(super) preserve: u32,
}

/// Reads and checks the configuration of the bundle at `bundle`.
pub fn read_plan(bundle: &Path) -> Result<Plan, LaunchError> {
    Ok(spec::parse(&read_document(bundle)?)?)
}

/// The configuration of the bundle at `bundle` as it is written.
pub(super) fn read_document(bundle: &Path) -> Result<Vec<u8>, OpError> {
    let path = bundle.join("config.json");
    std::fs::read(&path).op("read", &path)
}

/// Makes the container's init and returns when it waits at the gate.
pub fn launch(l: Launch<'_>) -> Result<Launched, LaunchError> {
    let plan = read_plan(l.bundle)?;
    launch_plan(&l, &plan)
}

/// As [`launch`], of a configuration that has been read already.
pub fn launch_plan(l: &Launch<'_>, plan: &Plan) -> Result<Launched, LaunchError> {
    let Some(process) = &plan.process else {
        return Err(SpecError { field: "process".into(), problem: "is missing".into() }.into());
    };
    label::check(process, plan.mount_label.as_ref())?;
    // The init is a copy of this process; see `exec` for whom it must not be open to.
    nix::sys::prctl::set_dumpable(false).op("make", "the worker not dumpable")?;
    let ways = Ways::open(l, plan)?;
    let mut cgroup_dir = l.cgroup.dir_fd()?;
    super::resources::restrict_devices(l.cgroup, cgroup_dir.as_ref(), &plan.resources.devices)?;
    if let Some(ids) = &ways.ids {
        give_to_user(l, plan, process, ids)?;
    }
    let v2 = cgroup_dir.is_some();
    if ways.joins_user() {
        // The group is not open any more to who makes the init.
        cgroup_dir = None;
    }
    let mut prepared = prepare(l, plan, process.clone(), &ways, &cgroup_source(l.cgroup, v2, plan))?;
    prepared.cgroup_entry = if cgroup_dir.is_some() { None } else { Some(l.cgroup.entry()?) };
    let (ours, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let mut ours = Some(ours);
    let args = CloneArgs {
        namespaces: ways.new as u32 as u64,
        sibling: l.sibling,
        cgroup: cgroup_dir.as_ref().map(AsFd::as_fd),
    };
    let child = ways.clone(&args, &mut prepared, init::stage, |prepared| {
        // The init waits for the worker, and must see it end.
        drop(ours.take());
        run_init(prepared, &theirs)
    })?;
    // The init has its own of all that it is made of. What is done here now is done while it sets itself up.
    drop(theirs);
    let (filter, held) = (prepared.filter.take(), prepared.held);
    let limited = prepared.files.map_or(Ok(()), limit_files);
    drop(prepared);
    let start_time = start_time(child.pid).ok().flatten();
    let Some(ours) = ours else { return Err(LaunchError::Died) };
    let mut moved = None;
    let told = Told { plan, id: l.id, bundle: l.bundle, status: "creating", init: None };
    let listener = filter.as_ref().and_then(|filter| filter.listener.as_ref());
    let hand_on = |number: &[u8]| listener::hand_on(listener, number, &child, &told, &ours);
    let ready = limited
        .map_err(LaunchError::from)
        .and_then(|()| let_in(&ways, process, &ours, child.pid))
        .and_then(|()| hosts_part(l, plan, &ours, &child, &mut moved))
        .and_then(|()| hear_ready(&ours, l.interrupt, hand_on));
    match ready {
        Ok(terminal) => {
            let (pid, pidfd) = (child.pid, child.pidfd);
            Ok(Launched { pid, start_time, pidfd, terminal, warnings: warnings(process, held) })
        }
        Err(e) => {
            // It may be stuck rather than dead. A sibling is reaped by its parent.
            let _ = pidfd::signal(&child.pidfd, libc::SIGKILL);
            if !l.sibling {
                pidfd::reap(&child.pidfd);
            }
            // A device would go with the namespace.
            moved.into_iter().for_each(device::Moved::bring_back);
            Err(e)
        }
    }
}

/// Opens everything that the init is made of but its way into the group.
fn prepare<'a>(
    l: &Launch<'a>,
    plan: &'a Plan,
    process: Process,
    ways: &'a Ways<'a>,
    cgroup: &CgroupSource,
) -> Result<Prepared<'a>, LaunchError> {
    Ok(Prepared {
        plan,
        id: l.id,
        process,
        // Before anything of the mounts is opened.
        files: room_for_mounts(plan)?,
        held: caps::held(plan.namespaces.has(libc::CLONE_NEWUSER)),
        filter: program::filter(plan)?,
        bundle: l.bundle,
        attach_at: attach_at(l.bundle, plan),
        root: Some(open_root(l.bundle, plan)?),
        sources: Sources::open(plan, l.bundle, cgroup)?,
        cgroup_entry: None,
        ways,
        stdio: l.stdio,
        new_keyring: l.new_keyring,
        no_pivot: l.no_pivot,
        gate: l.gate,
        report: l.report,
        hold: l.hold,
        preserve: l.preserve,
    })
}

/// Mounts from which on their makers may have more files open than anything else that runs.
const MANY_MOUNTS: usize = 100;

/// Makes room for many mounts, and gives the limit that is to be [set](limit_files) again.
fn room_for_mounts(plan: &Plan) -> Result<Option<u64>, OpError> {
    if plan.mounts.len() < MANY_MOUNTS {
        return Ok(None);
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).op("read", "RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).op("raise", "RLIMIT_NOFILE")?;
    Ok(Some(soft))
}

/// Lowers the soft limit of open files to `most`. The hard limit stays as it is: it may have been raised for the program.
pub fn limit_files(most: u64) -> Result<(), OpError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).op("read", "RLIMIT_NOFILE")?;
    if soft <= most {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, most, hard).op("set", "RLIMIT_NOFILE")
}

/// What a process asks for that counts for nothing. `held` is what its bounding set holds to begin with.
pub(super) fn warnings(process: &Process, held: u64) -> Vec<String> {
    let mut names = process.unknown_capabilities.clone();
    names.extend(caps::withheld(process.capabilities, held));
    match names.is_empty() {
        true => Vec::new(),
        false => vec![format!("ignoring unknown or unavailable capabilities: [{}]", names.join(" "))],
    }
}

/// Gives to the process's user outside what the init, whose rights end with its user namespace, cannot give away.
fn give_to_user(l: &Launch<'_>, plan: &Plan, process: &Process, ids: &IdMaps) -> Result<(), OpError> {
    let Some(user) = spec::outside(&ids.users, process.uid) else { return Ok(()) };
    program::give_streams(l.stdio, user)?;
    // By the runtime specification, for a container that may make groups of its own below.
    let own = plan.namespaces.new & libc::CLONE_NEWCGROUP != 0;
    let writes = |m: &Mount| m.kind == MountKind::Cgroup && m.change.set & attr::RDONLY == 0;
    match own && plan.mounts.iter().any(writes) {
        true => l.cgroup.give_to(user),
        false => Ok(()),
    }
}

/// The whole life of the child; gives its exit code when it did not become the program.
fn run_init(prepared: &mut Prepared<'_>, ready: &OwnedFd) -> i32 {
    let program = match init::set_up(prepared, ready) {
        Ok((program, terminal)) => match announce_ready(ready, terminal.as_ref()) {
            Ok(()) => program,
            // The worker is gone: nobody is left to open the gate or to hear of it.
            Err(_) => return 1,
        },
        Err(e) => {
            announce(ready, &e);
            return e.shell_code();
        }
    };
    match init::go(prepared, &program) {
        Err(e) => {
            let _ = nix::unistd::write(prepared.report, &e.to_bytes());
            e.shell_code()
        }
    }
}

/// Worker: maps the identities of a new user namespace, for which its first process waits.
fn let_in(ways: &Ways<'_>, process: &Process, socket: &OwnedFd, pid: u32) -> Result<(), LaunchError> {
    if ways.makes_user() {
        program::endow(process, pid)?;
        ways.map_ids(pid)?;
        // A child that is gone by now has said why, or is about to be missed.
        let _ = fd::send_with(socket, &[MAPPED], &[]);
    }
    Ok(())
}

/// Whether the host has something to do between the container's mounts and its entering them.
fn has_hosts_part(plan: &Plan) -> bool {
    !plan.net_devices.is_empty()
        || !plan.hooks.of(HookKind::Prestart).is_empty()
        || !plan.hooks.of(HookKind::CreateRuntime).is_empty()
}

/// Child: lets the host do its part, and waits for it. Fails when the worker has gone or was not able to.
pub(super) fn await_hosts_part(socket: &OwnedFd, plan: &Plan) -> Result<(), OpError> {
    if !has_hosts_part(plan) {
        return Ok(());
    }
    fd::send_with(socket, &[BUILT], &[]).op("tell", "the worker")?;
    await_worker(socket)
}

/// Worker: does the host's part once the child is built. What is `moved` may have to come back.
fn hosts_part(
    l: &Launch<'_>,
    plan: &Plan,
    socket: &OwnedFd,
    child: &Child,
    moved: &mut Option<device::Moved>,
) -> Result<(), LaunchError> {
    if !has_hosts_part(plan) {
        return Ok(());
    }
    match hear(socket, l.interrupt)? {
        Word::Built => {}
        _ => return Err(LaunchError::Died),
    }
    if !plan.net_devices.is_empty() {
        // The child waits for us: the number is its own.
        let path = format!("/proc/{}/ns/net", child.pid);
        let netns = std::fs::File::open(&path).op("open namespace", &path)?;
        let names = plan.net_devices.iter().map(|d| (d.host_name.as_str(), d.name.as_str()));
        *moved = Some(device::move_all(names, netns.as_fd())?);
    }
    for kind in [HookKind::Prestart, HookKind::CreateRuntime] {
        let subject = Subject::new(l.id, l.bundle, plan).until(l.interrupt).with_init(child.pidfd.as_fd());
        subject.run(kind, plan.hooks.of(kind), Some(child.pid))?;
    }
    fd::send_with(socket, &[BUILT], &[]).op("let go on", "the container's process")?;
    Ok(())
}

/// Where the root file system is until the init enters it. Hooks look for it where the document says it is, and for the
/// document in the bundle; without them the one directory that is certainly there is as good.
fn attach_at(bundle: &Path, plan: &Plan) -> PathBuf {
    let seen = [HookKind::Prestart, HookKind::CreateRuntime, HookKind::CreateContainer];
    let root = plan.root.as_ref().filter(|_| seen.iter().any(|kind| !plan.hooks.of(*kind).is_empty()));
    root.map(|root| bundle.join(root)).filter(|root| root.is_dir()).unwrap_or_else(|| bundle.to_owned())
}

fn open_root(bundle: &Path, plan: &Plan) -> Result<OwnedFd, LaunchError> {
    let path = bundle.join("snapshot");
    match std::fs::read(&path) {
        Ok(bytes) => {
            let bad = |source| LaunchError::Bundle { path: path.display().to_string(), source };
            let snapshot = Snapshot::from_bytes(&bytes).map_err(bad)?;
            let Snapshot { lower, upper, work, .. } = &snapshot;
            Ok(overlay::assemble(overlay::Layers { lower, upper, work }, &plan.namespaces.ids)?)
        }
        Err(e) if e.kind() == io::ErrorKind::NotFound => match &plan.root {
            Some(root) => Ok(rootfs::bind(&bundle.join(root), plan.root_propagation)?),
            None => Err(SpecError { field: "root".into(), problem: "is missing".into() }.into()),
        },
        Err(e) => Err(OpError::new("read", path.display().to_string(), e).into()),
    }
}

fn cgroup_source(group: &Group, v2: bool, plan: &Plan) -> CgroupSource {
    if v2 {
        let mut dir = group.dirs().into_iter().next().unwrap_or_default();
        if !plan.namespaces.has(libc::CLONE_NEWCGROUP) {
            for _ in group.path().components() {
                dir.pop();
            }
        }
        return CgroupSource::V2(dir);
    }
    let mut hierarchies: Vec<(Vec<String>, PathBuf)> = Vec::new();
    for controller in Controller::ALL.iter().chain(group.further()) {
        let Some(dir) = group.controller_dir(*controller) else { continue };
        let name = controller.name();
        // Where distributions mount it, a named hierarchy is a directory of its name.
        let name = name.strip_prefix("name=").unwrap_or(name).to_owned();
        match hierarchies.iter_mut().find(|(_, d)| *d == dir) {
            Some((names, _)) => names.push(name),
            None => hierarchies.push((vec![name], dir)),
        }
    }
    CgroupSource::V1(hierarchies)
}

/// Reads what the init wrote to the other end of `report`: `Ok` when execve succeeded.
pub fn read_report(report: impl Into<std::fs::File>, interrupt: Interrupt<'_>) -> Result<(), LaunchError> {
    let (mut report, mut bytes, mut buffer) = (report.into(), Vec::new(), [0; 4096]);
    loop {
        interrupt.wait(&report)?;
        match io::Read::read(&mut report, &mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e).op("hear from", "the container's init")?,
        }
    }
    match report::failure(&bytes) {
        Some(error) => Err(error.map_or(LaunchError::Died, LaunchError::Init)),
        None if bytes.is_empty() => Err(LaunchError::Died),
        None => Ok(()),
    }
}
