//! `start`: lets the init of a created container go.
//!
//! Hooks that run before the program and after it decide over the container: when one of them fails, it is ended and
//! deleted (runtime specification 1.3). A program that cannot be run leaves a stopped container.

use super::create::VerbError;
use super::delete::end_and_remove;
use super::hooks::Subject;
use super::launch::{LaunchError, read_report};
use super::notify::Listener;
use super::report::Stage;
use super::state::{Record, StateError, Table};
use super::status::{Status, frozen};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::spec::HookKind;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

/// How long an init that was let go may say nothing before its freezer is asked.
const PATIENCE_MS: u16 = 500;

/// Starts a container and returns when its program runs.
pub fn start(table: &Table, id: &str) -> Result<(), VerbError> {
    let slot = table.open(id)?;
    let record = slot.read()?;
    let status = slot.status(&record)?;
    if status != Status::Created {
        return Err(StateError::Wrong { verb: "start", status }.into());
    }
    let listener = Listener::open(&slot.notify())?;
    let (gate, report) = (slot.gate(), slot.report());
    // Before the gate opens, or the init's end of the report could be closed before ours is open.
    let hears = nix::fcntl::open(&report, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
        .op("open", &report)?;
    open_gate(&gate)?;
    nix::fcntl::fcntl(&hears, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).op("wait on", &report)?;
    if !answers(&hears, &gate, &record)? {
        return Err(StateError::Wrong { verb: "start", status: Status::Paused }.into());
    }
    let result = read_report(hears, Interrupt::default());
    let _ = std::fs::remove_file(&gate);
    let _ = std::fs::remove_file(&report);
    // Others may use the container, end it too, while hooks take their time and until it is ready.
    drop(slot);
    let hooks = record.hooks.of(HookKind::Poststart);
    let run_hooks = || Ok(Subject::of(&record).run(HookKind::Poststart, hooks, Some(record.pid))?);
    let result = result.map_err(VerbError::from).and_then(|()| run_hooks());
    if result.as_ref().is_err_and(is_of_hook) {
        remove(table, &record);
    }
    result?;
    match listener {
        Some(listener) => Ok(listener.wait_for(record.pid)?),
        None => Ok(()),
    }
}

fn open_gate(gate: &Path) -> Result<(), VerbError> {
    // One that dies beside us, just now.
    let died = || StateError::Wrong { verb: "start", status: Status::Stopped };
    let opened = nix::fcntl::open(gate, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty());
    let opened = match opened {
        Err(nix::Error::ENXIO) => return Err(died().into()),
        other => other.op("open", gate)?,
    };
    match File::from(opened).write_all(b"g") {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Err(died().into()),
        other => Ok(other.op("open", gate)?),
    }
}

/// Waits for the init's report. False when the init, which still waits at the gate, is frozen: asked where it takes its
/// time only, and then the gate is closed again.
fn answers(report: &OwnedFd, gate: &Path, record: &Record) -> Result<bool, VerbError> {
    loop {
        match poll(&mut [PollFd::new(report.as_fd(), PollFlags::POLLIN)], PATIENCE_MS) {
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(nix::Error::EINTR) => continue,
            Err(e) => return Err(e).op("hear from", "the container's init")?,
        }
        if frozen(&record.group()?) && close_gate(gate)? {
            return Ok(false);
        }
    }
}

/// Takes back what opens the gate. False when the init has it.
fn close_gate(gate: &Path) -> Result<bool, OpError> {
    let opened = nix::fcntl::open(gate, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty());
    match nix::unistd::read(opened.op("open", gate)?, &mut [0]) {
        Ok(n) => Ok(n > 0),
        Err(nix::Error::EAGAIN) => Ok(false),
        Err(e) => Err(e).op("close", gate),
    }
}

fn is_of_hook(error: &VerbError) -> bool {
    match error {
        VerbError::Launch(LaunchError::Init(e)) => e.stage == Stage::Hooks,
        VerbError::Hook(_) => true,
        _ => false,
    }
}

/// Ends and removes the container, unless somebody else has done so. The error of its hook is the one to tell.
fn remove(table: &Table, record: &Record) {
    if let (Ok(Some(slot)), Ok(group)) = (table.open_same(record), record.group()) {
        let _ = end_and_remove(table, slot, record, &group);
    }
}
