//! systemd as the maker of a container's control group, for `--systemd-cgroup`.
//!
//! ```text
//! cgroupsPath ─name─→ Unit ──start(placeholder)──→ systemd makes the group, and keeps to it what it is told of limits
//!                       │                                  │
//!                       │   set(limits)                    ▼  the files of the group are written as without systemd
//!                       └── stop ──→ systemd ends what is left in it, and removes it
//! ```
//! A unit of systemd's kind for foreign processes (a scope) begins with a process that is there already, and ends with
//! its last one. The container's init can only be made once the group is there, so that a placeholder comes first, and
//! goes when the init is in.
//!
//! `message` is the protocol's bytes and pure, as are `name`, `properties`, and `annotations` with the `gvariant` texts in
//! them; `bus` speaks it to one peer, one call at a time, and waits no longer than it is patient or until an interrupt. There is no thread and no event loop, so
//! that a process that speaks it can clone.

pub mod annotations;
mod bus;
pub mod gvariant;
pub mod message;
mod name;
mod properties;

pub use name::{NameError, Unit};
pub use properties::Interface;

use crate::errno::OpError;
use crate::interrupt::Interrupt;
use crate::spec::{DeviceRule, Resources};
use bus::Manager;
use message::Property;

/// A unit to start.
#[derive(Debug)]
pub struct Start<'a> {
    /// Its names.
    pub unit: &'a Unit,
    /// The container's id, for the description.
    pub id: &'a str,
    /// The process that it begins with.
    pub pid: u32,
    /// Limits.
    pub resources: &'a Resources,
    /// All rules for devices.
    pub devices: &'a [DeviceRule],
    /// The machine's control groups.
    pub interface: Interface,
    /// What the document's annotations add, or say otherwise.
    pub annotated: &'a [Property],
    /// Ends the wait for systemd.
    pub interrupt: Interrupt<'a>,
}

/// Has systemd make a unit and its group, and returns when they are there.
pub fn start(s: &Start<'_>) -> Result<(), OpError> {
    let mut all = properties::of_new(s.unit, s.id, s.pid, s.interface);
    all.extend(properties::of_limits(s.resources, s.interface));
    all.extend(properties::of_devices(s.devices, s.interface));
    // Of two properties with the same name systemd takes the last.
    all.extend_from_slice(s.annotated);
    Manager::connect(s.interrupt)?.start(&s.unit.name, &all)
}

/// Tells systemd of changed limits.
pub fn set(unit: &str, resources: &Resources, interface: Interface, interrupt: Interrupt<'_>) -> Result<(), OpError> {
    let limits = properties::of_limits(resources, interface);
    if limits.is_empty() {
        return Ok(());
    }
    Manager::connect(interrupt)?.set(unit, &limits)
}

/// Stops a unit, whatever is left in it, and returns when it is gone. One that is gone already is no error.
pub fn stop(unit: &str) -> Result<(), OpError> {
    // Asked when a container goes, also because of an interrupt that is still pending.
    Manager::connect(Interrupt::default())?.stop(unit)
}
