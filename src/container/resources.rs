//! Access to devices.

use crate::cgroup::{Controller, Group};
use crate::errno::{OpContext, OpError};
use crate::security::devices;
use crate::spec::DeviceRule;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

/// Devices that every container may use, after its own rules: those the runtime makes, terminals, tunnels, and making
/// any node (which gives no access to the device behind it).
const ALWAYS: [(char, Option<u32>, Option<u32>, &str); 12] = [
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
    ('c', Some(10), Some(200), "rwm"),
];

/// The container's own rules and those of every container, in their order.
pub(super) fn rules(own: &[DeviceRule]) -> Vec<DeviceRule> {
    let always = ALWAYS.iter().map(|&(kind, major, minor, access)| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access: access.into(),
    });
    own.iter().cloned().chain(always).collect()
}

/// Denies a group all devices but those that `own` rules and [`ALWAYS`] allow. `dir` is the group's directory on
/// version 2.
pub(super) fn restrict_devices(group: &Group, dir: Option<&OwnedFd>, own: &[DeviceRule]) -> Result<(), OpError> {
    let rules = rules(own);
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
    fn a_rule_is_written_as_the_kernel_reads_it() {
        let rule = DeviceRule { allow: true, kind: 'c', major: Some(10), minor: None, access: "rw".into() };
        assert_eq!(text(&rule), "c 10:* rw");
    }
}
