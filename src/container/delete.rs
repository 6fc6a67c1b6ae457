//! `delete`: nothing of a stopped container stays behind. Runs to its end, and tells the first error.

use super::create::VerbError;
use super::hooks::Subject;
use super::mark;
use super::state::{Record, Slot, StateError, Table};
use super::status::Status;
use crate::cgroup::Group;
use crate::errno::{OpError, chain};
use crate::spec::HookKind;
use crate::sys::pidfd;
use crate::systemd;
use std::io;

/// How long the processes of a killed container may take to end.
const PATIENCE_MS: u16 = 10_000;

/// Deletes a container. With `force` it is killed first, and one that does not exist is no error.
///
/// Another verb may have the container. With `force` its processes are killed until that verb has come to its end, which
/// is soon: a create fails with its init, whatever hook it waits for ([`super::hooks`]), and a start with the hook that
/// is in the container. What a create waits for before it has made an init has its own end: systemd's answer, and
/// storage.
pub fn delete(table: &Table, id: &str, force: bool) -> Result<(), VerbError> {
    let opened = if force { table.open_or(id, || kill_recorded(table, id)) } else { table.open(id) };
    let slot = match opened {
        Err(StateError::Missing(_)) if force => return Ok(()),
        other => other?,
    };
    let record = match slot.read() {
        Ok(record) => record,
        // Of a create that was killed before it had anything to record, or of a delete that has just now come to its end.
        Err(StateError::Missing(missing)) => {
            slot.remove()?;
            return if force { Ok(()) } else { Err(StateError::Missing(missing).into()) };
        }
        Err(e) => return Err(e.into()),
    };
    let group = record.group()?;
    match slot.status(&record)? {
        Status::Stopped => {}
        // One that never ran anything of the user's is ended without being asked to, as runc does it.
        status if force || status == Status::Created => end(&record, &group)?,
        status => return Err(StateError::Wrong { verb: "delete", status }.into()),
    }
    remove(table, slot, &record, &group)
}

/// Kills what there is by now of a container that another verb has: that verb comes to its end then.
fn kill_recorded(table: &Table, id: &str) {
    if let Ok(Some(group)) = table.read(id).and_then(|record| Ok(mark::group_of(&record)?)) {
        let _ = empty(&group);
    }
}

/// Ends a container that must not go on, and removes it.
pub(super) fn end_and_remove(table: &Table, slot: Slot, record: &Record, group: &Group) -> Result<(), VerbError> {
    let ended = end(record, group);
    remove(table, slot, record, group).and(Ok(ended?))
}

fn end(record: &Record, group: &Group) -> Result<(), OpError> {
    if mark::is_others(record, group)? {
        // Its init has left the group, for which it needs the rights of the machine's root.
        let why = io::Error::other("its control group is another container's");
        return Err(OpError::new("end container", &record.id, why));
    }
    let init = (record.pid != 0).then(|| pidfd::open(record.pid));
    group.kill()?;
    if let Some(Ok(init)) = init {
        let _ = pidfd::wait_end(&init, Some(PATIENCE_MS));
    }
    Ok(())
}

/// Removes group and record of a container whose init has ended, and runs the hooks that come after that. A group that
/// another container has by now is left alone.
pub(super) fn remove(table: &Table, slot: Slot, record: &Record, group: &Group) -> Result<(), VerbError> {
    let removed = match mark::holds(table, record, group) {
        Ok(true) => remove_group(record, group).map_err(VerbError::from),
        other => other.map(drop),
    };
    slot.remove()?;
    run_poststop(table, record);
    removed
}

fn remove_group(record: &Record, group: &Group) -> Result<(), OpError> {
    let killed = empty(group);
    // Before the group goes, which is systemd's to remove; what else it left of it, on version 1, is ours.
    let stopped = record.unit.as_deref().map_or(Ok(()), systemd::stop);
    killed.and(stopped).and(group.remove())
}

/// Kills what is left in a container's group: without a pid namespace of its own, processes outlive its init. Asked
/// first: freezing a v1 group, as killing all of it takes, makes the kernel patch its code on every processor.
pub(super) fn empty(group: &Group) -> Result<(), OpError> {
    match group.populated() {
        Ok(false) => Ok(()),
        _ => group.kill(),
    }
}

/// All of them run: one that fails is something to be told of, and changes nothing any more.
pub(super) fn run_poststop(table: &Table, record: &Record) {
    let hooks = record.hooks.of(HookKind::Poststop);
    Subject::of(record).failures(HookKind::Poststop, hooks, None).for_each(|e| table.warn(chain(&e)));
}
