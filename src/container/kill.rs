//! `kill`, `pause` and `resume`.

use super::create::VerbError;
use super::mark;
use super::state::{StateError, Table};
use super::status::{Status, frozen, start_time};
use crate::cgroup::Group;
use crate::errno::OpContext;
use crate::sys::pidfd;
use std::collections::HashSet;

/// How many processes of a container are open at a time: well below what a caller may have open.
const OPEN_AT_ONCE: usize = 256;

/// Sends a signal, by number, to the init; with `all` to every process of the container.
pub fn kill(table: &Table, id: &str, signal: i32, all: bool) -> Result<(), VerbError> {
    let record = table.read(id)?;
    let status = table.status(&record)?;
    if all {
        let Some(group) = mark::group_of(&record)? else { return Ok(()) };
        if signal == libc::SIGKILL {
            return Ok(group.kill()?);
        }
        return signal_all(&group, signal);
    }
    if record.shares_pids && signal == libc::SIGKILL {
        // What the init leaves behind is the container's as well, and nothing else ends it.
        if let Some(group) = mark::group_of(&record)?
            && group.populated()?
        {
            return Ok(group.kill()?);
        }
    }
    if matches!(status, Status::Stopped | Status::Creating) {
        return Err(StateError::Wrong { verb: "kill", status }.into());
    }
    let gone = |e: &std::io::Error| e.raw_os_error() == Some(libc::ESRCH);
    let process = match pidfd::open(record.pid) {
        Err(e) if gone(&e) => return Err(StateError::Wrong { verb: "kill", status: Status::Stopped }.into()),
        other => other.op("open process", record.pid.to_string())?,
    };
    // The descriptor means one process for good: check now that it is the right one.
    if start_time(record.pid).op("look for the init of", id)? != Some(record.start_time) {
        return Err(StateError::Wrong { verb: "kill", status: Status::Stopped }.into());
    }
    match pidfd::signal(&process, signal) {
        Err(e) if gone(&e) => return Err(StateError::Wrong { verb: "kill", status: Status::Stopped }.into()),
        other => other.op("signal process", record.pid.to_string())?,
    }
    if status == Status::Paused && signal == libc::SIGKILL {
        // On v1 a frozen process does not even die.
        record.group()?.thaw()?;
    }
    Ok(())
}

/// Signals every process of a group. What is still a member once its descriptor is open is the process of that
/// descriptor, and no later one of its number.
fn signal_all(group: &Group, signal: i32) -> Result<(), VerbError> {
    let gone = |e: &std::io::Error| e.raw_os_error() == Some(libc::ESRCH);
    // 0 stands for a process of a pid namespace outside of ours, in the lists of v2.
    let pids: Vec<u32> = group.procs()?.into_iter().filter(|pid| *pid != 0).collect();
    for some in pids.chunks(OPEN_AT_ONCE) {
        let mut opened = Vec::with_capacity(some.len());
        for pid in some {
            match pidfd::open(*pid) {
                Err(e) if gone(&e) => {}
                other => opened.push((*pid, other.op("open process", pid.to_string())?)),
            }
        }
        let members: HashSet<u32> = group.procs()?.into_iter().collect();
        for (pid, process) in opened.iter().filter(|(pid, _)| members.contains(pid)) {
            match pidfd::signal(process, signal) {
                Err(e) if gone(&e) => {}
                other => other.op("signal process", pid.to_string())?,
            }
        }
    }
    Ok(())
}

/// Stops every process of a running container.
pub fn pause(table: &Table, id: &str) -> Result<(), VerbError> {
    let slot = table.open(id)?;
    let record = slot.read()?;
    let status = slot.status(&record)?;
    if !matches!(status, Status::Running | Status::Created) {
        return Err(StateError::Wrong { verb: "pause", status }.into());
    }
    let group = record.group()?;
    // The gate first: whoever is killed in between leaves a container that is paused, and can be resumed.
    if status == Status::Created {
        slot.bar_gate(true)?;
    }
    let frozen = group.freeze();
    if frozen.is_err() {
        slot.bar_gate(false)?;
    }
    Ok(frozen?)
}

/// Lets the processes of a paused container go on.
pub fn resume(table: &Table, id: &str) -> Result<(), VerbError> {
    let slot = table.open(id)?;
    let record = slot.read()?;
    let group = record.group()?;
    match slot.status(&record)? {
        Status::Paused => {}
        // By its gate alone, see the table: somebody else has frozen it.
        Status::Created if frozen(&group) => {}
        status => return Err(StateError::Wrong { verb: "resume", status }.into()),
    }
    group.thaw()?;
    Ok(slot.bar_gate(false)?)
}
