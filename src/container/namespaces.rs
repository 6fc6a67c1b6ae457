//! The namespaces of a container, entered and made in the order that their owners allow.
//!
//! ```text
//! most containers                        those that a go-between is for
//! worker: clone3(new ones) ─→ init       worker: clone ─→ go-between: enters joined ones, sets clocks
//! init:   enters joined ones                              clone3(new ones, CLONE_PARENT) ─→ init, the worker's child
//! ```
//! A go-between is for what takes effect for children only (pid, clocks) and for what has to be entered before a user
//! namespace is, because its rights end there. A worker whose child is to be its sibling ends soon and is its own
//! go-between.
//!
//! The user namespace is the first that is made or, of those that are joined, the first whose rights count: clone3 makes
//! all others inside it, so that they belong to it (else the container could mount no sysfs and set no parameter). What
//! is joined and belongs to the host is entered before it, what belongs to it afterwards. The init of a new one waits
//! until the worker has mapped its identities, and becomes its root. A mount namespace that is joined is the last one.
//!
//! New clocks belong to the host's user namespace when the container's is new: they are set before it is made, and
//! nothing inside may change them.

use super::ahead::{Netns, take_up_loopback};
use super::launch::{Launch, LaunchError};
use super::report::{AtStage, Stage};
use super::{between, program};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::spec::{IdMaps, Plan, SpecError, kind_name, lines, parse_lines};
use crate::sys::clone::{Child, CloneArgs, clone, enter_namespace};
use crate::sys::namespace::{self, Identities, MountHome};
use nix::unistd::{Gid, Uid};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A namespace to enter.
#[derive(Debug)]
pub(super) struct Joined {
    kind: i32,
    path: PathBuf,
    file: OwnedFd,
}

impl Joined {
    fn enter(&self) -> Result<(), OpError> {
        enter_namespace(&self.file, self.kind).op(enter_words(self.kind), &self.path)
    }
}

fn enter_words(kind: i32) -> &'static str {
    match kind {
        libc::CLONE_NEWUSER => "enter user namespace",
        libc::CLONE_NEWTIME => "enter time namespace",
        libc::CLONE_NEWPID => "enter pid namespace",
        libc::CLONE_NEWNS => "enter mount namespace",
        libc::CLONE_NEWNET => "enter network namespace",
        _ => "enter namespace",
    }
}

/// Everything about the namespaces of a container in the making.
#[derive(Debug)]
pub(super) struct Ways<'a> {
    plan: &'a Plan,
    joined: Vec<Joined>,
    /// In place of the document's.
    netns: Option<Netns<'a>>,
    /// `CLONE_NEW*` of those that clone3 makes. The cgroup namespace is made by the init once it is in its group.
    pub(super) new: i32,
    /// They take a go-between.
    staged: bool,
    /// Ends the wait for that.
    interrupt: Interrupt<'a>,
    /// Users and groups of its user namespace, if it has one.
    pub(super) ids: Option<IdMaps>,
}

impl<'a> Ways<'a> {
    /// Opens and looks at what `plan` joins.
    pub(super) fn open(l: &Launch<'a>, plan: &'a Plan) -> Result<Self, LaunchError> {
        let mut joined = Vec::new();
        let mut new = plan.namespaces.new & !libc::CLONE_NEWCGROUP;
        for (kind, path) in &plan.namespaces.join {
            if *kind != libc::CLONE_NEWNET || l.netns.is_none() {
                let namespace = open(*kind, path.clone())?;
                if *kind == libc::CLONE_NEWNET {
                    check_not_hosts(&namespace, plan)?;
                }
                joined.push(namespace);
            }
        }
        if let Some(netns) = l.netns {
            new &= !libc::CLONE_NEWNET;
            if new & libc::CLONE_NEWUSER != 0 {
                // It was made for this container, in the user namespace that is to be the container's.
                let file = namespace::owner(netns.get()?).op("find the user namespace of", "the network namespace")?;
                joined.push(Joined { kind: libc::CLONE_NEWUSER, path: "of the network namespace".into(), file });
                new &= !libc::CLONE_NEWUSER;
            }
        }
        if !plan.namespaces.clocks.is_empty() {
            new &= !libc::CLONE_NEWTIME;
        }
        let mut ways = Self { plan, joined, netns: l.netns, new, staged: false, interrupt: l.interrupt, ids: None };
        ways.staged = ways.is_staged();
        if plan.namespaces.has(libc::CLONE_NEWUSER) {
            ways.ids = Some(ways.find_ids()?);
        }
        Ok(ways)
    }

    fn is_staged(&self) -> bool {
        const FIRST: i32 = libc::CLONE_NEWPID | libc::CLONE_NEWUSER | libc::CLONE_NEWTIME;
        let first = self.joined.iter().any(|j| j.kind & FIRST != 0) || !self.plan.namespaces.clocks.is_empty();
        let mut before_user = self.joined.iter().any(|j| j.kind != libc::CLONE_NEWNS);
        before_user |= self.netns.is_some();
        first || self.makes_user() && before_user
    }

    fn user(&self) -> Option<&Joined> {
        self.joined.iter().find(|j| j.kind == libc::CLONE_NEWUSER)
    }

    /// Whether the init is the first process of a user namespace.
    pub(super) fn makes_user(&self) -> bool {
        self.new & libc::CLONE_NEWUSER != 0
    }

    /// Whether the init is made by one who has given up the host's rights.
    pub(super) fn joins_user(&self) -> bool {
        self.user().is_some()
    }

    /// Of a new user namespace as the document says, of one that is joined as the kernel does.
    fn find_ids(&self) -> Result<IdMaps, LaunchError> {
        let asked = &self.plan.namespaces.ids;
        let Some(user) = self.user().filter(|_| self.plan.namespaces.new & libc::CLONE_NEWUSER == 0) else {
            return Ok(asked.clone());
        };
        let (users, groups) = namespace::ids_of(&user.file).op("look into user namespace", &user.path)?;
        let found = IdMaps { users: parse_lines(&users), groups: parse_lines(&groups) };
        if !asked.is_empty() && *asked != found {
            let problem = format!("differs from the mappings of the namespace `{}`", user.path.display());
            return Err(SpecError { field: "linux.uidMappings".into(), problem }.into());
        }
        Ok(found)
    }

    /// Whether the container's mounts are a copy of somebody's with more rights, see [`crate::rootfs::stage`].
    pub(super) fn copies_mounts(&self) -> bool {
        self.ids.is_some() && self.new & libc::CLONE_NEWNS != 0
    }

    /// Makes the init of `stuff`, in the namespaces that are entered before it is made. `stage` is called first where the
    /// init [copies mounts](Ways::copies_mounts), in the mount namespace that it copies.
    pub(super) fn clone<T>(
        &self,
        args: &CloneArgs<'_>,
        stuff: &mut T,
        stage: impl FnOnce(&mut T) -> Result<(), OpError>,
        child: impl FnOnce(&mut T) -> i32,
    ) -> Result<Child, LaunchError> {
        // While it is being made there are two threads.
        self.netns.map(Netns::get).transpose()?;
        if self.staged && !args.sibling {
            return self.clone_through(args, stuff, stage, child);
        }
        let home = self.leave_home()?;
        let staged = home.as_ref().map_or(Ok(()), |_| stage(stuff));
        let entered = staged.and_then(|()| if self.staged { self.enter_first() } else { Ok(()) });
        let made = entered.and_then(|()| clone(args, || child(stuff)).op("clone", "the container's init"));
        let home = home.map_or(Ok(()), |home| home.come_back().op("go back to", "the host's mounts"));
        // Out of a user namespace that was joined nobody can, nor needs to: whoever is there ends soon.
        let home = home.or_else(|e| if self.joins_user() { Ok(()) } else { Err(e) });
        Ok(made.and_then(|made| home.map(|()| made))?)
    }

    /// Goes where the init copies its mounts from, if it does.
    fn leave_home(&self) -> Result<Option<MountHome>, OpError> {
        self.copies_mounts().then(MountHome::leave).transpose().op("copy", "the host's mounts")
    }

    fn clone_through<T>(
        &self,
        args: &CloneArgs<'_>,
        stuff: &mut T,
        stage: impl FnOnce(&mut T) -> Result<(), OpError>,
        child: impl FnOnce(&mut T) -> i32,
    ) -> Result<Child, LaunchError> {
        let args = CloneArgs { namespaces: args.namespaces, sibling: true, cgroup: args.cgroup };
        let enter = move |_: &OwnedFd| {
            let staged = self.leave_home().and_then(|home| home.map_or(Ok(()), |_| stage(stuff)));
            staged.and_then(|()| self.enter_first()).at(Stage::Isolate)?;
            Ok(move || child(stuff))
        };
        let (init, guard) = between::clone_through(&CloneArgs::default(), &args, self.interrupt, enter)?;
        guard.release();
        Ok(init)
    }

    /// What comes before the init is made, by the one who makes it.
    fn enter_first(&self) -> Result<(), OpError> {
        // While the host's /proc is in sight and open to us.
        let clocks = match self.plan.namespaces.clocks.is_empty() {
            true => None,
            false => Some(File::options().write(true).open(CLOCKS).op("open (linux.timeOffsets)", CLOCKS)?),
        };
        let user = self.user();
        let others = self.joined.iter().filter(|j| !matches!(j.kind, libc::CLONE_NEWUSER | libc::CLONE_NEWNS));
        let mut later = Vec::new();
        for other in others {
            match other.enter() {
                Err(e) if user.is_some() && e.errno() == Some(libc::EPERM) => later.push(other),
                done => done?,
            }
        }
        if let Some(netns) = self.netns {
            enter_namespace(netns.get()?, libc::CLONE_NEWNET).op("enter", "the network namespace")?;
        }
        if let Some(user) = user {
            // What the init gets from us it has not got the rights for.
            self.plan.process.as_ref().map_or(Ok(()), |process| program::endow(process, 0))?;
            user.enter()?;
        }
        later.into_iter().try_for_each(Joined::enter)?;
        let Some(clocks) = clocks else { return Ok(()) };
        nix::sched::unshare(nix::sched::CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))
            .op("make", "a time namespace")?;
        let offsets = self.plan.namespaces.clocks.iter();
        let offsets: String = offsets.map(|(name, s, ns)| format!("{name} {s} {ns}\n")).collect();
        io::Write::write_all(&mut &clocks, offsets.as_bytes()).op("set linux.timeOffsets to", offsets.trim_end())
    }

    /// Worker: maps the identities of a new user namespace whose first process is `pid`.
    pub(super) fn map_ids(&self, pid: u32) -> Result<(), OpError> {
        let Some(ids) = self.ids.as_ref().filter(|_| self.makes_user()) else { return Ok(()) };
        for (of, map, field) in [
            (Identities::Users, &ids.users, "write linux.uidMappings to"),
            (Identities::Groups, &ids.groups, "write linux.gidMappings to"),
        ] {
            namespace::map(pid, of, &lines(map)).op(field, namespace::map_path(pid, of))?;
        }
        Ok(())
    }

    /// Init: enters what is left to enter, and takes up the loopback device of a network that is its own.
    pub(super) fn enter_rest(&self) -> Result<(), OpError> {
        if self.new & libc::CLONE_NEWNET != 0 {
            take_up_loopback()?;
        }
        let left = |j: &&Joined| !self.staged && j.kind != libc::CLONE_NEWNS;
        self.joined.iter().filter(left).try_for_each(Joined::enter)?;
        if let Some(netns) = self.netns.filter(|_| !self.staged) {
            enter_namespace(netns.get()?, libc::CLONE_NEWNET).op("enter", "the network namespace")?;
        }
        self.joined.iter().filter(|j| j.kind == libc::CLONE_NEWNS).try_for_each(Joined::enter)
    }
}

/// The offsets of the clocks that children of the calling process get.
const CLOCKS: &str = "/proc/self/timens_offsets";

fn open(kind: i32, path: PathBuf) -> Result<Joined, LaunchError> {
    let file: OwnedFd = File::open(&path).op("open namespace", &path)?.into();
    let bad = |problem: String| {
        let field = format!("linux.namespaces ({})", kind_name(kind));
        LaunchError::Spec(SpecError { field, problem: format!("`{}` {problem}", path.display()) })
    };
    match namespace::kind(&file) {
        Ok(found) if found == kind => {}
        Ok(found) => return Err(bad(format!("is a {} namespace", kind_name(found)))),
        Err(_) => return Err(bad("is no namespace".into())),
    }
    // Its root would be moved under everything that runs in it.
    let hosts = |of: &str| File::open(of).and_then(|own| namespace::same(&own, &file)).unwrap_or(false);
    if kind == libc::CLONE_NEWNS && (hosts("/proc/self/ns/mnt") || hosts("/proc/1/ns/mnt")) {
        return Err(bad("is the host's".into()));
    }
    Ok(Joined { kind, path, file })
}

/// Parameters of the host's network are not a container's to set, nor are its devices to be given to itself.
fn check_not_hosts(netns: &Joined, plan: &Plan) -> Result<(), OpError> {
    if plan.net_devices.is_empty() && !plan.sysctl.iter().any(|(name, _)| name.starts_with("net")) {
        return Ok(());
    }
    let own = File::open("/proc/self/ns/net").op("look at", "/proc/self/ns/net")?;
    if !namespace::same(&own, &netns.file).op("look at", &netns.path)? {
        return Ok(());
    }
    let hosts = io::Error::new(io::ErrorKind::InvalidInput, "not allowed in the host network namespace");
    Err(hosts).op("use net sysctls or linux.netDevices with namespace", &netns.path)
}

/// Becomes root of the user namespace that this process has just got into, and leaves the host's groups, unless
/// it is one in which nobody may, which `denied` says: made without privileges.
pub(super) fn become_root(denied: impl FnOnce() -> bool) -> Result<(), OpError> {
    match nix::unistd::setgroups(&[]) {
        Err(nix::Error::EPERM) if denied() => {}
        other => other.op("leave", "the host's groups")?,
    }
    let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid).op("become group 0 of", "the user namespace")?;
    nix::unistd::setresuid(uid, uid, uid).op("become root of", "the user namespace")
}

/// Whether the user namespace of this process lets nobody change groups, for all that its /proc says.
pub(super) fn setgroups_denied() -> bool {
    setgroups_denied_to("self")
}

/// As [`setgroups_denied`], of process `pid`.
pub(super) fn setgroups_denied_to(pid: impl std::fmt::Display) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/setgroups")).is_ok_and(|said| said.trim() == "deny")
}
