//! `start`: lets the init of a created container go.

use super::create::VerbError;
use super::launch::read_report;
use super::notify::Listener;
use super::state::{StateError, Status, Table};
use crate::errno::OpContext;
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
