//! A group belongs to one container of one table, from its create to the end of its delete: by a mark on the group, of
//! which the record keeps what is this container's alone.
//!
//! ```text
//! create   the record names the group ──→ the group is marked ──→ limits, processes
//! delete   its processes are killed, it is removed ──→ the record goes
//! ```
//! So a mark whose record is gone is of nobody any more, and another container may have the group; until then nobody
//! may, whether anything runs in it or not. Nothing is killed in a group, and no group is removed, that bears another's
//! mark. Where groups take no mark (another kernel, or no root of the machine) the name alone decides, and an empty group
//! may be had by two.

use super::create::VerbError;
use super::state::{self, Record, Slot, StateError, Table};
use crate::cgroup::{Claim, Group};
use crate::errno::{OpContext, OpError};
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

/// What tells the mark of one create from all others: when, and by which process.
pub(super) fn unique(since_epoch: Duration) -> String {
    format!("{:x}.{:x}", since_epoch.as_nanos(), std::process::id())
}

/// A mark names the create and, for others, the container's place in its table.
fn text(table: &Table, id: &str, unique: &str) -> Result<Vec<u8>, VerbError> {
    let place = table.documents(id)?;
    let place = std::path::absolute(&place).op("find", &place)?;
    Ok([unique.as_bytes(), b" ", place.as_os_str().as_bytes()].concat())
}

/// The two parts of a mark.
fn parts(mark: &[u8]) -> (&[u8], &Path) {
    let at = mark.iter().position(|b| *b == b' ').unwrap_or(mark.len());
    let place = mark.get(at + 1..).unwrap_or_default();
    (&mark[..at], Path::new(OsStr::from_bytes(place)))
}

/// The mark is that of the record's create.
fn is_of(mark: &[u8], record: &Record) -> bool {
    record.mark.as_deref().is_some_and(|unique| parts(mark).0 == unique.as_bytes())
}

/// Makes the group the container's, whose record says so already. Refused when it is another's.
pub(super) fn take(table: &Table, slot: &Slot, record: &mut Record, group: &Group) -> Result<(), VerbError> {
    let Some(unique) = &record.mark else { return Ok(()) };
    let mark = text(table, &record.id, unique)?;
    match group.claim(&mark)? {
        Claim::Of(other) => {
            if !(is_of_nobody(&other) && group.hand_over(&other, &mark)?) {
                let why = format!("it belongs to container `{}`", parts(&other).1.display());
                let name = group.path().display().to_string();
                return Err(OpError::new("use `linux.cgroupsPath`", name, io::Error::other(why)).into());
            }
        }
        Claim::Unsupported => {
            record.mark = None;
            slot.write(record)?;
        }
        Claim::Taken | Claim::Missing => {}
    }
    record.has_group = true;
    Ok(())
}

/// The container that a mark names is not in its table any more, or another of its name is.
fn is_of_nobody(mark: &[u8]) -> bool {
    let place = parts(mark).1;
    let id = place.file_name().unwrap_or_default().to_string_lossy();
    match state::read(place, &id) {
        Ok(record) => !is_of(mark, &record),
        Err(e) => matches!(e, StateError::Missing(_)) && place.is_absolute(),
    }
}

/// The record's group, unless it is another's by now.
pub(super) fn group_of(record: &Record) -> Result<Option<Group>, OpError> {
    let group = record.group()?;
    Ok((!is_others(record, &group)?).then_some(group))
}

/// The group bears the mark of another container.
pub(super) fn is_others(record: &Record, group: &Group) -> Result<bool, OpError> {
    Ok(group.marked()?.is_some_and(|mark| !is_of(&mark, record)))
}

/// The group is the container's to empty and to remove. One without a mark, which a killed create has left, becomes it:
/// nobody takes it meanwhile.
pub(super) fn holds(table: &Table, record: &Record, group: &Group) -> Result<bool, VerbError> {
    // Only systemd removes a group of a container that is in a table.
    if record.has_group && record.unit.is_none() {
        return Ok(true);
    }
    match (group.marked()?, &record.mark) {
        (Some(mark), _) => Ok(is_of(&mark, record)),
        (None, None) => Ok(true),
        (None, Some(unique)) => Ok(!matches!(group.mark(&text(table, &record.id, unique)?)?, Claim::Of(_))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_which_create_and_where_its_container_is() {
        let table = Table::new("/run/a table");
        let mark = text(&table, "c", "1f.2").unwrap();
        assert_eq!(parts(&mark), (&b"1f.2"[..], Path::new("/run/a table/c")));
        assert_eq!(parts(b"other"), (&b"other"[..], Path::new("")));
    }

    #[test]
    fn a_mark_is_of_nobody_when_its_container_is_gone_and_never_when_that_cannot_be_said() {
        let dir = tempfile::tempdir().unwrap();
        let table = Table::new(dir.path());
        let mark = text(&table, "c", "1f.2").unwrap();
        assert!(is_of_nobody(&mark));
        let slot = table.claim("c").unwrap();
        std::fs::write(dir.path().join("c/state.json"), "{").unwrap();
        assert!(!is_of_nobody(&mark));
        slot.remove().unwrap();
        assert!(!is_of_nobody(b"of something else"));
    }
}
