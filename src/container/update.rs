//! `update`: other limits for a container that exists.

use super::create::VerbError;
use super::scope;
use super::state::{StateError, Table};
use super::status::Status;
use crate::interrupt::Interrupt;
use crate::spec::Resources;
use crate::systemd;

/// Changes those limits that `resources` gives. Rules for devices are left alone, as runc leaves them: they are the
/// container's for life.
pub fn update(table: &Table, id: &str, resources: &Resources) -> Result<(), VerbError> {
    let slot = table.open(id)?;
    let mut record = slot.read()?;
    match slot.status(&record)? {
        Status::Created | Status::Running | Status::Paused => {}
        status => return Err(StateError::Wrong { verb: "update", status }.into()),
    }
    let group = record.group()?;
    if let Some(unit) = &record.unit {
        let all = scope::complete(resources, &group)?;
        systemd::set(unit, &all, scope::interface(&group), Interrupt::default())?;
    }
    let wider = group.with_limits_of(resources);
    if wider.further() == group.further() {
        return Ok(wider.configure(resources)?);
    }
    // Before the directories are made, so that `delete` finds them.
    record.set_group(&wider);
    slot.write(&record)?;
    wider.create()?;
    wider.configure(resources)?;
    Ok(wider.gather(&group)?)
}
