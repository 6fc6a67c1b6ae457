//! Where a container's group is, and what it takes to have systemd make it.

use super::create::VerbError;
use super::state::group;
use crate::cgroup::{Controller, Group, Version};
use crate::errno::{OpContext, OpError};
use crate::interrupt::Interrupt;
use crate::spec::{Plan, Resources, SpecError};
use crate::sys::clone::{Child, CloneArgs, clone};
use crate::sys::pidfd;
use crate::systemd::message::Property;
use crate::systemd::{self, Interface, Start, Unit, annotations};
use nix::sys::prctl;
use nix::sys::signal::Signal;
use std::io;
use std::path::{Path, PathBuf};

/// A unit that systemd is to be asked for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// Its names.
    pub(super) unit: Unit,
    /// What the document's annotations say of it.
    annotated: Vec<Property>,
}

/// The group of a new container and, with `systemd`, the unit that it is to be the group of.
pub(super) fn place(plan: &Plan, id: &str, systemd: bool) -> Result<(Group, Option<Wanted>), VerbError> {
    if !systemd {
        let path = cgroup_path(plan, id);
        return Ok((own(group(&path)?.with_limits_of(&plan.resources), &path)?, None));
    }
    let unit = Unit::new(plan.cgroups_path.as_deref(), id).map_err(|e| {
        let wrong = SpecError { field: "linux.cgroupsPath".into(), problem: e.to_string() };
        VerbError::Launch(wrong.into())
    })?;
    let annotated = annotations::properties(&plan.annotations).map_err(|e| VerbError::Launch(e.into()))?;
    // systemd knows by its own hierarchy who is in a unit.
    let group = group(&unit.group())?.with_limits_of(&plan.resources).with([Controller::Systemd]);
    Ok((own(group, Path::new(&unit.name))?, Some(Wanted { unit, annotated })))
}

/// `group`, which is called `name`, if the container can have it to itself: below the root, and without processes. Asked
/// before a record names it, because whatever is in the group of a record is killed with the container.
fn own(group: Group, name: &Path) -> Result<Group, OpError> {
    let refused =
        |why: String| OpError::new("use `linux.cgroupsPath`", name.display().to_string(), io::Error::other(why));
    if group.path().as_os_str().is_empty() {
        return Err(refused("it names the root of the hierarchy, which is everybody's".into()));
    }
    match group.occupants()? {
        0 => Ok(group),
        n => Err(refused(format!("container's cgroup is not empty: {n} process(es) found"))),
    }
}

fn cgroup_path(plan: &Plan, id: &str) -> PathBuf {
    match &plan.cgroups_path {
        Some(path) if !path.as_os_str().is_empty() => path.clone(),
        // Of its own at the top: a parent shared by all would have to be kept or removed by somebody.
        _ => PathBuf::from(format!("berth-runtime-{id}")),
    }
}

/// How systemd has to be told of limits on this machine.
pub(super) fn interface(group: &Group) -> Interface {
    match group.version() {
        Version::V2 => Interface::Unified,
        Version::V1 => Interface::Legacy,
    }
}

/// `resources` with the other one of CPU quota and period when only one is given: systemd must know both.
pub(super) fn complete(resources: &Resources, group: &Group) -> Result<Resources, OpError> {
    let mut all = resources.clone();
    if all.cpu_quota_us.is_some() != all.cpu_period_us.is_some() {
        let (quota, period) = group.bandwidth()?;
        all.cpu_quota_us = all.cpu_quota_us.or(Some(quota));
        all.cpu_period_us = all.cpu_period_us.or(Some(period));
    }
    Ok(all)
}

/// A unit that has been started, with a placeholder in it until the container's init is.
#[derive(Debug)]
pub(super) struct Scope {
    unit: String,
    /// A slice has none.
    placeholder: Option<Child>,
    /// The limits that leave room for the placeholder.
    first: Resources,
    /// What is to be set when it is gone.
    late: Option<Resources>,
}

impl Scope {
    /// Has systemd start the unit.
    pub(super) fn start(
        wanted: &Wanted,
        id: &str,
        plan: &Plan,
        group: &Group,
        interrupt: Interrupt<'_>,
    ) -> Result<Self, OpError> {
        let unit = &wanted.unit;
        let placeholder = if unit.is_slice() { None } else { Some(wait_for_nothing()?) };
        let mut scope = Self { unit: unit.name.clone(), placeholder, first: plan.resources.clone(), late: None };
        if scope.first.pids == Some(1) {
            scope.first.pids = Some(2);
            scope.late = Some(Resources { pids: Some(1), ..Resources::default() });
        }
        systemd::start(&Start {
            unit,
            id,
            pid: scope.placeholder.as_ref().map_or(0, |child| child.pid),
            resources: &scope.first,
            devices: &super::resources::rules(&plan.resources.devices),
            interface: interface(group),
            annotated: &wanted.annotated,
            interrupt,
        })?;
        Ok(scope)
    }

    /// The limits to set before the init is made.
    pub(super) fn first(&self) -> &Resources {
        &self.first
    }

    /// The init is in: the placeholder goes.
    pub(super) fn settle(mut self, group: &Group, interrupt: Interrupt<'_>) -> Result<(), OpError> {
        self.clear();
        match self.late.take() {
            Some(late) => {
                systemd::set(&self.unit, &late, interface(group), interrupt)?;
                group.configure(&late)
            }
            None => Ok(()),
        }
    }

    fn clear(&mut self) {
        if let Some(child) = self.placeholder.take() {
            pidfd::end(&child.pidfd);
        }
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A process that does nothing until it is killed, or until we are.
fn wait_for_nothing() -> Result<Child, OpError> {
    let idle = || {
        if prctl::set_pdeathsig(Signal::SIGKILL).is_err() {
            return 1;
        }
        loop {
            nix::unistd::pause();
        }
    };
    clone(&CloneArgs::default(), idle).op("clone", "a placeholder for the container's init")
}
