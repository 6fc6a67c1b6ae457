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
use super::state::{Record, StateError, Status, Table};
use crate::errno::OpContext;
use crate::spec::HookKind;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use std::fs::File;
use std::io::Write;

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
    // Fails with ENXIO when the init is gone.
    let opens = nix::fcntl::open(&gate, OFlag::O_WRONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC, Mode::empty())
        .op("open the gate of", id)?;
    File::from(opens).write_all(b"g").op("open the gate of", id)?;
    nix::fcntl::fcntl(&hears, nix::fcntl::FcntlArg::F_SETFL(OFlag::empty())).op("wait on", &report)?;
    let result = read_report(hears);
    let _ = std::fs::remove_file(&gate);
    let _ = std::fs::remove_file(&report);
    let result = result.map_err(VerbError::from).and_then(|()| poststart(&record));
    let by_hook = match &result {
        Err(VerbError::Launch(LaunchError::Init(e))) => e.stage == Stage::Hooks,
        Err(VerbError::Hook(_)) => true,
        _ => false,
    };
    if by_hook {
        // The hook's error is the one to tell.
        let _ = record.group().map(|group| end_and_remove(table, slot, &record, &group));
        return result;
    }
    result?;
    match listener {
        Some(listener) => {
            // Others may use the container until it is ready.
            drop(slot);
            Ok(listener.wait_for(record.pid)?)
        }
        None => Ok(()),
    }
}

fn poststart(record: &Record) -> Result<(), VerbError> {
    let hooks = record.hooks.of(HookKind::Poststart);
    Ok(Subject::of(record).run(HookKind::Poststart, hooks, Some(record.pid))?)
}
