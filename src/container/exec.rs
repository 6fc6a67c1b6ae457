//! One more process in a container that runs.
//!
//! ```text
//! worker (host's namespaces, not dumpable)  go-between                        child, seen by the container
//! config.json ─→ process; user from the container's own files
//! clone3 (cgroup on v2) ──────────────────→ labels, oom score, keyring
//!                                           cgroup (v1); all else is closed
//!                                           setns(all, pid too), its root
//!                                           clone3(CLONE_PARENT) ───────────→ session, terminal
//! wait on a socket ←──── ready (and the terminal) ────────────────────────── identity, filter, directory, program
//! let it go ────────────────────────────────────────────────────────────────→ waits for one byte
//!                  ←──── InitError, or the end of file at execve ─────────── execve
//! ```
//! The child is inside the container's pid namespace while it still is a copy of the worker: the container's processes
//! can see it, and keep it from going on at any step. So it is born with what it is to have: the container's root,
//! namespaces, group, user and labels, and nothing of the host's open but its streams and the socket. They must not be
//! able to look into it or to trace it either: it is not dumpable. The go-between stays as its guard until its program
//! runs, and ends it with the worker. A go-between may be killed before it has told of the child, which nobody ends then:
//! so the child becomes the program on the worker's word only, and exits where that never comes.

use super::between::{self, Guard};
use super::launch::{LaunchError, Launched, read_plan, warnings};
use super::listener::{self, Told};
use super::namespaces::{become_root, setgroups_denied_to};
use super::program;
use super::report::{AtStage, InitError, Stage};
use super::talk::{announce, announce_ready, hear_end, hear_ready};
use super::{init, terminal, user};
use crate::cgroup::{Entry, Group};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::security::caps;
use crate::security::label::{self, Labels};
use crate::security::seccomp::Filter;
use crate::spec::{self, Capabilities, ExecAffinity, FurtherProcess, Plan, Process, SpecError, outside, parse_lines};
use crate::sys::clone::{Child, CloneArgs, close_all_but, enter_namespaces_of};
use crate::sys::{fd, namespace, pidfd, sched};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// What to run and where.
#[derive(Debug)]
pub struct Exec<'a> {
    /// The container's id.
    pub id: &'a str,
    /// The container's bundle.
    pub bundle: &'a Path,
    /// The directory with the config.json that the container was made of: what is not said in `process` is as it says
    /// for the container's own process.
    pub documents: &'a Path,
    /// The container's init in our pid namespace.
    pub init: u32,
    /// The same init, so that no later process is taken for it.
    pub pidfd: BorrowedFd<'a>,
    /// The container's group.
    pub cgroup: &'a Group,
    /// Groups below the container's to run in, in place of it.
    pub subgroups: &'a [Subgroup],
    /// The process.
    pub process: ExecRequest,
    /// Standard streams; with a terminal they are used until there is one.
    pub stdio: [BorrowedFd<'a>; 3],
    /// The process becomes the child of our parent.
    pub sibling: bool,
    /// Ends it with an error as long as its program does not run.
    pub interrupt: Interrupt<'a>,
    /// The program gets a session keyring of its own instead of the caller's.
    pub new_keyring: bool,
    /// Descriptors from 3 on that the program inherits.
    pub preserve: u32,
}

/// A group below a container's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subgroup {
    /// The version 1 controllers it is meant for; none is all.
    pub controllers: Vec<String>,
    /// Its path below the container's group.
    pub path: PathBuf,
}

/// A process as a person or a client asks for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// Program and arguments.
    pub args: Vec<OsString>,
    /// `NAME=value`, added to the container's environment; one that is there is replaced.
    pub env: Vec<String>,
    /// Working directory, or the container's.
    pub cwd: Option<PathBuf>,
    /// `user[:group]` by name or number, or the container's.
    pub user: Option<String>,
    /// That user has HOME and the further groups of the container's process as well, as with runc; else what the
    /// container's own files say of the user, and nothing more.
    pub keeps_home_and_groups: bool,
    /// Give it a terminal of its own.
    pub tty: bool,
    /// Rows and columns of its terminal, where the document does not say.
    pub console_size: Option<(u16, u16)>,
    /// Further groups.
    pub additional_gids: Vec<u32>,
    /// Further capabilities, by name.
    pub capabilities: Vec<String>,
    /// Nothing it executes can gain privileges; else as the container has it.
    pub no_new_privileges: bool,
    /// AppArmor's profile; else as the container has it.
    pub apparmor_profile: Option<String>,
    /// SELinux's context; else as the container has it.
    pub selinux_label: Option<String>,
    /// A whole process document, of which the fields above change parts.
    pub document: Option<FurtherProcess>,
}

/// Runs a process in a container. Returns when its program runs.
pub fn exec(e: &Exec<'_>) -> Result<Launched, LaunchError> {
    let plan = read_plan(e.documents)?;
    nix::sys::prctl::set_dumpable(false).op("make", "the worker not dumpable")?;
    let root = container_root(e)?;
    let process = process(&plan, &e.process, root.as_fd())?;
    drop(root);
    label::check(&process, None)?;
    let rare = plan.namespaces.flags() & (libc::CLONE_NEWUSER | libc::CLONE_NEWTIME);
    let held = caps::held(rare & libc::CLONE_NEWUSER != 0);
    let warnings = warnings(&process, held);
    if rare & libc::CLONE_NEWUSER != 0
        && let Some(user) = user_outside(e, process.uid)?
    {
        program::give_streams(e.stdio, user)?;
    }
    let (cgroup_dir, entry) = way_into_group(e)?;
    let (ours, theirs) = fd::message_pair().op("make", "a socket pair")?;
    let mut joining = Joining {
        plan: &plan,
        process,
        held,
        filter: program::filter(&plan)?,
        entry,
        init: e.init,
        pidfd: e.pidfd,
        rare,
        stdio: e.stdio,
        new_keyring: e.new_keyring,
        preserve: e.preserve,
    };
    let (child, guard) = make(e, &mut joining, cgroup_dir, &theirs)?;
    drop(theirs);
    let told = Told { plan: &plan, id: e.id, bundle: e.bundle, status: "running", init: Some(e.init) };
    let listener = joining.filter.as_ref().and_then(|filter| filter.listener.as_ref());
    let hand_on = |number: &[u8]| listener::hand_on(listener, number, &child, &told, &ours);
    let ready = hear_ready(&ours, e.interrupt, hand_on).and_then(|terminal| {
        // One that has gone need not be told: its end is heard next.
        let _ = fd::send_with(&ours, &[GO], &[]);
        hear_end(&ours, e.interrupt).map(|()| terminal)
    });
    if ready.is_err() {
        let _ = pidfd::signal(&child.pidfd, libc::SIGKILL);
        if !e.sibling {
            pidfd::reap(&child.pidfd);
        }
    }
    guard.release();
    ready.map(|terminal| Launched { pid: child.pid, start_time: None, pidfd: child.pidfd, terminal, warnings })
}

/// Worker to child: it may become its program.
const GO: u8 = 5;

/// Makes the process, which says how it goes on to `ready`.
fn make(
    e: &Exec<'_>,
    joining: &mut Joining<'_>,
    cgroup: Option<OwnedFd>,
    ready: &OwnedFd,
) -> Result<(Child, Guard), LaunchError> {
    let mut start = |cgroup: Option<&OwnedFd>| {
        let first = CloneArgs { sibling: e.sibling, cgroup: cgroup.map(AsFd::as_fd), ..CloneArgs::default() };
        let last = CloneArgs { sibling: true, ..CloneArgs::default() };
        let joining = &mut *joining;
        between::clone_through(&first, &last, e.interrupt, move |between| {
            enter(joining, ready, between)?;
            Ok(move || match run(joining, ready) {
                Err(e) => {
                    announce(ready, &e);
                    e.shell_code()
                }
            })
        })
    };
    match start(cgroup.as_ref()) {
        // The container has given controllers on to groups of its own below, and version 2 takes processes in leaves
        // only: where its init has gone, this one goes too.
        Err(LaunchError::Prepare(error)) if error.errno() == Some(libc::EBUSY) && e.subgroups.is_empty() => {
            match e.cgroup.where_is(e.init)? {
                Some(group) => start(group.dir_fd()?.as_ref()),
                None => Err(error.into()),
            }
        }
        other => other,
    }
}

/// What the container's user `inside` is on the host.
fn user_outside(e: &Exec<'_>, inside: u32) -> Result<Option<u32>, OpError> {
    let path = namespace::map_path(e.init, namespace::Identities::Users);
    let map = std::fs::read_to_string(&path).op("read", &path)?;
    Ok(outside(&parse_lines(&map), inside))
}

/// What the process enters its group by: a directory for clone3, or on version 1 the way in for itself.
fn way_into_group(e: &Exec<'_>) -> Result<(Option<OwnedFd>, Option<Entry>), LaunchError> {
    let bad = |problem: String| SpecError { field: "--cgroup".into(), problem };
    let v2 = e.cgroup.dir_fd()?;
    match (e.subgroups, v2) {
        ([], Some(dir)) => Ok((Some(dir), None)),
        ([], None) => Ok((None, Some(e.cgroup.entry()?))),
        ([only], Some(_)) if only.controllers.is_empty() => Ok((e.cgroup.child(&only.path).dir_fd()?, None)),
        (_, Some(_)) => Err(bad("version 2 has one hierarchy, so one path without controllers".into()).into()),
        (some, None) => {
            let below: Vec<_> = some.iter().map(|s| (s.controllers.as_slice(), s.path.as_path())).collect();
            Ok((None, Some(e.cgroup.entry_below(&below)?)))
        }
    }
}

/// What the go-between and the child need, all of it opened by the worker.
struct Joining<'a> {
    plan: &'a Plan,
    process: Process,
    /// What its bounding set holds to begin with.
    held: u64,
    filter: Option<Filter>,
    /// The go-between has used it up before there is a child.
    entry: Option<Entry>,
    init: u32,
    pidfd: BorrowedFd<'a>,
    /// Namespaces that only some containers have.
    rare: i32,
    stdio: [BorrowedFd<'a>; 3],
    new_keyring: bool,
    preserve: u32,
}

/// Go-between: what its child is born with. `between` and `ready` are all that it has open then, besides the streams.
fn enter(j: &mut Joining<'_>, ready: &OwnedFd, between: &OwnedFd) -> Result<(), InitError> {
    // While the host's /proc is in sight: the container's may be anything. A child has the labels of its maker.
    Labels::open(&j.process).at(Stage::Isolate)?.settle().at(Stage::Identity)?;
    init::stdio(j.stdio).at(Stage::Isolate)?;
    take_hosts_part(j).at(Stage::Isolate)?;
    let user = j.rare & libc::CLONE_NEWUSER != 0;
    let denied = user && setgroups_denied_to(j.init);
    let kept = [ready.as_fd(), between.as_fd(), j.pidfd];
    close_all_but(3 + j.preserve, &kept).op("close", "the host's descriptors").at(Stage::Isolate)?;
    join_namespaces(j, || denied).at(Stage::Isolate)
}

/// What takes rights or files of the host's.
fn take_hosts_part(j: &mut Joining<'_>) -> Result<(), OpError> {
    match j.rare & libc::CLONE_NEWUSER {
        0 => program::set_oom_score(&j.process)?,
        _ => program::endow(&j.process, 0)?,
    }
    if j.new_keyring {
        init::own_keyring(&j.process)?;
    }
    let ExecAffinity { initial, last } = &j.process.exec_affinity;
    match (&initial[..], &last[..]) {
        ([], []) => program::run_anywhere(),
        ([], _) => {}
        (initial, _) => {
            sched::set_affinity(initial).op("run on the processors of", "process.execCPUAffinity.initial")?;
        }
    }
    let Some(entry) = j.entry.take() else { return Ok(()) };
    entry.join().op("enter", "the container's cgroup")
}

fn join_namespaces(j: &Joining<'_>, setgroups_denied: impl FnOnce() -> bool) -> Result<(), OpError> {
    // The pid namespace takes effect for children only; not where the container is in our own already.
    let all = libc::CLONE_NEWPID
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    // Those that only some have: re-entering the host's is refused (user), or takes its time for nothing.
    enter_namespaces_of(j.pidfd, all | j.rare).op("enter", "the container's namespaces")?;
    if j.rare & libc::CLONE_NEWUSER != 0 {
        become_root(setgroups_denied)?;
        // The kernel's setting for those who change their user may be another.
        nix::sys::prctl::set_dumpable(false).op("make", "the process not dumpable")?;
    }
    Ok(())
}

fn run(j: &mut Joining<'_>, ready: &OwnedFd) -> Result<Infallible, InitError> {
    let none = "all descriptors but the standard streams";
    close_all_but(3 + j.preserve, &[ready.as_fd()]).op("close", none).at(Stage::Isolate)?;
    nix::unistd::setsid().op("start", "a session").at(Stage::Isolate)?;
    settle_affinity(&j.process.exec_affinity).at(Stage::Isolate)?;
    program::set_environment(j.plan).at(Stage::Isolate)?;
    let terminal = match j.process.terminal {
        true => Some(own_terminal(&j.process).at(Stage::Terminal)?),
        false => None,
    };
    let kept = terminal.as_ref().map(AsFd::as_fd).into_iter().collect();
    let open = program::Open { worker: ready, kept, preserve: j.preserve };
    let program = program::prepare(&mut j.process, j.filter.as_ref(), j.held, open)?;
    announce_ready(ready, terminal.as_ref()).at(Stage::Gate)?;
    drop(terminal);
    init::pass_gate(ready.as_fd())?;
    program::become_it(&program, &j.process, j.filter.as_ref(), None)
}

/// In the container's group: where the document says, or where the kernel has left it.
fn settle_affinity(affinity: &ExecAffinity) -> Result<(), OpError> {
    match &affinity.last[..] {
        [] => Ok(()),
        last => sched::set_affinity(last).op("run on the processors of", "process.execCPUAffinity.final"),
    }
}

fn own_terminal(process: &Process) -> Result<OwnedFd, OpError> {
    let root = nix::fcntl::open("/", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).op("open", "/")?;
    terminal::open(root.as_fd())?.take(process.console_size, process.uid)
}

/// The container's root directory, certainly of the init that is meant.
fn container_root(e: &Exec<'_>) -> Result<OwnedFd, OpError> {
    let path = format!("/proc/{}/root", e.init);
    let root = nix::fcntl::open(path.as_str(), OFlag::O_PATH | OFlag::O_CLOEXEC | OFlag::O_DIRECTORY, Mode::empty())
        .op("open", &path)?;
    // The pid was the init's when the path was opened if the init is still there now.
    if pidfd::wait_end(e.pidfd, Some(0)).op("look at", "the container's init")? {
        return Err(io::Error::from_raw_os_error(libc::ESRCH)).op("exec in", "a container that has ended");
    }
    Ok(root)
}

fn process(plan: &Plan, request: &ExecRequest, root: BorrowedFd<'_>) -> Result<Process, LaunchError> {
    let bad = |field: &str, problem: String| SpecError { field: field.into(), problem };
    let container = plan.process.as_ref().ok_or_else(|| bad("process", "is missing".into()))?;
    let document = request.document.clone();
    let mut process = document.map_or_else(|| container.clone(), |document| document.within(container));
    if request.document.is_none() {
        process.terminal = false;
        process.console_size = None;
    }
    let c_string = |field: &str, text: &dyn AsRef<OsStr>| {
        CString::new(text.as_ref().as_bytes()).map_err(|_| bad(field, "holds a NUL byte".into()))
    };
    if !request.args.is_empty() {
        process.args = request.args.iter().map(|a| c_string("args", a)).collect::<Result<_, _>>()?;
    } else if request.document.is_none() {
        return Err(bad("args", "is empty".into()).into());
    }
    if let Some(spec) = request.user.as_deref().filter(|u| !u.is_empty()) {
        let found = user::resolve(spec, &user::read(root, "/etc/passwd"), &user::read(root, "/etc/group"))
            .map_err(|e| bad("user", e.to_string()))?;
        if (found.uid, found.gid) != (process.uid, process.gid) {
            change_user(&mut process, found, request.keeps_home_and_groups);
        }
    }
    // After the user, whose HOME may be among them.
    for entry in &request.env {
        let name = entry.split_once('=').map_or(entry.as_str(), |(name, _)| name);
        let same = |e: &CString| e.to_bytes().split(|b| *b == b'=').next() == Some(name.as_bytes());
        process.env.retain(|e| !same(e));
        process.env.push(c_string("env", entry)?);
    }
    if let Some(cwd) = &request.cwd {
        process.cwd = Path::new("/").join(cwd);
    }
    process.terminal |= request.tty;
    process.console_size = process.console_size.or(request.console_size);
    process.no_new_privileges |= request.no_new_privileges;
    process.additional_gids.extend(&request.additional_gids);
    if let Some(profile) = &request.apparmor_profile {
        process.apparmor_profile = Some(c_string("apparmor profile", profile)?);
    }
    if let Some(label) = &request.selinux_label {
        process.selinux_label = Some(c_string("process label", label)?);
    }
    for name in &request.capabilities {
        if !add_capability(&mut process.capabilities, name) {
            process.unknown_capabilities.push(name.clone());
        }
    }
    Ok(process)
}

/// As runc does it: in force, and kept by the programs of other users only where the document lets some be inherited.
/// False when there is none of that name.
fn add_capability(sets: &mut Capabilities, name: &str) -> bool {
    let Some(bit) = spec::capability(name) else { return false };
    sets.bounding |= bit;
    sets.effective |= bit;
    sets.permitted |= bit;
    if sets.inheritable != 0 {
        sets.inheritable |= bit;
        sets.ambient |= bit;
    }
    true
}

fn change_user(process: &mut Process, user: user::User, keeps_home_and_groups: bool) {
    if user.uid != process.uid {
        if !keeps_home_and_groups {
            // The old user's, found by `program::prepare` for the new one.
            process.env.retain(|e| !e.to_bytes().starts_with(b"HOME="));
        }
        // What is in force belongs to root; another user may gain what is bounded by executing files that give it.
        let kept = if user.uid == 0 { process.capabilities.bounding } else { process.capabilities.ambient };
        process.capabilities.effective = kept;
        process.capabilities.permitted = kept;
    }
    process.uid = user.uid;
    process.gid = user.gid;
    if !keeps_home_and_groups {
        process.additional_gids.clear();
    }
    process.additional_gids.extend(user.additional_gids);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_user_has_what_is_the_old_ones_only_where_it_is_to_be_kept() {
        let json = br#"{"args": ["true"], "cwd": "/", "env": ["HOME=/custom", "A="],
            "user": {"uid": 0, "gid": 0, "additionalGids": [77]}}"#;
        let document = spec::parse_process(json).unwrap();
        let config = br#"{"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {"args": ["true"], "cwd": "/"},
            "linux": {"namespaces": [{"type": "mount"}]}}"#;
        let container = spec::parse(config).unwrap().process.unwrap();
        let who = |keeps| {
            let mut process = document.clone().within(&container);
            let found = user::User { uid: 33, gid: 34, additional_gids: vec![4, 34] };
            change_user(&mut process, found, keeps);
            (process.env, process.additional_gids)
        };
        assert_eq!(who(true), (vec![c"HOME=/custom".to_owned(), c"A=".to_owned()], vec![77, 4, 34]));
        assert_eq!(who(false), (vec![c"A=".to_owned()], vec![4, 34]));
    }

    #[test]
    fn a_capability_is_added_to_what_is_in_force() {
        let mut sets = Capabilities::default();
        assert!(add_capability(&mut sets, "net_admin") && add_capability(&mut sets, "CAP_CHOWN"));
        let both = ::caps::Capability::CAP_NET_ADMIN.bitmask() | ::caps::Capability::CAP_CHOWN.bitmask();
        assert_eq!((sets.bounding, sets.effective, sets.permitted), (both, both, both));
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
        assert!(!add_capability(&mut sets, "CAP_NOPE"));
    }
}
