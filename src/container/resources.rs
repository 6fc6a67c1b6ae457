//! Limits of config.json as those of a group, and access to devices.

use crate::cgroup::limits::Limits;
use crate::cgroup::{Controller, Group};
use crate::errno::{OpContext, OpError};
use crate::spec::{DeviceRule, Resources};
use std::fs::File;
use std::io::{self, Write};

/// Devices that every container may use, after its own rules: those the runtime makes, terminals, and making any node
/// (which gives no access to the device behind it).
const ALWAYS: [&str; 11] = [
    "c *:* m",
    "b *:* m",
    "c 1:3 rwm",
    "c 1:5 rwm",
    "c 1:7 rwm",
    "c 1:8 rwm",
    "c 1:9 rwm",
    "c 5:0 rwm",
    "c 5:1 rwm",
    "c 5:2 rwm",
    "c 136:* rwm",
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

/// Denies a group all devices but those that `rules` and [`ALWAYS`] allow.
pub(super) fn restrict_devices(group: &Group, rules: &[DeviceRule]) -> Result<(), OpError> {
    let Some(dir) = group.controller_dir(Controller::Devices) else { return Ok(()) };
    let open = |name: &str| {
        let path = dir.join(name);
        File::options().write(true).open(&path).op("open", &path)
    };
    let (mut allow, mut deny) = match (open("devices.allow"), open("devices.deny")) {
        (Ok(allow), Ok(deny)) => (allow, deny),
        (Err(e), _) | (_, Err(e)) if e.source.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => return Ok(()),
    };
    deny.write_all(b"a").op("deny", "all devices")?;
    for rule in rules {
        let text = text(rule);
        let file = if rule.allow { &mut allow } else { &mut deny };
        file.write_all(text.as_bytes()).op(if rule.allow { "allow device" } else { "deny device" }, text)?;
    }
    ALWAYS.iter().try_for_each(|rule| allow.write_all(rule.as_bytes()).op("allow device", rule))
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
