//! Limits of config.json as those of a group, and access to devices.

use crate::cgroup::limits::Limits;
use crate::cgroup::{Controller, Group};
use crate::errno::{OpContext, OpError};
use crate::security::devices;
use crate::spec::{DeviceRule, Resources};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Devices that every container may use, after its own rules: those the runtime makes, terminals, and making any node
/// (which gives no access to the device behind it).
const ALWAYS: [(char, Option<u32>, Option<u32>, &str); 11] = [
    ('c', None, None, "m"),
    ('b', None, None, "m"),
    ('c', Some(1), Some(3), "rwm"),
    ('c', Some(1), Some(5), "rwm"),
    ('c', Some(1), Some(7), "rwm"),
    ('c', Some(1), Some(8), "rwm"),
    ('c', Some(1), Some(9), "rwm"),
    ('c', Some(5), Some(0), "rwm"),
    ('c', Some(5), Some(1), "rwm"),
    ('c', Some(5), Some(2), "rwm"),
    ('c', Some(136), None, "rwm"),
];

/// The limits that `resources` name. Negative numbers mean no limit, as in runc's documents.
pub fn limits(resources: &Resources) -> Limits {
    let positive = |n: Option<i64>| n.and_then(|n| u64::try_from(n).ok()).filter(|n| *n > 0);
    let memory = positive(resources.memory_bytes);
    Limits {
        cpu_quota_us: positive(resources.cpu_quota_us),
        cpu_period_us: resources.cpu_period_us.filter(|p| *p > 0),
        cpu_shares: resources.cpu_shares.filter(|s| *s > 0),
        memory_bytes: memory,
        memory_reservation_bytes: positive(resources.memory_reservation_bytes),
        // The document counts memory and swap together.
        swap_bytes: positive(resources.memory_and_swap_bytes).map(|both| both.saturating_sub(memory.unwrap_or(0))),
        pids: positive(resources.pids),
    }
}

/// Denies a group all devices but those that `rules` and [`ALWAYS`] allow. `dir` is the group's directory on version 2.
pub(super) fn restrict_devices(group: &Group, dir: Option<&OwnedFd>, rules: &[DeviceRule]) -> Result<(), OpError> {
    let always = ALWAYS.iter().map(|&(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access: access.into(),
    });
    let rules: Vec<DeviceRule> = rules.iter().cloned().chain(always).collect();
    match dir {
        Some(dir) => devices::restrict(dir.as_fd(), &rules).op("restrict the devices of", group.path()),
        None => restrict_by_files(group, &rules),
    }
}

fn restrict_by_files(group: &Group, rules: &[DeviceRule]) -> Result<(), OpError> {
    let Some(dir) = group.controller_dir(Controller::Devices) else {
        return Err(io::Error::from_raw_os_error(libc::ENODEV)).op("find the devices controller of", group.path());
    };
    let open = |name: &str| {
        let path = dir.join(name);
        File::options().write(true).open(&path).op("open", &path)
    };
    let (mut allow, mut deny) = (open("devices.allow")?, open("devices.deny")?);
    deny.write_all(b"a").op("deny", "all devices")?;
    for rule in rules {
        let text = text(rule);
        let file = if rule.allow { &mut allow } else { &mut deny };
        file.write_all(text.as_bytes()).op(if rule.allow { "allow device" } else { "deny device" }, text)?;
    }
    Ok(())
}

fn text(rule: &DeviceRule) -> String {
    let number = |n: Option<u32>| n.map_or_else(|| "*".to_owned(), |n| n.to_string());
    format!("{} {}:{} {}", rule.kind, number(rule.major), number(rule.minor), rule.access)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swap_is_what_is_left_of_memory_and_swap_together() {
        let given = Resources { memory_bytes: Some(10), memory_and_swap_bytes: Some(15), ..Resources::default() };
        assert_eq!(limits(&given).swap_bytes, Some(5));
        let unlimited = Resources { memory_bytes: Some(-1), memory_and_swap_bytes: Some(-1), ..Resources::default() };
        assert_eq!(limits(&unlimited), Limits::default());
    }

    #[test]
    fn a_rule_is_written_as_the_kernel_reads_it() {
        let rule = DeviceRule { allow: true, kind: 'c', major: Some(10), minor: None, access: "rw".into() };
        assert_eq!(text(&rule), "c 10:* rw");
    }
}
