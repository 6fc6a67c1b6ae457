//! `create`: a container whose init waits at the gate. A failure takes everything back.

use super::ahead::{Ahead, Netns};
use super::console::{self, TerminalTo};
use super::delete::{self, run_poststop};
use super::hooks::HookError;
use super::launch::{Launch, LaunchError, Launched, launch_plan, read_document};
use super::scope::{self, Scope, Wanted};
use super::state::{Record, Slot, StateError, Table};
use super::{mark, notify};
use crate::cgroup::{Group, Version};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::spec::{self, OCI_VERSION, Plan, SpecError};
use crate::sys::pidfd;
use crate::systemd;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// What to create.
#[derive(Debug)]
pub struct Create<'a> {
    /// Its id, free in the table.
    pub id: &'a str,
    /// Its bundle.
    pub bundle: &'a Path,
    /// Where its init's pid is written for the caller.
    pub pid_file: Option<&'a Path>,
    /// Sockets of the service manager's from 3 on that the program inherits and is told of.
    pub listen_fds: u32,
    /// Descriptors after those that the program inherits.
    pub preserve: u32,
    /// Where a terminal of the program goes.
    pub terminal: TerminalTo,
    /// The root is changed by mount and chroot.
    pub no_pivot: bool,
    /// The program gets a session keyring of its own.
    pub new_keyring: bool,
    /// The host's service manager wants to hear when the program is ready.
    pub notify: bool,
    /// systemd makes the control group.
    pub systemd: bool,
    /// Standard streams of the program.
    pub stdio: [BorrowedFd<'a>; 3],
}

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    /// The table refused.
    #[error(transparent)]
    State(#[from] StateError),
    /// The container cannot be launched.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// A hook that runs when the container has been started failed.
    #[error(transparent)]
    Hook(#[from] HookError),
    /// The kernel refused something else.
    #[error(transparent)]
    Op(#[from] OpError),
}

/// A container that was created, and what its creator still holds.
#[derive(Debug)]
pub struct Created {
    /// Its place in the table, locked.
    pub slot: Slot,
    /// Its init.
    pub launched: Launched,
    /// Its group.
    pub group: Group,
    /// What is recorded of it.
    pub record: Record,
}

impl Created {
    /// Ends the container and removes everything of it, while its name is still its own.
    pub fn take_back(self, table: &Table) -> Result<(), VerbError> {
        delete::end_and_remove(table, self.slot, &self.record, &self.group)
    }
}

/// Creates a container.
pub fn create(table: &Table, c: &Create<'_>) -> Result<Created, VerbError> {
    let bundle = find_bundle(c)?;
    let (mut plan, document) = plan_of(&bundle, c)?;
    let ahead = begin(&plan, c);
    let slot = table.claim(c.id)?;
    if let Err(e) = slot.keep_document(&document) {
        return Err(undo(slot, None, e.into()));
    }
    if c.notify
        && let Err(e) = notify::prepare(&mut plan, &slot.notify())
    {
        return Err(undo(slot, None, e.into()));
    }
    let made = fifo(&slot.gate()).and_then(|gate| Ok((gate, fifo(&slot.report())?)));
    let (gate, report) = match made {
        Ok(ends) => ends,
        Err(e) => return Err(undo(slot, None, e.into())),
    };
    create_in(
        table,
        slot,
        &plan,
        &bundle,
        c,
        Ends { gate: gate.as_fd(), report: report.as_fd(), interrupt: Interrupt::default(), ahead },
    )
}

/// The bundle's own path. It is part of the state, which is JSON.
pub(super) fn find_bundle(c: &Create<'_>) -> Result<PathBuf, OpError> {
    let bundle = std::fs::canonicalize(c.bundle).op("find bundle", c.bundle)?;
    match bundle.to_str() {
        Some(_) => Ok(bundle),
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8")).op("use bundle", &bundle),
    }
}

/// What can be made before the container has a name. systemd is given a placeholder to keep, for which this process is
/// cloned and so must have one thread.
pub(super) fn begin(plan: &Plan, c: &Create<'_>) -> Option<Ahead> {
    if c.systemd { None } else { Ahead::start(plan) }
}

/// The bundle's plan, with what the caller adds to it, and the document that it is of.
pub(super) fn plan_of(bundle: &Path, c: &Create<'_>) -> Result<(Plan, Vec<u8>), VerbError> {
    let document = read_document(bundle)?;
    let mut plan = spec::parse(&document).map_err(LaunchError::from)?;
    if c.no_pivot && plan.root_propagation & libc::MS_PRIVATE != 0 {
        // The host's mounts are still there, above the root. Who says nothing of it is promised nothing.
        let problem = "rootfsPropagation of [r]private is not safe without pivot_root".into();
        return Err(LaunchError::from(SpecError { field: "linux.rootfsPropagation".into(), problem }).into());
    }
    if let Some(process) = &mut plan.process {
        c.terminal.fits(process.terminal)?;
        if c.terminal == TerminalTo::Caller && process.terminal {
            process.console_size = process.console_size.or_else(console::callers_size);
        }
        if c.listen_fds > 0 {
            process.env.retain(|entry| !entry.to_bytes().starts_with(b"LISTEN_"));
            for entry in [format!("LISTEN_FDS={}", c.listen_fds), "LISTEN_PID=1".into()] {
                process.env.push(CString::new(entry).expect("digits hold no NUL"));
            }
        }
    }
    Ok((plan, document))
}

/// What joins the init and the caller, and what has been begun for it.
pub(super) struct Ends<'a> {
    pub(super) gate: BorrowedFd<'a>,
    pub(super) report: BorrowedFd<'a>,
    pub(super) interrupt: Interrupt<'a>,
    pub(super) ahead: Option<Ahead>,
}

/// As [`create`], with the slot claimed, and the ends chosen by the caller.
pub(super) fn create_in(
    table: &Table,
    slot: Slot,
    plan: &Plan,
    bundle: &Path,
    c: &Create<'_>,
    ends: Ends<'_>,
) -> Result<Created, VerbError> {
    let (group, wanted) = match scope::place(plan, c.id, c.systemd) {
        Ok(place) => place,
        Err(e) => return Err(undo(slot, None, e)),
    };
    let mut record = new_record(plan, bundle, c, &group);
    let created = make(table, &slot, &mut record, plan, c, (&group, wanted), ends);
    match created {
        Ok(launched) => Ok(Created { slot, launched, group, record }),
        Err(e) => {
            let first = undo(slot, Some((&group, &record)), e);
            run_poststop(table, &record);
            Err(first)
        }
    }
}

fn make(
    table: &Table,
    slot: &Slot,
    record: &mut Record,
    plan: &Plan,
    c: &Create<'_>,
    (group, wanted): (&Group, Option<Wanted>),
    ends: Ends<'_>,
) -> Result<Launched, VerbError> {
    record.unit = wanted.as_ref().map(|wanted| wanted.unit.name.clone());
    // Before anything is made, so that `delete --force` finds what a killed create leaves.
    slot.write(record)?;
    // On version 2 the group's directory is systemd's to make.
    let late = wanted.is_some() && group.version() == Version::V2;
    if !late && let Err(e) = mark::take(table, slot, record, group) {
        record.unit = None;
        return Err(e);
    }
    let scope = match wanted {
        // One that cannot be started may be another's, and is not ours to stop.
        Some(wanted) => {
            Some(Scope::start(&wanted, c.id, plan, group, ends.interrupt).inspect_err(|_| record.unit = None)?)
        }
        None => None,
    };
    if late {
        mark::take(table, slot, record, group)?;
    }
    group.create()?;
    group.configure(scope.as_ref().map_or(&plan.resources, Scope::first))?;
    let launch = Launch {
        id: c.id,
        bundle: &record.bundle,
        cgroup: group,
        netns: ends.ahead.as_ref().map(Netns::Ahead),
        stdio: c.stdio,
        sibling: false,
        gate: ends.gate,
        report: ends.report,
        interrupt: ends.interrupt,
        hold: None,
        preserve: c.listen_fds + c.preserve,
        no_pivot: c.no_pivot,
        new_keyring: c.new_keyring,
    };
    let launched = launch_plan(&launch, plan)?;
    record.pid = launched.pid;
    record.start_time = launched.start_time.unwrap_or(0);
    let settled = scope.map_or(Ok(()), |scope| scope.settle(group, ends.interrupt)).map_err(VerbError::from);
    let recorded = settled.and_then(|()| Ok(slot.write(record)?)).and_then(|()| match c.pid_file {
        Some(path) => Ok(write_pid_file(path, launched.pid)?),
        None => Ok(()),
    });
    if recorded.is_err() {
        pidfd::end(&launched.pidfd);
    }
    recorded.map(|()| launched)
}

fn new_record(plan: &Plan, bundle: &Path, c: &Create<'_>, group: &Group) -> Record {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut record = Record {
        oci_version: OCI_VERSION.into(),
        id: c.id.into(),
        pid: 0,
        start_time: 0,
        bundle: bundle.into(),
        rootfs: bundle.join(plan.root.as_deref().unwrap_or(Path::new("rootfs"))),
        cgroup: PathBuf::new(),
        created_ms: since_epoch.as_millis() as u64,
        annotations: plan.annotations.clone(),
        shares_pids: !plan.namespaces.has(libc::CLONE_NEWPID),
        callers_keyring: !c.new_keyring,
        further: Vec::new(),
        hooks: plan.hooks.later(),
        mark: Some(mark::unique(since_epoch)),
        has_group: false,
        unit: None,
    };
    record.set_group(group);
    record
}

/// Writes a pid for a caller that watches the file: whole when it appears. Others may have a link in the way, which is
/// not followed.
pub fn write_pid_file(path: &Path, pid: u32) -> Result<(), OpError> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let new = path.with_file_name(name);
    let file = File::options().write(true).create(true).truncate(true).custom_flags(libc::O_NOFOLLOW).open(&new);
    file.and_then(|mut file| file.write_all(pid.to_string().as_bytes())).op("write", &new)?;
    std::fs::rename(&new, path).op("write", path)
}

/// Opened for both directions, a FIFO has a reader and a writer from the start: nobody waits in open(2), and the init
/// sees no end of file between one writer and the next.
fn fifo(path: &Path) -> Result<OwnedFd, OpError> {
    nix::unistd::mkfifo(path, Mode::S_IRUSR | Mode::S_IWUSR).op("make", path)?;
    nix::fcntl::open(path, OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty()).op("open", path)
}

/// Takes back what was made; the first error is the one to tell. A group that could not be had is left alone.
fn undo(slot: Slot, made: Option<(&Group, &Record)>, first: VerbError) -> VerbError {
    if let Some((group, record)) = made {
        if record.has_group {
            // What hooks have left in it too, which no pid namespace may end.
            let _ = delete::empty(group);
        }
        let _ = record.unit.as_deref().map_or(Ok(()), systemd::stop);
        if record.has_group {
            let _ = group.remove();
        }
    }
    let _ = slot.remove();
    first
}
